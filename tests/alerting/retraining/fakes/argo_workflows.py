"""The Argo server, as far as submitted workflows go; names are taken once."""

import re
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer, path_of
from tests.alerting.servers import Answer


class Server(TargetServer):
    launch = re.compile(r"/submit$")
    states: ClassVar = {
        RunState.QUEUED: "Pending",
        RunState.RUNNING: "Running",
        RunState.SUCCEEDED: "Succeeded",
        RunState.FAILED: "Failed",
    }

    def is_authorized(self, request):
        return self.has_bearer(request)

    def answer(self, request):
        path = path_of(request)
        if path == "/api/v1/workflows/ml/submit":
            return self._submit(request.fields)
        templates = (
            "/api/v1/workflow-templates/ml/retrain-churn",
            "/api/v1/cluster-workflow-templates/retrain-churn",
        )
        if path == templates["kind" in self.options] and self.has_pipeline:
            return Answer(200, {"metadata": {"name": "retrain-churn"}})
        run = self.runs.get(path.removeprefix("/api/v1/workflows/ml/"))
        return Answer(200, self._shown(run)) if run else self._missing()

    def _missing(self):
        return Answer(404, {"code": 5, "message": "not found"})

    def _submit(self, body):
        options = body["submitOptions"]
        if not self.has_pipeline or body["resourceName"] != "retrain-churn":
            return self._missing()
        if options["name"] in self.runs:
            return Answer(409, {"code": 6, "message": "workflows.argoproj.io already exists"})
        if not all("=" in parameter for parameter in options["parameters"]):
            return Answer(400, {"code": 3, "message": "expected parameter of the form: NAME=VALUE"})
        labels = dict(label.split("=") for label in options["labels"].split(","))
        assert all(len(value) <= 63 for value in labels.values())
        run = self.add(options["name"], body, options["name"])
        return Answer(200, {"metadata": {"name": run.id}, "status": {}})

    def _shown(self, run):
        return {"metadata": {"name": run.id}, "status": {"phase": self.states[run.state], "message": ""}}
