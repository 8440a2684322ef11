"""Prefect 3, as far as flow runs of deployments go."""

import base64
import re
import uuid
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer, path_of
from tests.alerting.servers import Answer

DEPLOYMENT = "5e0f6b1e-4f0e-4a55-9a57-2d1d7a3b0d11"


class Server(TargetServer):
    launch = re.compile(r"/create_flow_run$")
    states: ClassVar = {
        RunState.QUEUED: "SCHEDULED",
        RunState.RUNNING: "RUNNING",
        RunState.SUCCEEDED: "COMPLETED",
        RunState.FAILED: "CRASHED",
        RunState.CANCELLED: "CANCELLED",
    }
    is_paused = False

    def is_authorized(self, request):
        if "username" not in self.options:
            return self.has_bearer(request)
        pair = base64.b64encode(f"admin:{self.secret}".encode()).decode()
        return request.headers.get("authorization") == f"Basic {pair}"

    def answer(self, request):
        path = path_of(request)
        if path == "/api/deployments/name/retrain/churn" and self.has_pipeline:
            return Answer(200, {"id": DEPLOYMENT, "name": "churn", "paused": self.is_paused})
        if path == f"/api/deployments/{DEPLOYMENT}/create_flow_run" and request.method == "POST":
            return self._create(request.fields)
        run = self.runs.get(path.removeprefix("/api/flow_runs/"))
        return self._shown(run, 200) if run else Answer(404, {"detail": "Flow run not found"})

    def _create(self, body):
        if set(body["parameters"]) != {"retraining"}:
            return Answer(409, {"detail": "Error creating flow run: 'retraining' is a required property"})
        known = self.with_key(body["idempotency_key"])
        if known:
            return self._shown(known, 200)
        return self._shown(self.add(body["idempotency_key"], body, str(uuid.uuid4())), 201)

    def _shown(self, run, status):
        native = self.states[run.state]
        shown = {"id": run.id, "state_type": native, "state": {"type": native, "message": None}}
        return Answer(status, shown)
