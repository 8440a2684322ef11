"""GitHub Actions: a ``workflow_dispatch`` or a ``repository_dispatch``, found again by the run's name.

Notes
-----
GitHub has no idempotency key. With `workflow` it tells at once which run it started; with `event_type` it
only takes the event. A run whose answer was lost is looked for by the id of the request in its name, which
works only if the workflow says so::

    run-name: Retrain ${{ inputs.driftline_model }} (${{ inputs.driftline_id }})
    run-name: Retrain (${{ github.event.client_payload.retraining.id }})

Without such a name, or for the few seconds until GitHub lists a new run, a request that comes twice starts
two runs; a ``concurrency`` group on the id in the workflow makes one wait for the other.

References
----------
https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event
https://docs.github.com/en/rest/actions/workflow-runs
https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.client import segment
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import Address, Name, Parameters, TokenOptions, chosen, defaults
from alerting.retraining.request import RetrainingRequest, document, parameters
from alerting.retraining.run import Run, RunState, web_link
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError

API_VERSION = "2022-11-28"
RUN_DETAILS = "return_run_details"
# Stands before the id of a request whose run is not known yet.
AWAITED = "request-"
CLOCK_SKEW = timedelta(minutes=5)
WAITING = frozenset({"queued", "requested", "waiting", "pending"})
CONCLUSIONS = {
    "success": RunState.SUCCEEDED,
    "neutral": RunState.SUCCEEDED,
    "failure": RunState.FAILED,
    "timed_out": RunState.FAILED,
    "startup_failure": RunState.FAILED,
    "action_required": RunState.RUNNING,
    "cancelled": RunState.CANCELLED,
    "skipped": RunState.CANCELLED,
    "stale": RunState.CANCELLED,
}


class GitHubActionsOptions(TokenOptions):
    """Options of a ``github_actions`` target.

    Parameters
    ----------
    url : str
        Address of the API; of GitHub Enterprise Server ``https://HOST/api/v3``.
    repository : str
        ``owner/name``.
    workflow : str, optional
        File name of the workflow to dispatch, such as ``retrain.yaml``.
    ref : str
        Branch or tag that the workflow is taken from.
    inputs : dict
        Inputs of the workflow, and what each is given; the workflow must declare all of them. The id belongs
        in the run's name.
    event_type : str, optional
        Instead of `workflow`: dispatches an event to the repository; ``client_payload.retraining`` is the
        request.
    token_env, token_file : str
        Token that may write actions (`workflow`) or contents (`event_type`), and read actions.
    """

    type: Literal["github_actions"]
    url: Address = "https://api.github.com"
    repository: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$", max_length=200)]
    workflow: Name | None = None
    ref: Name = "main"
    inputs: Parameters = defaults("id", "model", "version", "data_from", "data_to")
    event_type: Annotated[str, Field(min_length=1, max_length=100)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "workflow", "event_type")
        exactly_one(self, "token_env", "token_file")
        return self


class GitHubActionsTarget(RetrainingTarget):
    """Dispatches workflows; see the notes of the module."""

    Options = GitHubActionsOptions
    options: GitHubActionsOptions
    can_find = True

    def __init__(
        self,
        options: GitHubActionsOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential(self, "token")
        self._repository = f"/repos/{options.repository}"

    def api_url(self) -> str:
        """Address of the API."""
        return self.options.url

    def find(self, request: RetrainingRequest) -> Run | None:
        """Look for a run with the id in its name; not certain, see the notes of the module."""
        return self._named(request.id, request.requested_at - CLOCK_SKEW)

    def launch(self, request: RetrainingRequest) -> Run:
        """Dispatch the workflow or the event."""
        awaited = Run(AWAITED + request.id, self._list_page(), RunState.QUEUED)
        if self.options.event_type:
            event = {
                "event_type": self.options.event_type,
                "client_payload": {"retraining": document(request)},
            }
            self._known(
                self.http.post(
                    f"{self._repository}/dispatches", event, headers=self._headers(), accept=(404,)
                )
            )
            return awaited
        answer = self._dispatch(chosen(self.options.inputs, parameters(request)))
        id_ = answer.text("workflow_run_id")
        return Run(id_, web_link(answer.text("html_url")), RunState.QUEUED) if id_ else awaited

    def observe(self, run: Run) -> Run:
        """Ask for the run; look for it by name while it is not known."""
        if run.id.startswith(AWAITED):
            return self._named(run.id.removeprefix(AWAITED)) or run
        path = f"{self._repository}/actions/runs/{segment(run.id)}"
        answer = self.http.get(path, headers=self._headers(), accept=(404,))
        if answer.status == 404:
            return replace(run, state=RunState.UNKNOWN, detail="GitHub no longer has this run")
        answer.need("id")
        return _run(answer.json)

    def check(self) -> str:
        """Ask for the workflow or the repository."""
        if not self.options.workflow:
            answer = self._known(self.http.get(self._repository, headers=self._headers(), accept=(404,)))
            return f"repository {answer.need('full_name')} exists"
        path = f"{self._repository}/actions/workflows/{segment(self.options.workflow)}"
        answer = self._known(self.http.get(path, headers=self._headers(), accept=(404,)))
        state = answer.need("state")
        if state != "active":
            msg = f"workflow {self.options.workflow} is not active ({state}): enable it"
            raise DeliveryError(msg)
        return f"workflow {self.options.workflow} is active"

    @classmethod
    def examples(cls) -> list[Example]:
        """A workflow and an event."""
        plain: dict[str, object] = {
            "type": "github_actions",
            "url": "{server}",
            "repository": "acme/models",
            "token_env": "GITHUB_TOKEN",
            "allow_private": True,
        }
        token = {"GITHUB_TOKEN": "github_pat_token-of-github"}
        return [
            Example({**plain, "workflow": "retrain.yaml"}, token),
            Example({**plain, "event_type": "retrain"}, token),
        ]

    def _dispatch(self, inputs: dict[str, str]) -> Answer:
        """Dispatch the workflow, asking for its run unless the server is too old to know that wish."""
        path = f"{self._repository}/actions/workflows/{segment(self.options.workflow or '')}/dispatches"
        body: dict[str, object] = {"ref": self.options.ref, "inputs": inputs}
        wish = {**body, RUN_DETAILS: True}
        answer = self.http.post(path, wish, headers=self._headers(), accept=(404, 422))
        if answer.status == 422 and RUN_DETAILS in answer.text("message"):
            answer = self.http.post(path, body, headers=self._headers(), accept=(404, 422))
        if answer.status == 422:
            msg = (
                f"answered 422: check ref, and that the workflow declares all inputs{self.http.quote(answer)}"
            )
            raise DeliveryError(msg)
        return self._known(answer)

    def _named(self, id_: str, since: datetime | None = None) -> Run | None:
        file = self.options.workflow
        runs = f"{self._repository}/actions/" + (f"workflows/{segment(file)}/runs" if file else "runs")
        query = {"event": "workflow_dispatch" if file else "repository_dispatch", "per_page": "100"}
        if since is not None:
            query["created"] = f">={since:%Y-%m-%dT%H:%M:%SZ}"
        answer = self._known(self.http.get(runs, query=query, headers=self._headers(), accept=(404,)))
        found = (run for run in answer.items("workflow_runs") if id_ in str(run.get("display_title", "")))
        return next((_run(run) for run in found if run.get("id")), None)

    def _list_page(self) -> str:
        is_public = self.options.url == "https://api.github.com"
        base = self.options.ui_url or ("https://github.com" if is_public else "")
        return f"{base.rstrip('/')}/{self.options.repository}/actions" if base else ""

    def _known(self, answer: Answer) -> Answer:
        if answer.status == 404:
            what = f"workflow {self.options.workflow}" if self.options.workflow else "such repository"
            msg = (
                f"answered 404: there is no {what} in {self.options.repository}, or the token may not see it"
            )
            raise DeliveryError(msg)
        return answer

    def _headers(self) -> dict[str, str]:
        return {
            "accept": "application/vnd.github+json",
            "x-github-api-version": API_VERSION,
            **self._token.bearer(),
        }


def _run(entry: Mapping[str, Any]) -> Run:
    status, conclusion = str(entry.get("status")), str(entry.get("conclusion"))
    state = RunState.QUEUED if status in WAITING else RunState.RUNNING
    if status == "completed":
        state = CONCLUSIONS.get(conclusion, RunState.UNKNOWN)
    return Run(str(entry["id"]), web_link(entry.get("html_url")), state, conclusion if state.is_over else "")
