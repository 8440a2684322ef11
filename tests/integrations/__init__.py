"""Driftline against the real Airflow, Prefect, Dagster and MLflow; `make test-integrations` runs it."""
