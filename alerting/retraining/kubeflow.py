"""Kubeflow Pipelines 2: a run of a pipeline version, found again by its display name.

Notes
-----
Kubeflow Pipelines has no idempotency key and takes any number of runs of one name. Every run is named
``driftline-{id of the request}``, and before one is created a run of that name is looked for with a filter.
That is certain unless two processes create the same request at the same moment, or the run was deleted.

References
----------
https://www.kubeflow.org/docs/components/pipelines/reference/api/kubeflow-pipeline-api-spec/
https://github.com/kubeflow/pipelines/blob/master/backend/api/v2beta1/filter.proto
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.client import segment
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import AddressOptions, Name, TokenOptions
from alerting.retraining.request import RetrainingRequest, document, summary
from alerting.retraining.run import Run, RunState
from alerting.secrets import Secrets
from schemas.errors import DeliveryError

API = "/apis/v2beta1"
MAX_DESCRIPTION = 1_000
STATES = {
    "PENDING": RunState.QUEUED,
    "RUNNING": RunState.RUNNING,
    "CANCELING": RunState.RUNNING,
    "PAUSED": RunState.RUNNING,
    "SUCCEEDED": RunState.SUCCEEDED,
    "SKIPPED": RunState.SUCCEEDED,
    "FAILED": RunState.FAILED,
    "CANCELED": RunState.CANCELLED,
}


class KubeflowOptions(AddressOptions, TokenOptions):
    """Options of a ``kubeflow`` target.

    Parameters
    ----------
    url : str
        What stands before ``/apis/v2beta1``, such as ``http://ml-pipeline.kubeflow:8888`` or
        ``https://kubeflow.example.org/pipeline``.
    pipeline_id : str
        The pipeline.
    pipeline_version_id : str, optional
        The version; the latest without it.
    experiment_id : str, optional
        Experiment that the run belongs to; the default one without it. Several users need it.
    parameter : str
        Parameter of the pipeline that takes the request, of type ``dict``.
    token_env, token_file : str, optional
        Bearer token, such as a service account's.
    """

    type: Literal["kubeflow"]
    pipeline_id: Name
    pipeline_version_id: Name | None = None
    experiment_id: Name | None = None
    parameter: Name = "retraining"


class KubeflowTarget(RetrainingTarget):
    """Creates runs of a pipeline; see the notes of the module."""

    Options = KubeflowOptions
    options: KubeflowOptions
    can_find = True

    def __init__(
        self,
        options: KubeflowOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential.optional(self, "token")

    def api_url(self) -> str:
        """Address of the API."""
        return self.options.url

    def find(self, request: RetrainingRequest) -> Run | None:
        """Look for a run of the request's name; certain, see the notes of the module."""
        name = {"operation": "EQUALS", "key": "display_name", "string_value": _name(request)}
        query = {"filter": json.dumps({"predicates": [name]}), "page_size": "1"}
        if self.options.experiment_id:
            query["experiment_id"] = self.options.experiment_id
        answer = self.http.get(f"{API}/runs", query=query, headers=self._authorization())
        return self._run(answer, "runs", 0) if answer.items("runs") else None

    def launch(self, request: RetrainingRequest) -> Run:
        """Create a run of the request's name."""
        version = {"pipeline_id": self.options.pipeline_id}
        if self.options.pipeline_version_id:
            version["pipeline_version_id"] = self.options.pipeline_version_id
        body: dict[str, object] = {
            "display_name": _name(request),
            "description": summary(request, MAX_DESCRIPTION),
            "pipeline_version_reference": version,
            "runtime_config": {"parameters": {self.options.parameter: document(request)}},
        }
        if self.options.experiment_id:
            body["experiment_id"] = self.options.experiment_id
        return self._run(self.http.post(f"{API}/runs", body, headers=self._authorization()))

    def observe(self, run: Run) -> Run:
        """Ask for the run."""
        path = f"{API}/runs/{segment(run.id)}"
        answer = self.http.get(path, headers=self._authorization(), accept=(404,))
        if answer.status == 404:
            return replace(run, state=RunState.UNKNOWN, detail="Kubeflow Pipelines no longer has this run")
        return self._run(answer)

    def check(self) -> str:
        """Ask for the pipeline, its version and the experiment."""
        pipeline = f"pipelines/{segment(self.options.pipeline_id)}"
        found = self._known(f"{API}/{pipeline}", f"pipeline {self.options.pipeline_id}")
        version = self.options.pipeline_version_id
        if version:
            self._known(f"{API}/{pipeline}/versions/{segment(version)}", f"pipeline version {version}")
        experiment = self.options.experiment_id
        if experiment:
            self._known(f"{API}/experiments/{segment(experiment)}", f"experiment {experiment}")
        return f"pipeline {found.text('display_name') or self.options.pipeline_id} exists"

    @classmethod
    def examples(cls) -> list[Example]:
        """An open server, and one with several users."""
        plain: dict[str, object] = {
            "type": "kubeflow",
            "url": "{server}",
            "pipeline_id": "2f9f2a1e-70b7-4a55-8a1c-1a54a4bd5a01",
            "allow_private": True,
        }
        shared = {
            **plain,
            "url": "{server}/pipeline",
            "pipeline_version_id": "8c1b6e0e-5a8b-4c3e-9d4d-0c3d1f0a9b02",
            "experiment_id": "0b8f4f6e-2d0c-4f57-8d7a-6a1f3f0c7c03",
            "token_env": "KUBEFLOW_TOKEN",
        }
        return [Example(plain), Example(shared, {"KUBEFLOW_TOKEN": "token-of-kubeflow"})]

    def _known(self, path: str, what: str) -> Answer:
        answer = self.http.get(path, headers=self._authorization(), accept=(404,))
        if answer.status == 404:
            msg = f"answered 404: there is no {what}, or the url is not that before {API}"
            raise DeliveryError(msg)
        return answer

    def _run(self, answer: Answer, *path: str | int) -> Run:
        id_ = answer.need(*path, "run_id")
        state = STATES.get(answer.text(*path, "state"), RunState.QUEUED)  # a new run has none yet
        detail = answer.text(*path, "error", "message")
        return Run(id_, f"{self.ui_url}/#/runs/details/{segment(id_)}", state, detail)

    def _authorization(self) -> dict[str, str]:
        return self._token.bearer() if self._token else {}


def _name(request: RetrainingRequest) -> str:
    return f"driftline-{request.id}"
