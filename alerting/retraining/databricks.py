"""Databricks Jobs: a run of a job, with Databricks' own idempotency token.

Notes
-----
Databricks answers with the existing run to a token that it has seen, and guarantees one run for a token. A
job takes only parameters that it declares.

References
----------
https://docs.databricks.com/api/workspace/jobs/runnow
https://docs.databricks.com/api/workspace/jobs/getrun
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, model_validator

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import AddressOptions, Parameters, TokenOptions, chosen, defaults
from alerting.retraining.request import RetrainingRequest, parameters
from alerting.retraining.run import Run, RunState, web_link
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError

API = "/api/2.2/jobs"
STATES = {
    "QUEUED": RunState.QUEUED,
    "PENDING": RunState.QUEUED,
    "BLOCKED": RunState.QUEUED,
    "WAITING": RunState.QUEUED,
    "RUNNING": RunState.RUNNING,
    "TERMINATING": RunState.RUNNING,
}
ENDS = {
    "SUCCESS": RunState.SUCCEEDED,
    "SUCCESS_WITH_FAILURES": RunState.SUCCEEDED,
    "USER_CANCELED": RunState.CANCELLED,
    "CANCELED": RunState.CANCELLED,
}


class DatabricksOptions(AddressOptions, TokenOptions):
    """Options of a ``databricks`` target.

    Parameters
    ----------
    url : str
        Address of the workspace.
    job_id : int
        The job.
    parameters : dict
        Parameters that the job declares, and what each is given; ``document`` is the whole request as JSON.
    token_env, token_file : str
        Access token of someone who may run the job.
    """

    type: Literal["databricks"]
    job_id: int = Field(ge=1, strict=True)
    parameters: Parameters = defaults("model", "version", "data_from", "data_to")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "token_env", "token_file")
        return self


class DatabricksTarget(RetrainingTarget):
    """Runs a job; see the notes of the module."""

    Options = DatabricksOptions
    options: DatabricksOptions
    idempotent = True

    def __init__(
        self,
        options: DatabricksOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential(self, "token")

    def api_url(self) -> str:
        """Address of the workspace."""
        return self.options.url

    def launch(self, request: RetrainingRequest) -> Run:
        """Run the job, or get the run that has the token."""
        body = {
            "job_id": self.options.job_id,
            "job_parameters": chosen(self.options.parameters, parameters(request)),
            "idempotency_token": f"driftline-{request.id}",
        }
        answer = self.http.post(f"{API}/run-now", body, headers=self._token.bearer(), accept=(400, 404))
        if answer.status in (400, 404):
            reason = self.http.quote(answer)
            msg = f"there is no job {self.options.job_id}, or it does not declare all parameters{reason}"
            raise DeliveryError(msg)
        id_ = answer.need("run_id")
        return Run(id_, f"{self.ui_url}/jobs/{self.options.job_id}/runs/{id_}", RunState.QUEUED)

    def observe(self, run: Run) -> Run:
        """Ask for the run."""
        query = {"run_id": run.id}
        answer = self.http.get(
            f"{API}/runs/get", query=query, headers=self._token.bearer(), accept=(400, 404)
        )
        if answer.status in (400, 404):
            if answer.text("error_code") not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise self.http.error(answer)
            return replace(run, state=RunState.UNKNOWN, detail="Databricks no longer has this run")
        page = web_link(answer.text("run_page_url")) or run.url
        state, detail = _state(answer)
        return Run(answer.need("run_id"), page, state, detail)

    def check(self) -> str:
        """Ask for the job."""
        query = {"job_id": str(self.options.job_id)}
        answer = self.http.get(f"{API}/get", query=query, headers=self._token.bearer(), accept=(400, 404))
        if answer.status in (400, 404):
            msg = f"answered {answer.status}: there is no job {self.options.job_id}{self.http.quote(answer)}"
            raise DeliveryError(msg)
        missing = sorted(set(self.options.parameters) - set(_declared(answer)))
        if missing:
            msg = f"job {self.options.job_id} does not declare the parameters {', '.join(missing)}"
            raise DeliveryError(msg)
        return f"job {answer.text('settings', 'name') or self.options.job_id} exists"

    @classmethod
    def examples(cls) -> list[Example]:
        """A job with the usual parameters, and one that takes the request as JSON."""
        plain: dict[str, object] = {
            "type": "databricks",
            "url": "{server}",
            "job_id": 1042,
            "token_env": "DATABRICKS_TOKEN",
            "allow_private": True,
        }
        token = {"DATABRICKS_TOKEN": "token-of-databricks"}
        return [Example(plain, token), Example({**plain, "parameters": {"request": "document"}}, token)]


def _declared(answer: Answer) -> list[str]:
    return [str(item.get("name")) for item in answer.items("settings", "parameters")]


def _state(answer: Answer) -> tuple[RunState, str]:
    state = answer.text("status", "state")
    if state != "TERMINATED":
        return STATES.get(state, RunState.UNKNOWN), answer.text("status", "queue_details", "message")
    code = answer.text("status", "termination_details", "code")
    message = answer.text("status", "termination_details", "message")
    return ENDS.get(code, RunState.FAILED), f"{code}: {message}" if message else code
