"""``driftline explain-event``: how the bytes of a message are read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from monitor.cli import FINDINGS, FINE
from monitor.config import load
from monitor.options import json_option, print_json
from schemas.errors import EventError, UsageError


@click.command("explain-event")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
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
@click.option("--topic", help="Stream of the configuration; its format, kind and fields hold.")
@json_option
def command(
    file: Path,
    headers: tuple[str, ...],
    format_: str,
    kind: str,
    config: str | None,
    topic: str | None,
    as_json: bool,
) -> int:
    """Show how a message is read: its format, and the events in it in native form.

    FILE holds the value of one message; `-` is standard input. Exit codes: 0 it can be read, 1 it would
    become a dead letter, 2 usage or configuration.
    """
    from monitor.decode.catalog import build, translated  # loads what reads messages
    from monitor.decode.message import Message
    from monitor.decode.reading import Reading

    reading = Reading()
    if (config is None) != (topic is None):
        msg = "--config and --topic belong together"
        raise UsageError(msg)
    if config is not None and topic is not None:
        streams = {stream.topic: stream for stream in load(config).streams}
        if topic not in streams:
            msg = f"--topic: {topic!r} is no stream of {config} (use {', '.join(sorted(streams))})"
            raise UsageError(msg)
        format_, kind, reading = streams[topic].format, streams[topic].kind, streams[topic].reading()
    value = click.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
    pairs = tuple(_pair(header) for header in headers)
    message = Message(value, pairs, time.time_ns() // 1_000_000)
    decoder = translated(format_, reading)
    path = format_
    events: list[dict[str, Any]] = []
    problems: list[str] = []
    try:
        path, events = decoder.translate(message, "labels" if kind == "labels" else "predictions")
    except EventError as error:
        problems = [str(error)]
    if not problems:
        made = build(format_, reading)
        read = made.decode_labels if kind == "labels" else made.decode
        problems = [reason for _, reason in read([value], lambda _: message).problems]
    found: dict[str, Any] = {"format": path, "events": events, "problems": problems}
    if as_json:
        print_json(found)
    else:
        _show(found)
    return FINDINGS if problems else FINE


def _pair(header: str) -> tuple[str, bytes]:
    name, separator, value = header.partition("=")
    if not separator or not name:
        msg = f"--header: {header!r} (K=V is allowed)"
        raise UsageError(msg)
    return name, value.encode()


def _show(found: dict[str, Any]) -> None:
    click.echo(f"format    {found['format']}")
    click.echo(f"events    {len(found['events'])}")
    for event in found["events"]:
        click.echo(json.dumps(event, ensure_ascii=False, default=str))
    for problem in found["problems"]:
        click.echo(f"problem   {problem}", err=True)
