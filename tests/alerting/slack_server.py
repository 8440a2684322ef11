"""A local server that behaves like Slack for the real SDK: messages, files, Socket Mode, bad moods."""

import itertools
import json
import threading
import urllib.parse
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from tests.alerting.servers import Answer, LocalServer, Request
from tests.alerting.slack_link import Link

BOT, APP = "xoxb-0123456789", "xapp-0123456789"
TEAM = "T0TEAM"
ALL_SCOPES = frozenset({"chat:write", "files:write"})


class FakeSlack(LocalServer):
    """The part of Slack's API that Driftline uses; `mood` makes calls of one method go wrong."""

    def __init__(self, channels=("#ml",), scopes=ALL_SCOPES) -> None:
        super().__init__()
        self.channels = {name: f"C0{number:02d}" for number, name in enumerate(channels)}
        self.scopes = set(scopes)
        self.archived: set[str] = set()
        self.messages: dict[str, dict[str, Any]] = {}
        self.replies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.shared: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.ephemerals: list[dict[str, Any]] = []
        self.uploads: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.link = Link()
        self._moods: dict[str, deque[Answer]] = defaultdict(deque)
        self._count = itertools.count(1)
        self._lock = threading.RLock()

    @property
    def base_url(self) -> str:
        return f"{self.address}/api/"

    def mood(self, method: str, *answers: Answer) -> None:
        """Answer the next calls of one method like this."""
        self._moods[method].extend(answers)

    def count(self, method: str) -> int:
        return self.calls.count(method)

    def start(self, tls=None) -> None:
        super().start(tls)
        self.link.start()

    def stop(self) -> None:
        self.link.stop()
        super().stop()

    def respond(self, request: Request) -> Answer:
        where = urllib.parse.urlsplit(request.path)
        if where.path.startswith("/upload/v1/"):
            return self._moody("upload", lambda: self._receive(where.path.rpartition("/")[2], request.body))
        method = where.path.removeprefix("/api/")
        token = BOT if method != "apps.connections.open" else APP
        if request.headers.get("authorization") != f"Bearer {token}":
            return self._moody(method, lambda: refusal("invalid_auth"))
        fields = {**dict(urllib.parse.parse_qsl(where.query)), **(request.fields if request.body else {})}
        return self._moody(method, lambda: self._call(method, fields))

    def _moody(self, method: str, work: Callable[[], Answer]) -> Answer:
        with self._lock:
            self.calls.append(method)
            answer = self._moods[method].popleft() if self._moods[method] else None
            if answer is None:
                return work()
            if answer.is_kept:
                work()
        if answer.hang:
            self._released.wait(600)
        return answer

    def _call(self, method: str, fields: dict[str, Any]) -> Answer:
        handler = {
            "auth.test": self._who, "chat.postMessage": self._post, "chat.update": self._update,
            "chat.postEphemeral": self._whisper, "files.getUploadURLExternal": self._offer,
            "files.completeUploadExternal": self._share, "apps.connections.open": self.link.offer,
        }.get(method)  # fmt: skip
        if handler is None:
            return refusal("unknown_method")
        scope = "files:write" if method.startswith("files.") else "chat:write"
        if scope not in self.scopes:
            return Answer(200, {"ok": False, "error": "missing_scope", "needed": scope, "provided": "none"})
        return handler(fields)

    def _who(self, _fields) -> Answer:
        return Answer(200, {"ok": True, "user": "driftline", "team": "ml", "team_id": TEAM, "user_id": "U0B"})

    def _channel(self, name: str) -> str | Answer:
        known = {**self.channels, **{id_: id_ for id_ in self.channels.values()}}
        if name not in known:
            return refusal("channel_not_found")
        return refusal("is_archived") if known[name] in self.archived else known[name]

    def _post(self, fields) -> Answer:
        channel = self._channel(fields["channel"])
        problem = broken_limit(fields)
        if isinstance(channel, Answer) or problem:
            return channel if isinstance(channel, Answer) else refusal(str(problem))
        ts = f"1767225600.{next(self._count):06d}"
        if "thread_ts" in fields:
            self.replies[fields["thread_ts"]].append(fields)
        else:
            self.messages[ts] = {**fields, "channel": channel}
        return Answer(200, {"ok": True, "channel": channel, "ts": ts})

    def _update(self, fields) -> Answer:
        if fields["channel"] not in self.channels.values():
            return refusal("channel_not_found")  # chat.update takes ids alone
        channel, problem = self._channel(fields["channel"]), broken_limit(fields)
        if isinstance(channel, Answer) or problem:
            return channel if isinstance(channel, Answer) else refusal(str(problem))
        if fields["ts"] not in self.messages:
            return refusal("message_not_found")
        self.messages[fields["ts"]] = fields
        return Answer(200, {"ok": True, "channel": channel, "ts": fields["ts"]})

    def _whisper(self, fields) -> Answer:
        channel = self._channel(fields["channel"])
        if isinstance(channel, Answer):
            return channel
        self.ephemerals.append(fields)
        return Answer(200, {"ok": True, "message_ts": "1767225600.999999"})

    def _offer(self, fields) -> Answer:
        if len(fields.get("alt_txt", "")) > 1_000:
            return refusal("alt_txt_too_large")
        id_ = f"F{next(self._count):09d}"
        self.uploads[id_] = {**fields, "bytes": None, "is_shared": False}
        return Answer(200, {"ok": True, "file_id": id_, "upload_url": f"{self.address}/upload/v1/{id_}"})

    def _receive(self, id_: str, body: bytes) -> Answer:
        offered = self.uploads.get(id_)
        if offered is None or int(offered["length"]) != len(body):
            return Answer(400, "bad upload")
        offered["bytes"] = body
        return Answer(200, f"OK - {len(body)}")

    def _share(self, fields) -> Answer:
        channel = fields.get("channel_id")
        if channel not in self.channels.values():
            return refusal("channel_not_found")
        wanted = [{**one, **self.uploads.get(one["id"], {})} for one in json.loads(fields["files"])]
        if any(one.get("bytes") is None or one["is_shared"] for one in wanted):
            return refusal("file_not_found")
        if fields["thread_ts"] not in self.messages:
            return refusal("thread_not_found")
        for one in wanted:
            self.uploads[one["id"]]["is_shared"] = True
        self.shared[fields["thread_ts"]] += wanted
        return Answer(
            200, {"ok": True, "files": [{"id": one["id"], "title": one["title"]} for one in wanted]}
        )


