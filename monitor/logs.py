"""Log lines on standard error: ``key=value`` for people, JSON for collectors."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

# Their progress is nobody's news, and httpx writes addresses that may hold a token.
_TALKATIVE = ("alembic", "httpx", "httpcore", "faust", "mode", "aiokafka", "asyncio", "uvicorn.access")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CREDENTIALS = re.compile(r"(?<=://)[^/\s\"']*@")
# Shorter ones are also parts of ordinary words.
_LEAST_SECRET = 8
_REMEMBERED_SECRETS = 256
_secrets: deque[str] = deque(maxlen=_REMEMBERED_SECRETS)

MOST_A_MINUTE = 60
"""Lines of one place in the code, and partition, in a minute; the others are counted and told of together."""
_MINUTE_S = 60.0
_MOST_PLACES = 1_000

Ids = Callable[[], "tuple[str, str] | None"]
_process: dict[str, Any] = {}
_ids: list[Ids] = []


_is_rehearsal: ContextVar[bool] = ContextVar("driftline_rehearsal", default=False)


@contextmanager
def rehearsal() -> Iterator[None]:
    """Keep quiet about what is only tried, as the incidents of a backtest; warnings are written."""
    token = _is_rehearsal.set(True)
    try:
        yield
    finally:
        _is_rehearsal.reset(token)


def _is_of_the_service(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or not _is_rehearsal.get()


def set_up(log_format: str = "text", level: str = "info", stream: TextIO | None = None) -> None:
    """Send all log records of the process to one stream, in one format.

    Parameters
    ----------
    log_format : str
        ``text``: ``2026-01-01T00:00:00.000Z INFO monitor.ingest committed topic=p events=1000``. ``json``:
        one object a line with `time`, `level`, `logger`, `message`, the fields given as ``extra=``, those of
        the process (see `identify`), `trace_id` and `span_id` inside a span, and `exception`.
    level : str
        Least level that is written: one of `LEVELS`.
    stream : file, optional
        Default: standard error.

    Notes
    -----
    Credentials in addresses (``scheme://user:password@host``) and what was given to `hide` are masked in
    every line, also in those of libraries. One place in the code writes 60 lines a minute at most; how many
    more there would have been is said once the minute is over.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    handler.addFilter(_is_of_the_service)
    handler.addFilter(_Limit(handler))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)


def identify(role: str, release: str) -> None:
    """Write with every line of JSON which process it is: `role`, `release`, `host` and `pid`.

    Parameters
    ----------
    role : str
        What the process does.
    release : str
        Version of its code.
    """
    _process.update(role=role, release=release, host=socket.gethostname(), pid=os.getpid())


def name_spans(ids: Ids | None) -> None:
    """Ask for the ids of the trace and the span that a line belongs to; None: there are no spans."""
    _ids[:] = [] if ids is None else [ids]


@dataclass
class _Minute:
    """Lines of one place since `began_s`; the last of those that were not written is kept."""

    began_s: float
    written: int = 0
    suppressed: int = 0
    last: logging.LogRecord | None = None


class _Limit(logging.Filter):
    """Lets a place in the code write so many lines a minute, by the time of the records themselves."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._lock = threading.Lock()
        self._minutes: dict[tuple[object, ...], _Minute] = {}
        self._over_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is to be written; writes what is to be told of earlier ones first."""
        with self._lock:
            over = self._ended(record.created) if record.created >= self._over_s else []
            passes = self._passes(record)
        for minute in over:
            if minute.last is not None:
                self._handler.handle(_summary(minute.last, minute.suppressed))
        return passes

    def _passes(self, record: logging.LogRecord) -> bool:
        if hasattr(record, "repeated"):
            return True
        place = (record.name, record.pathname, record.lineno, *_partition_of(record))
        if place not in self._minutes and len(self._minutes) >= _MOST_PLACES:
            place = (record.name, record.pathname, record.lineno)
        minute = self._minutes.get(place)
        if minute is None:
            minute = self._minutes[place] = _Minute(record.created)
            self._over_s = min(self._over_s or record.created + _MINUTE_S, record.created + _MINUTE_S)
        if minute.written < MOST_A_MINUTE:
            minute.written += 1
            return True
        minute.suppressed, minute.last = minute.suppressed + 1, record
        return False

    def _ended(self, now_s: float) -> list[_Minute]:
        """Forget the minutes that are over."""
        over = [place for place, minute in self._minutes.items() if now_s - minute.began_s >= _MINUTE_S]
        ended = [self._minutes.pop(place) for place in over]
        begun = [minute.began_s for minute in self._minutes.values()]
        self._over_s = min(begun) + _MINUTE_S if begun else 0.0
        return [minute for minute in ended if minute.suppressed]


