"""A job that takes a while and shows what it was asked for; read by Dagster in its own environment."""

import time

from dagster import Definitions, Permissive, job, op


@op(config_schema={"retraining": Permissive()})
def train(context) -> None:
    """Take the request from the run configuration."""
    context.log.info(context.op_config["retraining"]["model"])
    time.sleep(20)


@job
def retrain_churn():
    """One step."""
    train()


defs = Definitions(jobs=[retrain_churn])
