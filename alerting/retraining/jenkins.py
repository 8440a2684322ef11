"""Jenkins: a build of a job with parameters, found again by the parameter that takes the id.

Notes
-----
Jenkins has no idempotency key. Before a build is asked for, the queue and the last 100 builds of the job are
searched for the id of the request. That is certain unless two processes ask at the same moment, or the build
was deleted. A job ignores parameters that it does not declare, so it must declare the one that takes the id:
`JenkinsTarget.check` looks. First there is an item in the queue, then a build; Jenkins forgets the item five
minutes later, and the build remembers its number. A crumb is asked for where Jenkins wants one.

References
----------
https://www.jenkins.io/doc/book/using/remote-access-api/
https://www.jenkins.io/doc/book/security/csrf-protection/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlencode

from pydantic import AfterValidator, StringConstraints, model_validator

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer, objects
from alerting.http.client import segment
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import (
    AddressOptions,
    Name,
    Parameters,
    TokenOptions,
    chosen,
    defaults,
    has_id,
)
from alerting.retraining.request import RetrainingRequest, parameters
from alerting.retraining.run import Run, RunState
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError, RetryLater

QUEUE, BUILD = "queue/", "build/"
BUILD_FIELDS = "number,building,result,queueId,actions[parameters[name,value]]"
QUEUE_FIELDS = "items[id,why,task[url],actions[parameters[name,value]]]"
JOB_FIELDS = "name,buildable,property[parameterDefinitions[name]]"
RESULTS = {
    "SUCCESS": RunState.SUCCEEDED,
    "UNSTABLE": RunState.FAILED,
    "FAILURE": RunState.FAILED,
    "NOT_BUILT": RunState.CANCELLED,
    "ABORTED": RunState.CANCELLED,
}
_ITEM = re.compile(r"/queue/item/(\d+)/?$")


class JenkinsOptions(AddressOptions, TokenOptions):
    """Options of a ``jenkins`` target.

    Parameters
    ----------
    url : str
        Address of Jenkins.
    job : str
        Full name of the job, folders before slashes: ``ml/retrain-churn``.
    parameters : dict
        Parameters that the job declares, and what each is given; one must take ``id``.
    username : str
        Whose token it is.
    token_env, token_file : str
        API token of a user who may read and build the job.
    """

    type: Literal["jenkins"]
    job: Annotated[str, StringConstraints(pattern=r"^[^/\x00-\x1f]+(/[^/\x00-\x1f]+)*$", max_length=512)]
    parameters: Annotated[Parameters, AfterValidator(has_id)] = defaults(
        "id", "model", "version", "data_from", "data_to"
    )
    username: Name

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "token_env", "token_file")
        return self


class JenkinsTarget(RetrainingTarget):
    """Builds a job; see the notes of the module."""

    Options = JenkinsOptions
    options: JenkinsOptions
    can_find = True

    def __init__(
        self,
        options: JenkinsOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential(self, "token")
        self._job = "".join(f"/job/{segment(name)}" for name in options.job.split("/"))
        self._id_parameter = next(name for name, given in options.parameters.items() if given == "id")

    def api_url(self) -> str:
        """Address of Jenkins."""
        return self.options.url

    def find(self, request: RetrainingRequest) -> Run | None:
        """Look for the id in the queue and in the last 100 builds; see the notes of the module."""
        waiting = self._get("/queue/api/json", tree=QUEUE_FIELDS).items("items")
        for item in waiting:
            task = item.get("task")
            is_ours = isinstance(task, dict) and str(task.get("url")).rstrip("/").endswith(self._job)
            if is_ours and self._is_of(item, request.id):
                return self._queued(str(item.get("id")), item)
        return next((self._build(item) for item in self._builds() if self._is_of(item, request.id)), None)

    def launch(self, request: RetrainingRequest) -> Run:
        """Put a build into the queue."""
        form = urlencode(chosen(self.options.parameters, parameters(request))).encode()
        path = f"{self._job}/buildWithParameters"
        answer = self._submit(path, form, {})
        if answer.status == 403:
            answer = self._submit(path, form, self._crumb(answer))
        if answer.status in (403, 404):
            raise self._missing() if answer.status == 404 else self.http.error(answer)
        item = _ITEM.search(answer.headers.get("location", ""))
        if item is None:
            msg = "the answer does not say which item of the queue it is: is the url that of Jenkins?"
            raise RetryLater(msg)
        return self._queued(item[1], {})

    def observe(self, run: Run) -> Run:
        """Ask for the build, or for the item in the queue until there is one."""
        if run.id.startswith(BUILD):
            number = run.id.removeprefix(BUILD)
            answer = self._get(f"{self._job}/{segment(number)}/api/json", 404, tree=BUILD_FIELDS)
            return self._gone(run) if answer.status == 404 else self._build(_object(answer))
        number = run.id.removeprefix(QUEUE)
        answer = self._get(f"/queue/item/{segment(number)}/api/json", 404)
        if answer.status == 404:
            builds = (item for item in self._builds() if str(item.get("queueId")) == number)
            return next((self._build(item) for item in builds), self._gone(run))
        build = answer.text("executable", "number")
        if build:
            return self.observe(Run(BUILD + build, "", RunState.RUNNING))
        return self._queued(number, _object(answer))

    def check(self) -> str:
        """Ask for the job and the parameters that it declares."""
        answer = self._get(f"{self._job}/api/json", 404, tree=JOB_FIELDS)
        if answer.status == 404:
            raise self._missing()
        job = _object(answer)
        if job.get("buildable") is not True:
            msg = f"job {self.options.job} cannot be built: enable it"
            raise DeliveryError(msg)
        lists = [objects(entry.get("parameterDefinitions")) for entry in answer.items("property")]
        declared = {str(entry.get("name")) for found in lists for entry in found}
        missing = sorted(set(self.options.parameters) - declared)
        if missing:
            msg = f"job {self.options.job} does not declare the parameters {', '.join(missing)}"
            raise DeliveryError(msg)
        return f"job {self.options.job} can be built"

    @classmethod
    def examples(cls) -> list[Example]:
        """A job, and one in a folder that takes the request as JSON."""
        plain: dict[str, object] = {
            "type": "jenkins",
            "url": "{server}",
            "job": "retrain-churn",
            "username": "driftline",
            "token_env": "JENKINS_TOKEN",
            "allow_private": True,
        }
        folder = {**plain, "job": "ml/retrain churn", "parameters": {"ID": "id", "REQUEST": "document"}}
        token = {"JENKINS_TOKEN": "token-of-jenkins"}
        return [Example(plain, token), Example(folder, token)]

    def _submit(self, path: str, form: bytes, crumb: Mapping[str, str]) -> Answer:
        headers = {"content-type": "application/x-www-form-urlencoded", **self._authorization(), **crumb}
        return self.http.send("POST", path, form, headers, accept=(403, 404))

    def _crumb(self, refusal: Answer) -> dict[str, str]:
        """Ask for a crumb, which is good for the session that it was given to."""
        path = "/crumbIssuer/api/json"
        answer = self.http.get(path, headers=self._authorization(), accept=(403, 404))
        if answer.status != 200:
            raise self.http.error(refusal)
        cookies = [text.partition(";")[0] for text in answer.headers.get_list("set-cookie")]
        field, crumb = answer.need("crumbRequestField"), answer.need("crumb")
        if not re.fullmatch(r"[\w.-]{1,100}", field) or not (crumb.isascii() and crumb.isprintable()):
            raise self.http.error(refusal)
        return {field: crumb, **({"cookie": "; ".join(cookies)} if cookies else {})}

    def _get(self, path: str, *accept: int, **query: str) -> Answer:
        return self.http.get(path, query=query, headers=self._authorization(), accept=accept)

    def _builds(self) -> list[dict[str, Any]]:
        answer = self._get(f"{self._job}/api/json", 404, tree=f"builds[{BUILD_FIELDS}]{{0,100}}")
        if answer.status == 404:
            raise self._missing()
        return [item for item in answer.items("builds") if item.get("number")]

    def _is_of(self, item: Mapping[str, Any], id_: str) -> bool:
        wanted = {"name": self._id_parameter, "value": id_}
        given = [
            entry for action in objects(item.get("actions")) for entry in objects(action.get("parameters"))
        ]
        return any({**entry, **wanted} == entry for entry in given)

    def _queued(self, number: str, item: Mapping[str, Any]) -> Run:
        state = RunState.CANCELLED if item.get("cancelled") is True else RunState.QUEUED
        return Run(QUEUE + number, f"{self.ui_url}{self._job}/", state, str(item.get("why") or ""))

    def _build(self, item: Mapping[str, Any]) -> Run:
        number, result = item.get("number"), item.get("result")
        if number is None:
            msg = "the answer holds no number: is the url that of Jenkins?"
            raise RetryLater(msg)
        is_building = item.get("building") is True or result is None
        state = RunState.RUNNING if is_building else RESULTS.get(str(result), RunState.UNKNOWN)
        detail = "" if is_building else str(result)
        return Run(f"{BUILD}{number}", f"{self.ui_url}{self._job}/{segment(str(number))}/", state, detail)

    @staticmethod
    def _gone(run: Run) -> Run:
        return replace(run, state=RunState.UNKNOWN, detail="Jenkins no longer has this build")

    def _missing(self) -> DeliveryError:
        return DeliveryError(f"answered 404: there is no job {self.options.job}, or this user may not see it")

    def _authorization(self) -> dict[str, str]:
        return self._token.basic(self.options.username)


def _object(answer: Answer) -> dict[str, Any]:
    value = answer.json
    return value if isinstance(value, dict) else {}