def _partition_of(record: logging.LogRecord) -> tuple[object, ...]:
    """Each partition has lines of its own."""
    return getattr(record, "topic", None), getattr(record, "partition", None)


def _summary(last: logging.LogRecord, times: int) -> logging.LogRecord:
    """Say of how many lines like the last one nothing was written."""
    made = logging.makeLogRecord({**vars(last), "exc_info": None, "exc_text": None})
    made.msg, made.args = f"{last.getMessage()} (repeated {times:,} times)", ()
    made.repeated = times
    return made


class _Lines(logging.Formatter):
    """Collects what both formats write."""

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Fields given by the caller as ``extra=``."""
        return {name: value for name, value in vars(record).items() if name not in _STANDARD}

    def time(self, record: logging.LogRecord) -> str:
        """Instant of the record, RFC 3339, UTC."""
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def exception(self, record: logging.LogRecord) -> str:
        """Traceback, if there is one."""
        return self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


class TextLines(_Lines):
    """``time LEVEL logger message key=value …``; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        fields = [f"{name}={_quoted(value)}" for name, value in self.fields(record).items()]
        message = record.getMessage().replace("\n", "\\n")
        line = " ".join([self.time(record), record.levelname, record.name, message, *fields])
        exception = self.exception(record)
        return mask(f"{line}\n{exception}" if exception else line)


class JsonLines(_Lines):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record; values that JSON does not know are written as text."""
        entry: dict[str, Any] = {
            "time": self.time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in self.fields(record).items():
            entry.setdefault(name, value)
        entry |= {name: value for name, value in _process.items() if name not in entry}
        for ids in _ids:
            named = ids()
            if named is not None:
                entry["trace_id"], entry["span_id"] = named
        exception = self.exception(record)
        if exception:
            entry["exception"] = exception
        return mask(json.dumps(entry, default=str, ensure_ascii=False))


def hide(secret: str) -> None:
    """Never show a text again, as it is or escaped: servers repeat secrets in what they answer.

    Parameters
    ----------
    secret : str
        Fewer than 8 characters are not hidden: they would take ordinary words along.
    """
    if len(secret) >= _LEAST_SECRET:
        in_json = (json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False))
        forms = dict.fromkeys((secret, quote(secret, safe=""), *in_json))
        _secrets.extend(form for form in forms if form not in _secrets)


def mask(text: str) -> str:
    """Mask credentials in addresses, and what was given to `hide`.

    Examples
    --------
    >>> mask("cannot reach postgresql://ann:hunter2@db/x")
    'cannot reach postgresql://(hidden)@db/x'
    """
    masked = _CREDENTIALS.sub("(hidden)@", text)
    for secret in sorted(_secrets, key=len, reverse=True):
        masked = masked.replace(secret, "(hidden)")
    return masked


def _quoted(value: object) -> str:
    """Write a value for ``key=value``: quoted if it has spaces, quotes or control characters."""
    text = str(value)
    return (
        text if text and re.fullmatch(r"[^\s\"=\x00-\x1f]+", text) else json.dumps(text, ensure_ascii=False)
    )
