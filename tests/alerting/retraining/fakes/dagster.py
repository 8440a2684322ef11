"""Dagster's GraphQL, as far as runs of a job go."""

import re
import uuid
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer
from tests.alerting.servers import Answer


class Server(TargetServer):
    launch = re.compile(r"/graphql$")
    states: ClassVar = {
        RunState.QUEUED: "NOT_STARTED",
        RunState.RUNNING: "STARTED",
        RunState.SUCCEEDED: "SUCCESS",
        RunState.FAILED: "FAILURE",
        RunState.CANCELLED: "CANCELED",
    }

    def respond(self, request):
        """Only the mutation starts a run: the queries have the same path."""
        if b"mutation" in request.body or not self.launch_faults:
            return super().respond(request)
        held, self.launch_faults = self.launch_faults, type(self.launch_faults)()
        answer = super().respond(request)
        self.launch_faults = held
        return answer

    def is_authorized(self, request):
        return not self.environment or request.headers.get("dagster-cloud-api-token") == self.secret

    def answer(self, request):
        body = request.fields
        (name,) = re.findall(r"\b(launchRun|runsOrError|runOrError|pipelineOrError)\(", body["query"])
        return Answer(200, {"data": {name: getattr(self, f"_{name}")(body["variables"])}})

    def _missing(self):
        return {"__typename": "PipelineNotFoundError", "message": "Could not find Pipeline"}

    def _launchRun(self, variables):  # noqa: N802 - named after the field
        params = variables["executionParams"]
        wanted = {
            "repositoryLocationName": "training",
            "repositoryName": "__repository__",
            "jobName": "retrain_churn",
        }
        if not self.has_pipeline or params["selector"] != wanted:
            return self._missing()
        tags = {tag["key"]: tag["value"] for tag in params["executionMetadata"]["tags"]}
        run = self.add(tags["driftline/request_id"], params, str(uuid.uuid4()))
        return {"__typename": "LaunchRunSuccess", "run": self._shown(run)}

    def _runsOrError(self, variables):  # noqa: N802
        tag = variables["filter"]["tags"][0]
        run = self.with_key(tag["value"]) if tag["key"] == "driftline/request_id" else None
        return {"__typename": "Runs", "results": [self._shown(run)] if run else []}

    def _runOrError(self, variables):  # noqa: N802
        run = self.runs.get(variables["runId"])
        if run is None:
            return {"__typename": "RunNotFoundError", "message": "Run could not be found"}
        return {"__typename": "Run", **self._shown(run)}

    def _pipelineOrError(self, variables):  # noqa: N802
        if not self.has_pipeline:
            return self._missing()
        return {"__typename": "Pipeline", "name": variables["params"]["pipelineName"]}

    def _shown(self, run):
        return {"runId": run.id, "status": self.states[run.state]}
