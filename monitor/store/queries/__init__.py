"""Read-only SQL for the API, the metrics and the evaluator: one module for each thing that is asked about."""
