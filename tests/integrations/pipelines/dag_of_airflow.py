"""A DAG that takes a while and shows what it was asked for; read by Airflow in its own environment."""

import time

from airflow.sdk import dag, task


@dag(dag_id="retrain_churn", schedule=None)
def retrain_churn():
    """Train, or so it says."""

    @task
    def train(**context):
        """Take the request from the run's ``conf``."""
        print(context["dag_run"].conf["model"])
        time.sleep(20)

    train()


retrain_churn()
