"""A wire to a fake in this process that spoils one value of an answer now and then."""

import copy
import json
import random
from typing import Any

import httpx

from tests.alerting.retraining.fakes.server import TargetServer
from tests.alerting.servers import Answer, Request

JUNK: list[Any] = [
    None,
    True,
    7,
    -1,
    1.5,
    "",
    "x",
    "a\nb",
    "ü",
    [],
    {},
    [None],
    [[]],
    [{}],
    [7],
    {"x": {}},
    {"name": 7},
]
STATUSES = [200, 201, 204, 302, 400, 403, 404, 409, 422, 429, 500]
ODD_HEADERS = [{}, {"location": "/queue/item/"}, {"retry-after": "nan"}, {"x-ratelimit-remaining": "0"}]


class SpoiltWire(httpx.BaseTransport):
    """Hands requests to a fake.

    Parameters
    ----------
    server : TargetServer
        Need not run.
    rng : random.Random
        Says what is spoilt.
    """

    def __init__(self, server: TargetServer, rng: random.Random) -> None:
        self.server = server
        self.rng = rng

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Request(request.method, request.url.raw_path.decode(), headers, request.read())
        answer = self._answer(received)
        body, status, extra = answer.body, answer.status, answer.headers
        if self.rng.random() < 0.4:
            body = self._spoilt(body)
        if self.rng.random() < 0.1:
            status, extra = self.rng.choice(STATUSES), self.rng.choice(ODD_HEADERS)
        content = b"" if body is None else json.dumps(body).encode()
        return httpx.Response(status, headers=extra, stream=_Body(content))

    def _answer(self, request: Request) -> Answer:
        try:
            return self.server.respond(request)
        except (AssertionError, KeyError, TypeError, ValueError, IndexError):
            return Answer(500)  # asked for what a spoilt answer had named

    def _spoilt(self, body: Any) -> Any:
        places = _places(body)
        if not places:
            return self.rng.choice(JUNK)
        whole = [copy.deepcopy(body)]
        *path, last = self.rng.choice(places)
        inner: Any = whole[0]
        for step in path:
            inner = inner[step]
        inner[last] = copy.deepcopy(self.rng.choice(JUNK))
        return whole[0]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths to all values within."""
    if not isinstance(value, dict | list):
        return []
    found = []
    for key in value if isinstance(value, dict) else range(len(value)):
        found += [(*path, key), *_places(value[key], (*path, key))]
    return found


class _Body(httpx.SyncByteStream):
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self):
        yield self.data
