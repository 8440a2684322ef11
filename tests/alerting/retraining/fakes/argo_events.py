"""A webhook event source and the events endpoint of the Argo server: they take every event."""

import re

from tests.alerting.retraining.fakes.server import TargetServer, path_of
from tests.alerting.servers import Answer


class Server(TargetServer):
    launch = re.compile(r"^/retrain$|^/api/v1/events/")

    def is_authorized(self, request):
        return self.has_bearer(request)

    def answer(self, request):
        path = path_of(request)
        if path == "/api/v1/workflow-event-bindings/ml":
            return Answer(200, {"items": [{"metadata": {"name": "retrain"}}]})
        if path not in ("/retrain", "/api/v1/events/ml/driftline"):
            return Answer(404, "404 page not found")
        if request.method != "POST":
            return Answer(405)
        self.add(request.fields["name"], request.fields)
        return Answer(200, {}) if "namespace" in self.options else Answer(200, "success")
