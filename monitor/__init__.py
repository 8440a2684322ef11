"""The running service: configuration, Kafka, SQL, evaluation, web console and command line."""
