"""Log lines of both formats carry fields, one record a line, and never credentials."""

import io
import json
import logging
import re

import pytest

from monitor import logs


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(log_format, level, emit):
    stream = io.StringIO()
    logs.set_up(log_format, level, stream)
    emit(logging.getLogger("monitor.ingest"))
    return stream.getvalue().splitlines()


def test_text():
    (line,) = lines(
        "text", "info", lambda log: log.info("committed %d", 3, extra={"topic": "p", "why": 'a "b"\nc'})
    )
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO monitor\.ingest committed 3 ", line)
    assert line.endswith(r'topic=p why="a \"b\"\nc"')


def test_json():
    (line,) = lines(
        "json", "info", lambda log: log.info("a\nb", extra={"topic": "p", "level_": 1, "at": object})
    )
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"], entry["topic"]) == (
        "info",
        "monitor.ingest",
        "a\nb",
        "p",
    )


def test_exceptions():
    def emit(log):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            log.exception("failed")

    (line,) = lines("json", "info", emit)
    assert "ZeroDivisionError" in json.loads(line)["exception"]
    assert lines("text", "info", emit)[-1] == "ZeroDivisionError: division by zero"


def test_levels():
    assert lines("text", "warning", lambda log: log.info("quiet")) == []


@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_credentials_are_masked(log_format):
    address = "postgresql://ann:hunter2@db/x"
    (line,) = lines(log_format, "info", lambda log: log.info("at %s", address, extra={"url": address}))
    assert "hunter2" not in line
    assert line.count("(hidden)@db/x") == 2
