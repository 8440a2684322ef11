"""``driftline explain-event``: how the bytes of a message are read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli import FINDINGS, FINE
from monitor.config import load
from monitor.options import json_option, print_json
from schemas.errors import UsageError

if TYPE_CHECKING:
    from monitor.decode.explained import Way
    from monitor.decode.message import Message
    from monitor.decode.reading import Kind

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


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
    from monitor.decode.explained import explained

    found = explained(messages, way)
    if as_json:
        print_json(found)
    else:
        _show(found)
    return FINDINGS if found["problems"] else FINE


def _way(format_: str, kind: Kind, config: str | None, topic: str | None) -> Way:
    from monitor.decode.explained import Way  # loads what reads messages
    from monitor.decode.reading import Reading

    if config is None:
        return Way(format_, kind, Reading())
    if topic is None:
        msg = "--config needs --topic"
        raise UsageError(msg)
    streams = {stream.topic: stream for stream in load(config).streams}
    if topic not in streams:
        msg = f"--topic: {topic!r} is no stream of {config} (use {', '.join(sorted(streams))})"
        raise UsageError(msg)
    return Way(streams[topic].format, streams[topic].kind, streams[topic].reading())


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
