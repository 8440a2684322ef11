"""Kubeflow Pipelines 2, as far as runs go; it takes any number of runs of one name."""

import json
import re
import uuid
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer, path_of, query_of
from tests.alerting.servers import Answer

API = "/apis/v2beta1"


class Server(TargetServer):
    launch = re.compile(r"/apis/v2beta1/runs$")
    states: ClassVar = {
        RunState.QUEUED: "PENDING",
        RunState.RUNNING: "RUNNING",
        RunState.SUCCEEDED: "SUCCEEDED",
        RunState.FAILED: "FAILED",
        RunState.CANCELLED: "CANCELED",
    }

    def is_authorized(self, request):
        return self.has_bearer(request)

    def answer(self, request):
        prefix = "/pipeline" if self.environment else ""
        path = path_of(request).removeprefix(prefix + API)
        if path == "/runs":
            return self._create(request.fields) if request.method == "POST" else self._list(query_of(request))
        if path.startswith("/runs/"):
            run = self.runs.get(path.removeprefix("/runs/"))
            return Answer(200, self._shown(run)) if run else self._missing()
        known = [f"/pipelines/{self.options['pipeline_id']}"]
        known.append(f"{known[0]}/versions/{self.options.get('pipeline_version_id')}")
        known.append(f"/experiments/{self.options.get('experiment_id')}")
        if path not in known or not self.has_pipeline:
            return self._missing()
        return Answer(200, {"display_name": "retrain churn"})

    def _missing(self):
        return Answer(404, {"error": "not found", "code": 5, "message": "ResourceNotFoundError"})

    def _create(self, body):
        version = body["pipeline_version_reference"]
        if not self.has_pipeline or version["pipeline_id"] != self.options["pipeline_id"]:
            return self._missing()
        if body.get("experiment_id") != self.options.get("experiment_id"):
            return Answer(400, {"message": "A namespace or an experiment is needed"})
        shown = self._shown(self.add(body["display_name"], body, str(uuid.uuid4())))
        del shown["state"]  # a run that was just created has none yet
        return Answer(200, shown)

    def _list(self, query):
        (predicate,) = json.loads(query["filter"])["predicates"]
        assert (predicate["key"], predicate["operation"]) == ("display_name", "EQUALS")
        found = self.with_key(predicate["string_value"])
        # Go leaves out empty lists.
        return Answer(200, {"runs": [self._shown(found)], "total_size": 1} if found else {})

    def _shown(self, run):
        return {"run_id": run.id, "display_name": run.key, "state": self.states[run.state]}
