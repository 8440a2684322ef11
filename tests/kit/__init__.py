"""Real servers on loopback for the tests: Kafka, PostgreSQL, Prometheus and Driftline itself."""
