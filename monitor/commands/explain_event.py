"""``driftline explain-event``: how the bytes of a message are read."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli import FINDINGS, FINE
from monitor.config import load
from monitor.options import json_option, print_json
from schemas.errors import EventError, UsageError

if TYPE_CHECKING:
    from monitor.decode.halves import Half
    from monitor.decode.message import Message
    from monitor.decode.reading import Kind, Reading

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@dataclass(frozen=True)
class _Way:
    """How messages are read: format, kind, and what their stream says."""

    format: str
    kind: Kind
    reading: Reading


@click.command("explain-event")
@click.argument("file", type=_FILE)
@click.option("--header", "headers", multiple=True, metavar="K=V", help="A header of the message.")
@click.option("--format", "format_", default="auto", show_default=True, help="How it is written.")
@click.option(
    "--kind",
    type=click.Choice(["predictions", "labels"]),
    default="predictions",
    show_default=True,
    help="What it says.",
)
@click.option(
    "-c", "--config", type=click.Path(dir_okay=False), help="Read it as this configuration says, see --topic."
)
@click.option("--topic", help="Topic it came in; with -c, the format, kind and fields of that stream hold.")
@click.option("--key", help="Key of the message.")
@click.option("--other", type=_FILE, help="The other half, of a request or a response that came alone.")
@click.option("--other-header", "other_headers", multiple=True, metavar="K=V", help="A header of the other.")
@click.option("--other-topic", help="Topic that the other came in.")
@json_option
def command(
    file: Path,
    headers: tuple[str, ...],
    format_: str,
    kind: Kind,
    config: str | None,
    topic: str | None,
    key: str | None,
    other: Path | None,
    other_headers: tuple[str, ...],
    other_topic: str | None,
    as_json: bool,
) -> int:
    """Show how a message is read: its format, and the events in it in native form.

    FILE holds the value of one message; `-` is standard input. Of a request or a response alone, it is shown
    what pairs it with the other; with --other, what the two become. Exit codes: 0 it can be read, 1 it would
    become a dead letter, 2 usage or configuration.
    """
    way = _way(format_, kind, config, topic)
    messages = [_message(file, headers, topic, key)]
    if other is not None:
        messages.append(_message(other, other_headers, other_topic or "", None))
    elif other_headers or other_topic:
        msg = "--other-header and --other-topic belong to --other"
        raise UsageError(msg)
    found = _read(messages, way)
    if as_json:
        print_json(found)
    else:
        _show(found)
    return FINDINGS if found["problems"] else FINE


def _way(format_: str, kind: Kind, config: str | None, topic: str | None) -> _Way:
    from monitor.decode.reading import Reading  # loads what reads messages

    if config is None:
        return _Way(format_, kind, Reading())
    if topic is None:
        msg = "--config needs --topic"
        raise UsageError(msg)
    streams = {stream.topic: stream for stream in load(config).streams}
    if topic not in streams:
        msg = f"--topic: {topic!r} is no stream of {config} (use {', '.join(sorted(streams))})"
        raise UsageError(msg)
    return _Way(streams[topic].format, streams[topic].kind, streams[topic].reading())


def _message(file: Path, headers: tuple[str, ...], topic: str | None, key: str | None) -> Message:
    from monitor.decode.message import Message

    value = click.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
    pairs = tuple(_pair(header) for header in headers)
    return Message(
        value,
        pairs,
        time.time_ns() // 1_000_000,
        key=None if key is None else key.encode(),
        topic=topic or "",
    )


def _read(messages: list[Message], way: _Way) -> dict[str, Any]:
    """Say what becomes of a message, or of two halves."""
    from monitor.decode.catalog import build, translated
    from monitor.decode.halves import Half, Pair

    decoder = translated(way.format, way.reading)
    found: dict[str, Any] = {"format": way.format, "events": [], "problems": []}
    try:
        read = [decoder.read(message, way.kind) for message in messages]
        found["format"] = read[0][0]
        halves = [half for _, half in read if isinstance(half, Half)]
        if len(messages) == 2:
            pair = Pair(halves[0].format if halves else "", *_in_order(halves, messages))
            found["events"] = decoder.join(pair)
            problems = decoder.decode_pairs([pair]).problems
        elif halves:
            found["half"] = _about(halves[0])
            return found
        else:
            found["events"] = decoder.translate(messages[0], way.kind)[1]
            made = build(way.format, way.reading)
            decode = made.decode_labels if way.kind == "labels" else made.decode
            problems = decode([messages[0].value], lambda _: messages[0]).problems
        found["problems"] = [reason for _, reason in problems]
    except EventError as error:
        found["problems"] = [str(error)]
    return found


def _in_order(halves: list[Half], messages: list[Message]) -> list[Message]:
    """A request and its response, in this order.

    Raises
    ------
    EventError
        If they are no pair.
    """
    if len(halves) < len(messages):
        msg = "one of the two is no request or response alone"
        raise EventError(msg)
    if halves[0].side == halves[1].side or halves[0].key != halves[1].key:
        shown = " and ".join(f"the {half.side} {half.key}" for half in halves)
        msg = f"{shown} are no pair"
        raise EventError(msg)
    return messages if halves[0].side == "request" else messages[::-1]


def _about(half: Half) -> dict[str, str]:
    return {"side": half.side, "key": half.key, "waits_for": half.other}


def _pair(header: str) -> tuple[str, bytes]:
    name, separator, value = header.partition("=")
    if not separator or not name:
        msg = f"--header: {header!r} (K=V is allowed)"
        raise UsageError(msg)
    return name, value.encode()


def _show(found: dict[str, Any]) -> None:
    click.echo(f"format    {found['format']}")
    if "half" in found:
        half = found["half"]
        click.echo(f"half      {half['side']}")
        click.echo(f"key       {half['key']}")
        click.echo(f"waits for its {half['waits_for']}")
        return
    click.echo(f"events    {len(found['events'])}")
    for event in found["events"]:
        click.echo(json.dumps(event, ensure_ascii=False, default=str))
    for problem in found["problems"]:
        click.echo(f"problem   {problem}", err=True)
