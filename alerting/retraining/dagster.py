"""Dagster: a run of a job, launched over GraphQL and found again by a tag.

Notes
-----
Dagster has no idempotency key. Every run carries the tag ``driftline/request_id``, and before one is launched
a run with the tag is looked for. That is certain unless two processes launch the same request at the same
moment, or the run was deleted. The other parameters of the request are tags as well; with `config_path` the
whole request also stands in the run configuration. Answers are judged by ``__typename``: GraphQL says 200 to
almost everything.

References
----------
https://docs.dagster.io/api/graphql
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.client import segment
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import AddressOptions, Name, TokenOptions
from alerting.retraining.request import RetrainingRequest, document, parameters
from alerting.retraining.run import Run, RunState
from alerting.secrets import Secrets
from schemas.errors import DeliveryError, RetryLater

MAX_TYPE_NAME = 80
ID_TAG = "driftline/request_id"
TAGGED = ("model", "version", "trigger", "incident_id", "incident_url", "data_from", "data_to")
STATES = {
    "QUEUED": RunState.QUEUED,
    "NOT_STARTED": RunState.QUEUED,
    "MANAGED": RunState.QUEUED,
    "STARTING": RunState.QUEUED,
    "STARTED": RunState.RUNNING,
    "SUSPENDED": RunState.RUNNING,
    "CANCELING": RunState.RUNNING,
    "SUCCESS": RunState.SUCCEEDED,
    "FAILURE": RunState.FAILED,
    "CANCELED": RunState.CANCELLED,
}
HINTS = {
    "PipelineNotFoundError": "there is no such job: check location, repository and job",
    "RunConfigValidationInvalid": "the job does not take this run configuration: check config_path",
    "UnauthorizedError": "not allowed: give this token the right to launch runs",
}
LAUNCH = """
mutation DriftlineLaunch($executionParams: ExecutionParams!) {
  launchRun(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { runId status } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message }
  }
}"""
FIND = """
query DriftlineFind($filter: RunsFilter!) {
  runsOrError(filter: $filter, limit: 1) {
    __typename
    ... on Runs { results { runId status } }
    ... on Error { message }
  }
}"""
FOLLOW = """
query DriftlineFollow($runId: ID!) {
  runOrError(runId: $runId) {
    __typename
    ... on Run { runId status }
    ... on Error { message }
  }
}"""
CHECK = """
query DriftlineCheck($params: PipelineSelector!) {
  pipelineOrError(params: $params) {
    __typename
    ... on Pipeline { name }
    ... on Error { message }
  }
}"""


class DagsterOptions(AddressOptions, TokenOptions):
    """Options of a ``dagster`` target.

    Parameters
    ----------
    url : str
        Address of the webserver, without ``/graphql``; of Dagster+ with the deployment
        (``https://org.dagster.cloud/prod``).
    location, repository, job : str
        The job, as the web interface names them.
    config_path : str, optional
        Where the request goes in the run configuration, such as ``ops.train.config.retraining``. Without it
        the job sees the tags only.
    token_env, token_file : str, optional
        Token of Dagster+, or of a proxy in front of the webserver.
    authorization : {"bearer", "dagster_cloud"}
        Header that carries the token.
    """

    type: Literal["dagster"]
    location: Name
    repository: Name = "__repository__"
    job: Name
    config_path: Annotated[str, StringConstraints(pattern=r"^\w+(\.\w+)*$", max_length=256)] | None = None
    authorization: Literal["bearer", "dagster_cloud"] = "bearer"


class DagsterTarget(RetrainingTarget):
    """Launches runs of a job; see the notes of the module."""

    Options = DagsterOptions
    options: DagsterOptions
    can_find = True

    def __init__(
        self,
        options: DagsterOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential.optional(self, "token")

    def api_url(self) -> str:
        """Address of the webserver."""
        return self.options.url

    def find(self, request: RetrainingRequest) -> Run | None:
        """Look for a run that carries the tag of the request; certain, see the notes of the module."""
        tag = {"key": ID_TAG, "value": request.id}
        answer = self._ask(FIND, {"filter": {"tags": [tag]}}, "runsOrError", "Runs")
        is_there = bool(answer.items("data", "runsOrError", "results"))
        return self._run(answer, "runsOrError", "results", 0) if is_there else None

    def launch(self, request: RetrainingRequest) -> Run:
        """Launch a run with the tags of the request."""
        flat = parameters(request)
        tags = {ID_TAG: request.id, **{f"driftline/{name}": flat[name] for name in TAGGED if flat[name]}}
        params = {
            "selector": {
                "repositoryLocationName": self.options.location,
                "repositoryName": self.options.repository,
                "jobName": self.options.job,
            },
            "runConfigData": self._config(document(request)),
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self._ask(LAUNCH, {"executionParams": params}, "launchRun", "LaunchRunSuccess")
        return self._run(answer, "launchRun", "run")

    def observe(self, run: Run) -> Run:
        """Ask for the run."""
        answer = self._ask(FOLLOW, {"runId": run.id}, "runOrError", "Run", "RunNotFoundError")
        if answer.text("data", "runOrError", "__typename") != "Run":
            return replace(run, state=RunState.UNKNOWN, detail="Dagster no longer has this run")
        return self._run(answer, "runOrError")

    def check(self) -> str:
        """Ask for the job."""
        params = {
            "repositoryLocationName": self.options.location,
            "repositoryName": self.options.repository,
            "pipelineName": self.options.job,
        }
        answer = self._ask(CHECK, {"params": params}, "pipelineOrError", "Pipeline")
        return f"job {answer.need('data', 'pipelineOrError', 'name')} exists"

    @classmethod
    def examples(cls) -> list[Example]:
        """An open webserver, and Dagster+ with a run configuration."""
        plain: dict[str, object] = {
            "type": "dagster",
            "url": "{server}",
            "location": "training",
            "job": "retrain_churn",
            "allow_private": True,
        }
        cloud = {
            **plain,
            "config_path": "ops.train.config.retraining",
            "token_env": "DAGSTER_TOKEN",
            "authorization": "dagster_cloud",
        }
        return [Example(plain), Example(cloud, {"DAGSTER_TOKEN": "token-of-dagster"})]

    def _config(self, written: dict[str, Any]) -> dict[str, Any]:
        config: dict[str, Any] = {}
        steps = self.options.config_path.split(".") if self.options.config_path else []
        for step in reversed(steps):
            config = {step: config or written}
        return config

    def _run(self, answer: Answer, *path: str | int) -> Run:
        id_ = answer.need("data", *path, "runId")
        state = STATES.get(answer.text("data", *path, "status"), RunState.UNKNOWN)
        return Run(id_, f"{self.ui_url}/runs/{segment(id_)}", state)

    def _ask(self, query: str, variables: dict[str, object], field: str, *wanted: str) -> Answer:
        """Send a query.

        Raises
        ------
        RetryLater, DeliveryError
            If the answer is of another type than one of those wanted.
        """
        body = {"query": query, "variables": variables}
        answer = self.http.post("/graphql", body, headers=self._authorization(), accept=(400,))
        kind = answer.text("data", field, "__typename")
        if kind in wanted:
            return answer
        if not kind and not answer.items("errors"):
            raise self.http.error(answer) if answer.status == 400 else self._senseless(field)
        said = self.http.quote_text(self._reason(answer, field))
        name = kind if kind.isidentifier() and len(kind) <= MAX_TYPE_NAME else "GraphQL error"
        hint = HINTS.get(kind)
        msg = f"{name} ({hint}){said}" if hint else f"{name}{said}"
        # An exception within Dagster, such as a code location that restarts.
        raise RetryLater(msg) if kind == "PythonError" else DeliveryError(msg)

    @staticmethod
    def _senseless(field: str) -> RetryLater:
        return RetryLater(f"the answer holds no {field}: is the url that of Dagster's webserver?")

    @staticmethod
    def _reason(answer: Answer, field: str) -> str:
        paths = (
            ("data", field, "message"),
            ("data", field, "errors", 0, "message"),
            ("errors", 0, "message"),
        )
        return next((text for path in paths if (text := answer.text(*path))), "")

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        if self.options.authorization == "dagster_cloud":
            return {"dagster-cloud-api-token": self._token.text()}
        return self._token.bearer()