def refusal(code: str, status: int = 200, **headers: str) -> Answer:
    return Answer(status, {"ok": False, "error": code}, headers)


def rate_limited(after_s: int = 30) -> Answer:
    return Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(after_s)})


def press_payload(action, user="U0ANN", name="ann", channel="C000", channel_name="ml", **more):
    """What Slack tells of a press."""
    return {
        "type": "block_actions",
        "team": {"id": TEAM, "domain": "example"},
        "user": {"id": user, "username": name, "name": name, "team_id": TEAM},
        "api_app_id": "A0APP",
        "container": {"type": "message", "message_ts": "1767225600.000001", "channel_id": channel},
        "channel": {"id": channel, "name": channel_name},
        "response_url": "https://hooks.slack.com/actions/T0TEAM/1/x",
        "actions": [{"block_id": "b", "action_ts": "1767225601.000100", **action}],
        **more,
    }


# --- limits of messages -------------------------------------------------------------------------------------

TEXT_LIMITS = {"header": 150, "section": 3_000}


def broken_limit(fields: dict[str, Any]) -> str | None:
    """Name the error that Slack gives for a message beyond its limits."""
    blocks = fields.get("blocks", [])
    blocks = json.loads(blocks) if isinstance(blocks, str) else blocks
    if not fields.get("text"):
        return "no_text"
    if len(fields["text"]) > 40_000:
        return "msg_too_long"
    if len(blocks) > 50 or not all(_is_block(block) for block in blocks):
        return "invalid_blocks"
    return None if sum(map(_characters, blocks)) <= 13_000 else "msg_blocks_too_long"


def _is_block(block: dict[str, Any]) -> bool:
    kind = block["type"]
    if kind in TEXT_LIMITS:
        return 0 < len(block["text"]["text"]) <= TEXT_LIMITS[kind]
    elements = block["elements"]
    if kind == "context":
        return 0 < len(elements) <= 10 and all(0 < len(one["text"]) <= 2_000 for one in elements)
    names = [one["action_id"] for one in elements]
    is_small = 0 < len(elements) <= 25 and len(set(names)) == len(names) and max(map(len, names)) <= 255
    return kind == "actions" and is_small and all(_is_element(one) for one in elements)


def _is_element(one: dict[str, Any]) -> bool:
    if one["type"] == "button":
        return (
            0 < len(one["text"]["text"]) <= 75
            and len(one.get("value", "")) <= 2_000
            and (len(one.get("url", "")) <= 3_000)
        )
    return (
        one["type"] == "static_select"
        and len(one["placeholder"]["text"]) <= 150
        and 0 < len(one["options"]) <= 100
        and all(
            0 < len(option["text"]["text"]) <= 75 and 0 < len(option["value"]) <= 75
            for option in one["options"]
        )
    )


def _characters(value: Any) -> int:
    """Characters of all texts of a block."""
    if isinstance(value, dict):
        return sum(len(part) if key == "text" and isinstance(part, str) else _characters(part)
                   for key, part in value.items())  # fmt: skip
    return sum(map(_characters, value)) if isinstance(value, list) else 0
