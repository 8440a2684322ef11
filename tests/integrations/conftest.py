"""Each tool is started by the test that needs it, and stopped with it: they are heavy."""

from collections.abc import Iterator

import pytest

from tests.integrations.servers.airflow import AirflowServer
from tests.integrations.servers.dagster import DagsterServer
from tests.integrations.servers.prefect import PrefectServer
from tests.integrations.servers.tool import Trainer


@pytest.fixture(params=[AirflowServer, PrefectServer, DagsterServer], ids=lambda tool: tool.name)
def trainer(request: pytest.FixtureRequest) -> Iterator[Trainer]:
    """A tool that runs the pipeline, with none of its runs."""
    with request.param() as tool:
        yield tool
