"""What things are: batches, contracts, windows, verdicts, errors and data-quality checks."""
