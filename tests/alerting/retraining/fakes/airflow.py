"""Airflow 3 and 2, as far as dag runs go."""

import base64
import re
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer, path_of
from tests.alerting.servers import Answer


class Server(TargetServer):
    launch = re.compile(r"/dagRuns$")
    states: ClassVar = {
        RunState.QUEUED: "queued",
        RunState.RUNNING: "running",
        RunState.SUCCEEDED: "success",
        RunState.FAILED: "failed",
    }

    def __init__(self, options, environment):
        super().__init__(options, environment)
        self.api = options.get("api", 3)
        self.token = ""
        self.logins = 0
        self.is_paused = False

    def expire(self) -> None:
        self.token = "forgotten"

    def is_authorized(self, request):
        if request.path == "/auth/token":
            return True
        given = request.headers.get("authorization")
        if self.api == 2:
            pair = base64.b64encode(f"driftline:{self.secret}".encode()).decode()
            return given == f"Basic {pair}"
        return given == f"Bearer {self.token or self.secret}"

    def refusal(self):
        return Answer(401, {"detail": "Invalid credentials"})

    def answer(self, request):
        if request.path == "/auth/token" and self.api == 3:
            return self._log_in(request)
        found = re.fullmatch(r"/api/v[12]/dags/([^/]+)(/dagRuns)?(?:/(.+))?", path_of(request))
        version = "v2" if self.api == 3 else "v1"
        if not found or version not in request.path or not self.has_pipeline or found[1] != "retrain_churn":
            return Answer(404, {"detail": "Not Found"})
        if request.method == "POST":
            return self._create(request.fields)
        if not found[2]:
            return Answer(200, {"dag_id": found[1], "is_paused": self.is_paused})
        run = self.runs.get(found[3])
        return self._shown(run) if run else Answer(404, {"detail": "The DagRun was not found"})

    def _log_in(self, request):
        self.logins += 1
        wanted = {"username": "driftline", "password": self.secret}
        if request.fields != wanted:
            # FastAPI sends back what it did not like.
            return Answer(401, {"detail": [{"msg": "Invalid credentials", "input": request.fields}]})
        self.token = f"issued-token-{self.logins}"
        return Answer(201, {"access_token": self.token})

    def _create(self, body):
        allowed = {"dag_run_id", "conf", "note", "logical_date"}
        if set(body) - allowed or (self.api == 3 and body.get("logical_date", 0) is not None):
            return Answer(422, {"detail": [{"msg": "Field required"}]})
        if not re.fullmatch(r"[A-Za-z0-9_.~:+-]+", body["dag_run_id"]) or len(body["note"]) > 1_000:
            return Answer(400, {"detail": "The run_id does not match"})
        if body["dag_run_id"] in self.runs:
            return Answer(409, {"detail": {"reason": "Unique constraint violation"}})
        return self._shown(self.add(body["dag_run_id"], body, body["dag_run_id"]))

    def _shown(self, run):
        return Answer(200, {"dag_run_id": run.id, "state": self.states[run.state], "conf": run.body["conf"]})
