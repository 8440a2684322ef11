"""A flow that takes a while and shows what it was asked for; serves itself as a deployment."""

import time
from typing import Any

from prefect import flow


@flow(name="retrain")
def retrain(retraining: dict[str, Any]) -> None:
    """Train, or so it says."""
    print(retraining["model"])
    time.sleep(20)


if __name__ == "__main__":
    retrain.serve(name="churn")
