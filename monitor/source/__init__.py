"""Where messages come from: Kafka, or memory. Both keep the same promises and share one test suite."""
