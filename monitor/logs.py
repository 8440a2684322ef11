"""Log lines on standard error: ``key=value`` for people, JSON for collectors."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections import deque
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


def set_up(log_format: str = "text", level: str = "info", stream: TextIO | None = None) -> None:
    """Send all log records of the process to one stream, in one format.

    Parameters
    ----------
    log_format : str
        ``text``: ``2026-01-01T00:00:00.000Z INFO monitor.ingest committed topic=p events=1000``. ``json``:
        one object a line with `time`, `level`, `logger`, `message`, the fields given as ``extra=``, and
        `exception`.
    level : str
        Least level that is written: one of `LEVELS`.
    stream : file, optional
        Default: standard error.

    Notes
    -----
    Credentials in addresses (``scheme://user:password@host``) and what was given to `hide` are masked in
    every line, also in those of libraries.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)


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
