"""Jenkins, as far as builds of a job with parameters go: an item in the queue, then a build."""

import base64
import re
import urllib.parse
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer, path_of, query_of
from tests.alerting.servers import Answer

CRUMB = {"crumbRequestField": "Jenkins-Crumb", "crumb": "c0ffee"}


class Server(TargetServer):
    launch = re.compile(r"/buildWithParameters$")
    states: ClassVar = {
        RunState.QUEUED: "",
        RunState.RUNNING: "",
        RunState.SUCCEEDED: "SUCCESS",
        RunState.FAILED: "FAILURE",
        RunState.CANCELLED: "ABORTED",
    }

    def __init__(self, options, environment):
        super().__init__(options, environment)
        self.job = "".join(f"/job/{name}" for name in options["job"].split("/"))
        usual = ("id", "model", "version", "data_from", "data_to")
        self.declared = set(options.get("parameters", [f"driftline_{name}" for name in usual]))
        self.wants_crumb = False
        self.remembers_items = True
        self.is_buildable = True

    def is_authorized(self, request):
        pair = base64.b64encode(f"driftline:{self.secret}".encode()).decode()
        return request.headers.get("authorization") == f"Basic {pair}"

    def refusal(self):
        return Answer(401, "<html>Unauthorized</html>")

    def answer(self, request):
        path = path_of(request)
        if path == "/crumbIssuer/api/json" and self.wants_crumb:
            return Answer(200, CRUMB, {"Set-Cookie": "JSESSIONID.1=s3ss10n; Path=/; HttpOnly"})
        if path == "/queue/api/json":
            return Answer(200, {"items": [self._item(run) for run in self._waiting()]})
        if path.startswith("/queue/item/"):
            return self._queue_item(path.split("/")[3])
        if not self.has_pipeline or not path.startswith(self.job + "/"):
            return Answer(404, "<html>Not Found</html>")
        return self._of_job(path.removeprefix(self.job), request)

    def _of_job(self, path, request):
        if path == "/buildWithParameters":
            return self._build(request)
        if path == "/api/json":
            return self._lists(query_of(request)["tree"])
        run = self.runs.get(path.split("/")[1])
        return Answer(200, self._shown(run)) if run else Answer(404, "<html>Not Found</html>")

    def _build(self, request):
        headers = request.headers
        has_crumb = (
            headers.get("jenkins-crumb") == "c0ffee" and headers.get("cookie") == "JSESSIONID.1=s3ss10n"
        )
        if self.wants_crumb and not has_crumb:
            return Answer(403, "<html>No valid crumb was included in the request</html>")
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        kept = {name: value for name, value in form.items() if name in self.declared}  # others are ignored
        number = str(next(self.numbers))
        self.add(kept.get("driftline_id", kept.get("ID", "")), kept, number)
        return Answer(201, None, {"Location": f"http://jenkins.example/queue/item/{1_000 + int(number)}/"})

    def _lists(self, tree):
        if tree.startswith("builds"):
            started = [run for run in self.runs.values() if run.state is not RunState.QUEUED]
            return Answer(200, {"builds": [self._shown(run) for run in started[::-1]]})
        definitions = [{"name": name} for name in sorted(self.declared)]
        properties = [{}, {"parameterDefinitions": definitions}]
        return Answer(200, {"name": "x", "buildable": self.is_buildable, "property": properties})

    def _queue_item(self, number):
        run = self.runs.get(str(int(number) - 1_000))
        if run is None or not self.remembers_items:
            return Answer(404, "<html>Not Found</html>")
        return Answer(200, self._item(run))

    def _waiting(self):
        return [run for run in self.runs.values() if run.state is RunState.QUEUED]

    def _actions(self, run):
        given = [{"name": name, "value": value} for name, value in run.body.items()]
        return [{}, {"_class": "hudson.model.ParametersAction", "parameters": given}]

    def _item(self, run):
        item = {"id": 1_000 + int(run.id), "actions": self._actions(run)}
        item["task"] = {"url": "http://jenkins.example" + urllib.parse.quote(self.job) + "/"}
        if run.state is RunState.QUEUED:
            return {**item, "why": "Waiting for next available executor"}
        return {**item, "why": None, "cancelled": False, "executable": {"number": int(run.id)}}

    def _shown(self, run):
        return {
            "number": int(run.id),
            "building": not run.state.is_over,
            "result": self.states[run.state] or None,
            "queueId": 1_000 + int(run.id),
            "actions": self._actions(run),
        }
