"""Prefect 3: a flow run of a deployment, with Prefect's own idempotency key.

Notes
-----
Prefect answers with the existing run to a key that it has seen, and applies the key to the flow. The request
is given to one parameter of the flow, and the run is tagged ``driftline`` and with the model.

References
----------
https://docs.prefect.io/v3/api-ref/rest-api/server/deployments/create-flow-run-from-deployment
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import StringConstraints, model_validator

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.client import segment
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import AddressOptions, Name, TokenOptions
from alerting.retraining.request import RetrainingRequest, document
from alerting.retraining.run import Run, RunState
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError

CLOUD_API = "https://api.prefect.cloud/api/"
CLOUD_UI = "https://app.prefect.cloud/"
STATES = {
    "SCHEDULED": RunState.QUEUED,
    "PENDING": RunState.QUEUED,
    "RUNNING": RunState.RUNNING,
    "PAUSED": RunState.RUNNING,
    "CANCELLING": RunState.RUNNING,
    "COMPLETED": RunState.SUCCEEDED,
    "FAILED": RunState.FAILED,
    "CRASHED": RunState.FAILED,
    "CANCELLED": RunState.CANCELLED,
}


class PrefectOptions(AddressOptions, TokenOptions):
    """Options of a ``prefect`` target.

    Parameters
    ----------
    url : str
        Address of the API as in ``PREFECT_API_URL``, such as ``http://prefect:4200/api``.
    deployment : str
        ``flow/deployment``, by their names.
    parameter : str
        Parameter of the flow that takes the request, an object.
    token_env, token_file : str, optional
        API key of Prefect Cloud.
    username : str, optional
        Of a server with basic authentication.
    password_env, password_file : str, optional
        Goes with `username`.
    """

    type: Literal["prefect"]
    deployment: Annotated[str, StringConstraints(pattern=r"^[^/\x00-\x1f]+/[^/\x00-\x1f]+$", max_length=512)]
    parameter: Name = "retraining"
    username: Name | None = None
    password_env: str | None = None
    password_file: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        secrets = ("password_env", "password_file", "token_env", "token_file")
        if self.username is not None or any(getattr(self, name) is not None for name in secrets):
            exactly_one(self, *secrets)
        has_password = self.password_env is not None or self.password_file is not None
        if has_password != (self.username is not None):
            msg = "username goes with a password (give both, or a token)"
            raise ValueError(msg)
        return self


class PrefectTarget(RetrainingTarget):
    """Creates flow runs; see the notes of the module."""

    Options = PrefectOptions
    options: PrefectOptions
    idempotent = True

    def __init__(
        self,
        options: PrefectOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential.optional(self, "token")
        self._password = Credential.optional(self, "password")

    def api_url(self) -> str:
        """Address of the API."""
        return self.options.url

    @property
    def ui_url(self) -> str:
        """Address of the pages: that of the API without ``/api``, or Prefect Cloud's."""
        if self.options.ui_url:
            return super().ui_url
        url = self.options.url.rstrip("/")
        if url.startswith(CLOUD_API):
            path = url.removeprefix(CLOUD_API).replace("accounts/", "account/")
            return CLOUD_UI + path.replace("workspaces/", "workspace/")
        return url.removesuffix("/api")

    def launch(self, request: RetrainingRequest) -> Run:
        """Create the flow run, or get the one that has the key."""
        deployment = self._deployment().need("id")
        body = {
            "name": f"driftline-{request.id}",
            "parameters": {self.options.parameter: document(request)},
            "tags": ["driftline", request.model],
            "idempotency_key": f"driftline-{request.id}",
        }
        path = f"/deployments/{segment(deployment)}/create_flow_run"
        answer = self.http.post(path, body, headers=self._authorization(), accept=(409, 422))
        if answer.status in (409, 422):
            name = self.options.parameter
            msg = f"the flow does not take the request in its parameter {name}{self.http.quote(answer)}"
            raise DeliveryError(msg)
        return self._run(answer)

    def observe(self, run: Run) -> Run:
        """Ask for the flow run."""
        path = f"/flow_runs/{segment(run.id)}"
        answer = self.http.get(path, headers=self._authorization(), accept=(404,))
        if answer.status == 404:
            return replace(run, state=RunState.UNKNOWN, detail="Prefect no longer has this run")
        return self._run(answer)

    def check(self) -> str:
        """Ask for the deployment."""
        waits = ", but is paused" if self._deployment().get("paused") is True else ""
        return f"deployment {self.options.deployment} exists{waits}"

    @classmethod
    def examples(cls) -> list[Example]:
        """An open server, Prefect Cloud's keys, basic authentication."""
        plain: dict[str, object] = {
            "type": "prefect",
            "url": "{server}/api",
            "deployment": "retrain/churn",
            "allow_private": True,
        }
        basic = {**plain, "username": "admin", "password_env": "PREFECT_PASSWORD"}
        return [
            Example(plain),
            Example({**plain, "token_env": "PREFECT_API_KEY"}, {"PREFECT_API_KEY": "pnu_key-of-prefect"}),
            Example(basic, {"PREFECT_PASSWORD": "correct horse battery"}),
        ]

    def _deployment(self) -> Answer:
        flow, name = self.options.deployment.split("/")
        path = f"/deployments/name/{segment(flow)}/{segment(name)}"
        answer = self.http.get(path, headers=self._authorization(), accept=(404,))
        if answer.status == 404:
            msg = f"answered 404: there is no deployment {self.options.deployment}, or the url lacks /api"
            raise DeliveryError(msg)
        return answer

    def _run(self, answer: Answer) -> Run:
        id_ = answer.need("id")
        state = STATES.get(answer.text("state_type"), RunState.UNKNOWN)
        detail = answer.text("state", "message")
        return Run(id_, f"{self.ui_url}/runs/flow-run/{segment(id_)}", state, detail)

    def _authorization(self) -> dict[str, str]:
        if self._token is not None:
            return self._token.bearer()
        if self._password is not None and self.options.username is not None:
            return self._password.basic(self.options.username)
        return {}
