"""Apache Airflow 3 and 2: a dag run with a name of ours, which Airflow takes only once.

Notes
-----
The run is named ``driftline-{id of the request}``. Airflow answers 409 to a name that exists, and the run
of that name is taken for ours. The request is the run's ``conf``. A token of Airflow 3 comes from
``/auth/token`` and is renewed when it has expired.

References
----------
https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html
https://airflow.apache.org/docs/apache-airflow/stable/security/api.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import model_validator

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.client import segment
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import AddressOptions, Name, TokenOptions
from alerting.retraining.request import RetrainingRequest, document, summary
from alerting.retraining.run import Run, RunState
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError, RetryLater

MAX_NOTE = 1_000
STATES = {
    "queued": RunState.QUEUED,
    "running": RunState.RUNNING,
    "success": RunState.SUCCEEDED,
    "failed": RunState.FAILED,
}


class AirflowOptions(AddressOptions, TokenOptions):
    """Options of an ``airflow`` target.

    Parameters
    ----------
    url : str
        Address of the API server (Airflow 3) or the webserver (Airflow 2).
    dag_id : str
        DAG to run; it finds the request in ``dag_run.conf``.
    api : {3, 2}
        Major version of Airflow.
    username : str, optional
        Who logs in; needed with a password.
    password_env, password_file : str
        Password, instead of a token.
    token_env, token_file : str
        Bearer token, where another system hands them out.
    """

    type: Literal["airflow"]
    dag_id: Name
    api: Literal[3, 2] = 3
    username: Name | None = None
    password_env: str | None = None
    password_file: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "password_env", "password_file", "token_env", "token_file")
        uses_password = self.password_env is not None or self.password_file is not None
        if uses_password != (self.username is not None):
            msg = "username goes with a password (give both, or a token)"
            raise ValueError(msg)
        return self


class AirflowTarget(RetrainingTarget):
    """Creates dag runs; see the notes of the module."""

    Options = AirflowOptions
    options: AirflowOptions
    idempotent = True

    def __init__(
        self,
        options: AirflowOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._password = Credential.optional(self, "password")
        self._token = Credential.optional(self, "token")
        self._issued = ""
        version = "v2" if options.api == 3 else "v1"
        self._dag = f"/api/{version}/dags/{segment(options.dag_id)}"

    def api_url(self) -> str:
        """Address of the API server."""
        return self.options.url

    def launch(self, request: RetrainingRequest) -> Run:
        """Create the dag run, or take the one that has its name."""
        name = f"driftline-{request.id}"
        body: dict[str, object] = {
            "dag_run_id": name,
            "conf": document(request),
            "note": summary(request, MAX_NOTE),
        }
        if self.options.api == 3:
            body["logical_date"] = None  # must be there, or Airflow 3 answers 422
        answer = self._call("POST", f"{self._dag}/dagRuns", body, accept=(404, 409))
        if answer.status == 409:
            return self._existing(name, answer)
        return self._run(self._known(answer))

    def observe(self, run: Run) -> Run:
        """Ask for the dag run."""
        answer = self._call("GET", f"{self._dag}/dagRuns/{segment(run.id)}", accept=(404,))
        if answer.status == 404:
            return replace(run, state=RunState.UNKNOWN, detail="Airflow no longer has this run")
        return self._run(answer)

    def check(self) -> str:
        """Ask for the DAG."""
        answer = self._known(self._call("GET", self._dag, accept=(404,)))
        waits = ", but is paused: its runs wait" if answer.get("is_paused") is True else ""
        return f"DAG {answer.need('dag_id')} exists{waits}"

    @classmethod
    def examples(cls) -> list[Example]:
        """Airflow 3 with a password and with a token, Airflow 2."""
        plain: dict[str, object] = {
            "type": "airflow",
            "url": "{server}",
            "dag_id": "retrain_churn",
            "allow_private": True,
        }
        user = {**plain, "username": "driftline", "password_env": "AIRFLOW_PASSWORD"}
        password = {"AIRFLOW_PASSWORD": "correct horse battery"}
        return [
            Example(user, password),
            Example({**plain, "token_env": "AIRFLOW_TOKEN"}, {"AIRFLOW_TOKEN": "token-of-airflow"}),
            Example({**user, "api": 2}, password),
        ]

    def _existing(self, name: str, refusal: Answer) -> Run:
        answer = self._call("GET", f"{self._dag}/dagRuns/{segment(name)}", accept=(404,))
        if answer.status == 404:  # the conflict was with something else
            msg = f"answered 409{self.http.quote(refusal)}"
            raise RetryLater(msg)
        return self._run(answer)

    def _run(self, answer: Answer) -> Run:
        name = answer.need("dag_run_id")
        return Run(name, self._page(name), STATES.get(answer.text("state"), RunState.UNKNOWN))

    def _page(self, name: str) -> str:
        dag = f"{self.ui_url}/dags/{segment(self.options.dag_id)}"
        is_new = self.options.api == 3
        return f"{dag}/runs/{segment(name)}" if is_new else f"{dag}/grid?dag_run_id={segment(name)}"

    def _known(self, answer: Answer) -> Answer:
        if answer.status == 404:
            other = 2 if self.options.api == 3 else 3
            dag = self.options.dag_id
            msg = f"answered 404: there is no DAG {dag}, or this is Airflow {other} (say api: {other})"
            raise DeliveryError(msg)
        return answer

    def _call(self, method: str, path: str, body: object = None, accept: Collection[int] = ()) -> Answer:
        """Send a request; if an issued token is no longer valid, once more with a new one."""
        is_issued = self.options.api == 3 and self._password is not None
        refused = (401, 403) if is_issued and self._issued else ()
        answer = self._send(method, path, body, (*accept, *refused))
        if answer.status in refused:
            self._issued = ""
            answer = self._send(method, path, body, accept)
        return answer

    def _send(self, method: str, path: str, body: object, accept: Collection[int]) -> Answer:
        headers = self._authorization()
        if method == "GET":
            return self.http.get(path, headers=headers, accept=accept)
        return self.http.post(path, body, headers=headers, accept=accept)

    def _authorization(self) -> dict[str, str]:
        if self._token is not None:
            return self._token.bearer()
        if self._password is None or self.options.username is None:
            return {}
        if self.options.api == 2:
            return self._password.basic(self.options.username)
        # Another thread may forget the token in the meantime.
        token = self._issued or self._log_in(self.options.username, self._password.text())
        self._issued = token
        return {"authorization": f"Bearer {token}"}

    def _log_in(self, username: str, password: str) -> str:
        login: dict[str, Any] = {"username": username, "password": password}
        answer = self.http.post("/auth/token", login, accept=(404, 405))
        if answer.status in (404, 405):
            msg = (
                f"answered {answer.status} to /auth/token: check the url, or say api: 2 if this is Airflow 2"
            )
            raise DeliveryError(msg)
        token = answer.need("access_token")
        self.http.hide(token)
        return token
