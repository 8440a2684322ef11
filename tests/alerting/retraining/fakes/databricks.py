"""Databricks Jobs 2.2, as far as runs of a job go."""

import re
from typing import ClassVar

from alerting.retraining.run import RunState
from tests.alerting.retraining.fakes.server import TargetServer, path_of, query_of
from tests.alerting.servers import Answer


class Server(TargetServer):
    launch = re.compile(r"/run-now$")
    states: ClassVar = {
        RunState.QUEUED: "PENDING",
        RunState.RUNNING: "RUNNING",
        RunState.SUCCEEDED: "SUCCESS",
        RunState.FAILED: "RUN_EXECUTION_ERROR",
        RunState.CANCELLED: "USER_CANCELED",
    }

    def __init__(self, options, environment):
        super().__init__(options, environment)
        usual = {"driftline_model", "driftline_version", "driftline_data_from", "driftline_data_to"}
        self.declared = set(options.get("parameters", usual))

    def is_authorized(self, request):
        return self.has_bearer(request)

    def answer(self, request):
        path, query = path_of(request), query_of(request)
        if path == "/api/2.2/jobs/run-now":
            return self._run_now(request.fields)
        if path == "/api/2.2/jobs/get":
            is_there = self.has_pipeline and query["job_id"] == "1042"
            parameters = [{"name": name, "default": ""} for name in self.declared]
            settings = {"name": "retrain churn", "parameters": parameters}
            return Answer(200, {"job_id": 1042, "settings": settings}) if is_there else self._missing()
        run = self.runs.get(query.get("run_id", ""))
        return Answer(200, self._shown(run)) if run else self._missing()

    def _missing(self):
        error = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Job 1042 does not exist."}
        return Answer(400, error)

    def _run_now(self, body):
        assert len(body["idempotency_token"]) <= 64
        if not self.has_pipeline or body["job_id"] != 1042:
            return self._missing()
        if set(body["job_parameters"]) - self.declared:
            return Answer(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "not declared"})
        run = self.with_key(body["idempotency_token"]) or self.add(body["idempotency_token"], body)
        return Answer(200, {"run_id": int(run.id), "number_in_job": int(run.id)})

    def _shown(self, run):
        native = self.states[run.state]
        status: dict[str, object] = {"state": native}
        if run.state.is_over:
            status = {"state": "TERMINATED", "termination_details": {"code": native, "message": ""}}
        page = f"https://dbc.example/?o=1#job/1042/run/{run.id}"
        return {"run_id": int(run.id), "status": status, "run_page_url": page}
