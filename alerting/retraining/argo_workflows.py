"""Argo Workflows: a workflow from a template, with a name of ours that the cluster takes only once.

Notes
-----
The workflow is named ``driftline-{id of the request}``. One of that name is looked for first, because older
servers answer 500 where newer ones say 409; a 409 is looked up as well, because a quota can give one too. The
name is free again once the workflow was deleted (``ttlStrategy``, ``podGC`` or by hand), so workflows should
be kept for longer than a delivery is retried, which is days.

References
----------
https://argo-workflows.readthedocs.io/en/latest/rest-api/
https://argo-workflows.readthedocs.io/en/latest/swagger/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import StringConstraints

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.client import segment
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import AddressOptions, Parameters, TokenOptions, chosen, defaults
from alerting.retraining.request import RetrainingRequest, parameters
from alerting.retraining.run import Run, RunState
from alerting.secrets import Secrets
from schemas.errors import DeliveryError, RetryLater

STATES = {
    "": RunState.QUEUED,
    "Pending": RunState.QUEUED,
    "Running": RunState.RUNNING,
    "Succeeded": RunState.SUCCEEDED,
    "Failed": RunState.FAILED,
    "Error": RunState.FAILED,
}
TEMPLATES = {
    "WorkflowTemplate": "workflow-templates",
    "ClusterWorkflowTemplate": "cluster-workflow-templates",
}

ResourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", max_length=253)]


class ArgoWorkflowsOptions(AddressOptions, TokenOptions):
    """Options of an ``argo_workflows`` target.

    Parameters
    ----------
    url : str
        Address of the Argo server, such as ``https://argo-server.argo:2746``.
    namespace : str
        Where the workflow runs.
    template : str
        Name of the template.
    kind : {"WorkflowTemplate", "ClusterWorkflowTemplate"}
        Kind of the template.
    parameters : dict
        Parameters of the workflow, and what each is given; ``document`` is the whole request as JSON.
    token_env, token_file : str, optional
        Bearer token of a service account that may create and get workflows.
    """

    type: Literal["argo_workflows"]
    namespace: ResourceName
    template: ResourceName
    kind: Literal["WorkflowTemplate", "ClusterWorkflowTemplate"] = "WorkflowTemplate"
    parameters: Parameters = defaults("model", "version", "data_from", "data_to", "document")


class ArgoWorkflowsTarget(RetrainingTarget):
    """Submits workflows; see the notes of the module."""

    Options = ArgoWorkflowsOptions
    options: ArgoWorkflowsOptions
    idempotent = True
    can_find = True

    def __init__(
        self,
        options: ArgoWorkflowsOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential.optional(self, "token")

    def api_url(self) -> str:
        """Address of the Argo server."""
        return self.options.url

    def find(self, request: RetrainingRequest) -> Run | None:
        """Look for the workflow of the request's name; certain while it is kept."""
        answer = self._workflow(f"driftline-{request.id}")
        return None if answer.status == 404 else self._run(answer)

    def launch(self, request: RetrainingRequest) -> Run:
        """Submit a workflow, or take the one that has its name."""
        given = chosen(self.options.parameters, parameters(request))
        body = {
            "namespace": self.options.namespace,
            "resourceKind": self.options.kind,
            "resourceName": self.options.template,
            "submitOptions": {
                "name": f"driftline-{request.id}",
                "labels": f"app.kubernetes.io/created-by=driftline,driftline/request-id={request.id}",
                "parameters": [f"{name}={value}" for name, value in given.items()],
            },
        }
        path = f"/api/v1/workflows/{segment(self.options.namespace)}/submit"
        answer = self.http.post(path, body, headers=self._authorization(), accept=(404, 409))
        if answer.status == 404:
            raise self._no_template()
        if answer.status == 409:
            return self._existing(request, answer)
        return self._run(answer)

    def observe(self, run: Run) -> Run:
        """Ask for the workflow."""
        answer = self._workflow(run.id)
        if answer.status == 404:
            return replace(run, state=RunState.UNKNOWN, detail="Argo no longer has this workflow")
        return self._run(answer)

    def check(self) -> str:
        """Ask for the template."""
        namespace = "" if self.options.kind == "ClusterWorkflowTemplate" else f"/{self.options.namespace}"
        path = f"/api/v1/{TEMPLATES[self.options.kind]}{namespace}/{segment(self.options.template)}"
        answer = self.http.get(path, headers=self._authorization(), accept=(404,))
        if answer.status == 404:
            raise self._no_template()
        return f"{self.options.kind} {answer.need('metadata', 'name')} exists"

    @classmethod
    def examples(cls) -> list[Example]:
        """A template of the namespace, and one of the cluster on an open server."""
        plain: dict[str, object] = {
            "type": "argo_workflows",
            "url": "{server}",
            "namespace": "ml",
            "template": "retrain-churn",
            "allow_private": True,
        }
        return [
            Example({**plain, "token_env": "ARGO_TOKEN"}, {"ARGO_TOKEN": "token-of-argo"}),
            Example({**plain, "kind": "ClusterWorkflowTemplate", "parameters": {"request": "document"}}),
        ]

    def _existing(self, request: RetrainingRequest, answer: Answer) -> Run:
        found = self.find(request)
        if found is None:  # such as a quota that another request has just changed
            msg = f"answered 409{self.http.quote(answer)}"
            raise RetryLater(msg)
        return found

    def _workflow(self, name: str) -> Answer:
        path = f"/api/v1/workflows/{segment(self.options.namespace)}/{segment(name)}"
        return self.http.get(path, headers=self._authorization(), accept=(404,))

    def _run(self, answer: Answer) -> Run:
        name = answer.need("metadata", "name")
        page = f"{self.ui_url}/workflows/{segment(self.options.namespace)}/{segment(name)}"
        state = STATES.get(answer.text("status", "phase"), RunState.UNKNOWN)
        return Run(name, page, state, answer.text("status", "message"))

    def _no_template(self) -> DeliveryError:
        where = f"{self.options.kind} {self.options.template}"
        return DeliveryError(f"answered 404: there is no {where} in namespace {self.options.namespace}")

    def _authorization(self) -> dict[str, str]:
        return self._token.bearer() if self._token else {}
