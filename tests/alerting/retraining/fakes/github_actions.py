"""GitHub, as far as dispatches and workflow runs go; runs are named after the id of the request."""

import re
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer, path_of, query_of
from tests.alerting.servers import Answer

PAGE = "https://github.example/acme/models/actions/runs/"


class Server(TargetServer):
    launch = re.compile(r"/dispatches$")
    states: ClassVar = {
        RunState.QUEUED: "queued",
        RunState.RUNNING: "in_progress",
        RunState.SUCCEEDED: "success",
        RunState.FAILED: "failure",
        RunState.CANCELLED: "cancelled",
    }

    def __init__(self, options, environment):
        super().__init__(options, environment)
        self.knows_run_details = True
        self.is_listed = True
        self.state = "active"

    def is_authorized(self, request):
        is_versioned = request.headers.get("x-github-api-version") == "2022-11-28"
        return is_versioned and self.has_bearer(request)

    def answer(self, request):
        path = path_of(request).removeprefix("/repos/acme/models")
        is_workflow = path.startswith("/actions/workflows/retrain.yaml")
        if path.startswith("/actions/runs/"):
            run = self.runs.get(path.rpartition("/")[2])
            return Answer(200, self._shown(run)) if run else self._missing()
        if not self.has_pipeline or not (is_workflow or path in ("", "/dispatches", "/actions/runs")):
            return self._missing()
        if path.endswith("/dispatches"):
            return self._workflow(request.fields) if is_workflow else self._event(request.fields)
        if path.endswith("/runs"):
            return self._list(query_of(request))
        return Answer(200, {"state": self.state} if is_workflow else {"full_name": "acme/models"})

    def _missing(self):
        return Answer(404, {"message": "Not Found"})

    def _workflow(self, body):
        if "return_run_details" in body and not self.knows_run_details:
            return Answer(422, {"message": 'Invalid request. "return_run_details" is not a permitted key.'})
        if body["ref"] != "main" or not all(isinstance(value, str) for value in body["inputs"].values()):
            return Answer(422, {"message": "No ref found for: " + body["ref"]})
        run = self.add(body["inputs"]["driftline_id"], body)
        if not body.get("return_run_details"):
            return Answer(204)
        return Answer(200, {"workflow_run_id": int(run.id), "run_url": "", "html_url": PAGE + run.id})

    def _event(self, body):
        assert len(body["client_payload"]) <= 10
        self.add(body["client_payload"]["retraining"]["id"], body)
        return Answer(204)

    def _list(self, query):
        assert query["event"] == (
            "workflow_dispatch" if "workflow" in self.options else "repository_dispatch"
        )
        runs = [self._shown(run) for run in self.runs.values()] if self.is_listed else []
        return Answer(200, {"total_count": len(runs), "workflow_runs": runs[::-1]})

    def _shown(self, run):
        native = self.states[run.state]
        is_over = run.state.is_over
        return {
            "id": int(run.id),
            "display_title": f"Retrain ({run.key})",
            "status": "completed" if is_over else native,
            "conclusion": native if is_over else None,
            "html_url": PAGE + run.id,
        }
