"""A pipeline behind a Standard Webhooks endpoint; checks signatures with code of its own."""

import json
import re
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer, path_of
from tests.alerting.servers import Answer, WebhookServer

PAGE = "https://ml.example/runs/"


class Server(TargetServer):
    launch = re.compile(r"^/retrain$")
    states: ClassVar = {state: state.value for state in RunState if state is not RunState.UNKNOWN}

    def is_authorized(self, request):
        if request.method == "HEAD":
            return True
        if request.method == "GET":
            return request.headers.get("authorization") == f"Bearer {self.environment['STATUS_TOKEN']}"
        secrets = [text for name, text in self.environment.items() if "HOOK" in name]
        return all(WebhookServer.is_signed(request, secret) for secret in secrets)

    def answer(self, request):
        if request.method == "HEAD":
            return Answer(405)
        if request.method == "POST":
            id_ = request.headers["webhook-id"]
            started = self.with_key(id_) or self.add(id_, json.loads(request.body))
            return Answer(202, {"run_id": started.id, "url": PAGE + started.id})
        run = self.runs.get(path_of(request).removeprefix("/runs/"))
        if run is None:
            return Answer(404)
        return Answer(200, {"state": self.states[run.state], "url": PAGE + run.id, "detail": "epoch 1"})
