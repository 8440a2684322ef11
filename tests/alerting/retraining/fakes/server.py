"""What local servers have in common that behave like a system which trains models."""

import itertools
import re
import urllib.parse
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

from alerting.retraining.run import RunState
from tests.alerting.servers import Answer, LocalServer, Request


@dataclass
class Started:
    """A run of the fake; `body` is what it was started with."""

    id: str
    key: str
    body: Any
    state: RunState = RunState.QUEUED


class TargetServer(LocalServer):
    """Keeps runs and checks credentials; each target adds its own requests and answers."""

    launch = re.compile(r"nothing")
    """Path of the request that starts a run (a POST)."""
    states: ClassVar[dict[RunState, str]] = {}
    """How the system calls what a run can be."""

    def __init__(self, options: dict[str, Any], environment: dict[str, str]) -> None:
        super().__init__()
        self.options = options
        self.environment = environment
        self.runs: dict[str, Started] = {}
        self.launch_faults: deque[Answer] = deque()
        self.refuses_credentials = False
        self.has_pipeline = True
        self.numbers = itertools.count(101)

    def respond(self, request: Request) -> Answer:
        if self.refuses_credentials or not self.is_authorized(request):
            return self.refusal()
        if request.method == "POST" and self.launch.search(request.path) and self.launch_faults:
            fault = self.launch_faults.popleft()
            if fault.is_kept:
                self.answer(request)
            return fault
        return self.answer(request)

    def is_authorized(self, request: Request) -> bool:
        return True

    def refusal(self) -> Answer:
        return Answer(401, {"message": "who are you?"})

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def add(self, key: str, body: Any, id_: str = "") -> Started:
        started = Started(id_ or str(next(self.numbers)), key, body)
        self.runs[started.id] = started
        return started

    def with_key(self, key: str) -> Started | None:
        return next((run for run in self.runs.values() if run.key == key), None)

    def become(self, state: RunState) -> None:
        """Let every run be in this state."""
        for run in self.runs.values():
            run.state = state

    @property
    def secret(self) -> str:
        """The only secret, for servers that have one."""
        return next(iter(self.environment.values()))

    def has_bearer(self, request: Request) -> bool:
        return not self.environment or request.headers.get("authorization") == f"Bearer {self.secret}"


def path_of(request: Request) -> str:
    return urllib.parse.unquote(request.path.partition("?")[0])


def query_of(request: Request) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(request.path.partition("?")[2]))
