"""SageMaker's API, as far as executions of a pipeline go; checks signatures with code of its own."""

import hashlib
import hmac
import re
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer
from tests.alerting.servers import Answer

ARN = "arn:aws:sagemaker:eu-central-1:123456789012:pipeline/retrain-churn/execution/"


class Server(TargetServer):
    launch = re.compile(r"^/$")
    states: ClassVar = {
        RunState.RUNNING: "Executing",
        RunState.SUCCEEDED: "Succeeded",
        RunState.FAILED: "Failed",
        RunState.CANCELLED: "Stopped",
    }

    def respond(self, request):
        """Only one of the actions starts a run: all have the same path."""
        if request.headers.get("x-amz-target") == "SageMaker.StartPipelineExecution":
            return super().respond(request)
        held, self.launch_faults = self.launch_faults, type(self.launch_faults)()
        answer = super().respond(request)
        self.launch_faults = held
        return answer

    def is_authorized(self, request):
        token = self.environment.get("AWS_SESSION_TOKEN")
        return request.headers.get("x-amz-security-token") == token and self._is_signed(request)

    def refusal(self):
        return Answer(400, {"__type": "UnrecognizedClientException", "message": "The token is invalid."})

    def _is_signed(self, request):
        text = request.headers["authorization"]
        id_, scope, names, signature = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\S+), SignedHeaders=(\S+), Signature=(\w{64})", text
        ).groups()
        assert {"host", "x-amz-date", "x-amz-target", "content-type"} <= set(names.split(";"))
        canonical = ["POST", "/", ""]
        canonical += [f"{name}:{request.headers[name]}" for name in names.split(";")]
        canonical += ["", names, hashlib.sha256(request.body).hexdigest()]
        hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        key = ("AWS4" + self.environment["AWS_SECRET_ACCESS_KEY"]).encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signed = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{hashed}"
        is_ours = id_ == self.environment["AWS_ACCESS_KEY_ID"]
        return is_ours and hmac.digest(key, signed.encode(), "sha256").hex() == signature

    def answer(self, request):
        action = request.headers["x-amz-target"].removeprefix("SageMaker.")
        body = {**request.fields}
        if action == "StartPipelineExecution":
            return self._start(body)
        if action == "DescribePipeline":
            return Answer(200, {"PipelineName": "retrain-churn"}) if self.has_pipeline else self._missing()
        run = self.runs.get(body["PipelineExecutionArn"])
        if run is None:
            return self._missing()
        return Answer(
            200, {"PipelineExecutionArn": run.id, "PipelineExecutionStatus": self.states[run.state]}
        )

    def _missing(self):
        return Answer(400, {"__type": "ResourceNotFound", "message": "Pipeline does not exist."})

    def _start(self, body):
        if not self.has_pipeline or body["PipelineName"] != "retrain-churn":
            return self._missing()
        token = body["ClientRequestToken"]
        assert 32 <= len(token) <= 128
        assert all(len(entry["Value"]) <= 1_024 for entry in body["PipelineParameters"])
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,81}", body["PipelineExecutionDisplayName"])
        run = self.with_key(token) or self.add(token, body, ARN + str(next(self.numbers)))
        run.state = RunState.RUNNING
        return Answer(200, {"PipelineExecutionArn": run.id})
