"""SageMaker Pipelines: an execution of a pipeline, with SageMaker's own request token.

Notes
-----
SageMaker answers with the existing execution to a ``ClientRequestToken`` that it has seen. A pipeline takes
only parameters that it declares, with values of at most 1,024 characters, so the whole request cannot be
one. SageMaker has no address for the page of an execution that would be good for every account: `ui_url` is
shown as it is.

References
----------
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StartPipelineExecution.html
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribePipelineExecution.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal, Self

import httpx
import msgspec
from pydantic import StringConstraints, model_validator

from alerting.finding import instant
from alerting.http.addresses import Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.client import PASSING as PASSING_STATUSES
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import Address, Parameters, TargetOptions, chosen, defaults
from alerting.retraining.request import RetrainingRequest, parameters, summary
from alerting.retraining.run import Run, RunState
from alerting.retraining.sigv4 import Keys, Scope, signed
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError, RetryLater

MAX_DESCRIPTION = 3_072
CONTENT_TYPE = "application/x-amz-json-1.1"
STATES = {
    "Executing": RunState.RUNNING,
    "Stopping": RunState.RUNNING,
    "Stopped": RunState.CANCELLED,
    "Failed": RunState.FAILED,
    "Succeeded": RunState.SUCCEEDED,
    "CompletedWithFailures": RunState.FAILED,
}
# AWS says 400 to nearly everything; these pass by themselves.
PASSING = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ResourceLimitExceeded",
        "ConflictException",
        "ExpiredTokenException",  # token files are read anew for every request
        "ServiceUnavailable",
        "InternalFailure",
    }
)
_KIND = re.compile(r"(?:^|#)([A-Za-z]{1,80})(?:$|:)")
HINTS = {
    "ResourceNotFound": "there is no such pipeline in this region and account",
    "AccessDeniedException": "allow sagemaker:StartPipelineExecution, DescribePipeline and "
    "DescribePipelineExecution for this key",
    "UnrecognizedClientException": "the access key is not accepted: check access_key_id and the region",
    "InvalidSignatureException": "the secret access key is not accepted, or a clock is wrong",
    "InvalidClientTokenId": "the access key is not accepted: check access_key_id and the region",
    "ExpiredTokenException": "the session token has expired: put a new one in its file",
    "ValidationException": "check that the pipeline declares all parameters",
}


class SageMakerOptions(TargetOptions):
    """Options of a ``sagemaker`` target.

    Parameters
    ----------
    region : str
        AWS region, such as ``eu-central-1``.
    url : str, optional
        Address of the API, where it is not the region's public one (VPC endpoints, other partitions).
    pipeline : str
        Name or ARN of the pipeline.
    parameters : dict
        Parameters that the pipeline declares, and what each is given.
    access_key_id_env, access_key_id_file : str
        Who calls.
    secret_access_key_env, secret_access_key_file : str
        Goes with it.
    session_token_env, session_token_file : str, optional
        For temporary credentials; files are read anew for every request.
    """

    type: Literal["sagemaker"]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,}(-[a-z]+)+-\d+$", max_length=40)]
    url: Address | None = None
    pipeline: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:/_-]+$", max_length=2_048)]
    parameters: Parameters = defaults("model", "version", "data_from", "data_to")
    access_key_id_env: str | None = None
    access_key_id_file: str | None = None
    secret_access_key_env: str | None = None
    secret_access_key_file: str | None = None
    session_token_env: str | None = None
    session_token_file: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "access_key_id_env", "access_key_id_file")
        exactly_one(self, "secret_access_key_env", "secret_access_key_file")
        if "document" in self.parameters.values():
            msg = "document is too long for a parameter of SageMaker (use the other names)"
            raise ValueError(msg)
        return self


class SageMakerTarget(RetrainingTarget):
    """Starts executions of a pipeline; see the notes of the module."""

    Options = SageMakerOptions
    options: SageMakerOptions
    idempotent = True

    def __init__(
        self,
        options: SageMakerOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._id = Credential(self, "access_key_id")
        self._secret = Credential(self, "secret_access_key")
        self._session = Credential.optional(self, "session_token")

    def api_url(self) -> str:
        """Address of the API in the region."""
        return self.options.url or f"https://api.sagemaker.{self.options.region}.amazonaws.com"

    def launch(self, request: RetrainingRequest) -> Run:
        """Start an execution, or get the one that has the token."""
        given = chosen(self.options.parameters, parameters(request))
        body = {
            "PipelineName": self.options.pipeline,
            "PipelineExecutionDisplayName": f"driftline-{request.id}",
            "PipelineExecutionDescription": summary(request, MAX_DESCRIPTION),
            "PipelineParameters": [{"Name": name, "Value": value} for name, value in given.items()],
            "ClientRequestToken": request.id,
        }
        arn = self._call("StartPipelineExecution", body).need("PipelineExecutionArn")
        return Run(arn, self.options.ui_url or "", RunState.QUEUED)

    def observe(self, run: Run) -> Run:
        """Describe the execution."""
        answer = self._send("DescribePipelineExecution", {"PipelineExecutionArn": run.id})
        if _kind(answer) == "ResourceNotFound":
            return replace(run, state=RunState.UNKNOWN, detail="SageMaker no longer has this execution")
        answer = self._checked(answer)
        state = STATES.get(answer.need("PipelineExecutionStatus"), RunState.UNKNOWN)
        return replace(run, state=state, detail=answer.text("FailureReason"))

    def check(self) -> str:
        """Describe the pipeline."""
        answer = self._call("DescribePipeline", {"PipelineName": self.options.pipeline})
        return f"pipeline {answer.need('PipelineName')} is {answer.text('PipelineStatus') or 'there'}"

    @classmethod
    def examples(cls) -> list[Example]:
        """A key of a user, and temporary credentials."""
        plain: dict[str, object] = {
            "type": "sagemaker",
            "region": "eu-central-1",
            "url": "{server}",
            "pipeline": "retrain-churn",
            "access_key_id_env": "AWS_ACCESS_KEY_ID",
            "secret_access_key_env": "AWS_SECRET_ACCESS_KEY",
            "allow_private": True,
        }
        keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret+key/of+aws"}
        session = {**plain, "session_token_env": "AWS_SESSION_TOKEN"}
        return [Example(plain, keys), Example(session, {**keys, "AWS_SESSION_TOKEN": "token-of-session"})]

    def _call(self, action: str, body: object) -> Answer:
        return self._checked(self._send(action, body))

    def _send(self, action: str, body: object) -> Answer:
        content = msgspec.json.encode(body)
        url = httpx.URL(self.api_url())
        headers = {
            "host": url.netloc.decode(),
            "content-type": CONTENT_TYPE,
            "x-amz-target": f"SageMaker.{action}",
        }
        keys = Keys(self._id.text(), self._secret.text(), self._session.text() if self._session else "")
        scope = Scope(self.options.region, "sagemaker")
        at = instant(self.now_ms())
        path = url.path.rstrip("/") + "/"
        sent = signed("POST", path, headers, content, keys=keys, scope=scope, at=at)
        return self.http.send("POST", "/", content, sent, accept=range(400, 500))

    def _checked(self, answer: Answer) -> Answer:
        """Tell AWS's errors apart, which come with status 400 and a ``__type``."""
        if answer.status < 300:
            return answer
        kind = _kind(answer)
        hint = HINTS.get(kind)
        msg = f"{kind} ({hint}){self.http.quote(answer)}" if hint else f"{kind}{self.http.quote(answer)}"
        if kind in PASSING:
            raise RetryLater(msg)
        if not kind or answer.status in PASSING_STATUSES:
            raise self.http.error(answer)
        raise DeliveryError(msg)


def _kind(answer: Answer) -> str:
    """Name the error: ``com.amazonaws.sagemaker#ResourceNotFound`` is ``ResourceNotFound``."""
    if answer.status < 300:
        return ""
    found = _KIND.search(answer.text("__type"))
    return found[1] if found else ""
