"""``driftline reference``: what model versions are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from sqlalchemy import Connection, Engine

from detectors.reference import Reference
from monitor.by_hand import who, write_down
from monitor.clock import SystemClock
from monitor.config import Configuration, load
from monitor.config.settings import ModelSettings
from monitor.config.values import read_instant, write_instant
from monitor.options import configuration_option, json_option, print_json
from monitor.profiling import Key
from monitor.references.lifecycle import Span, find, next_boundary, next_slice, promote
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate, reading
from schemas.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])
SHORT = 12


@click.group("reference")
def command() -> None:
    """Build, look at and promote references: what windows are compared with."""


def effective_option(function: Function) -> Function:
    """Add ``--effective``; the command receives None, ``now`` or an instant in epoch milliseconds."""
    return click.option(
        "--effective",
        metavar="now|INSTANT",
        callback=lambda _context, _option, value: _effective(value),
        help="First slice that is judged against it: `now` is the next one, without waiting for a window to "
        "begin.  [default: the first window after all that was delivered]",
    )(function)


@command.command("build")
@configuration_option
@click.option(
    "--model", required=True, help="Model that it is for; its settings decide windows, kinds and segments."
)
@click.option("--version", help="Version of the model.")
@click.option(
    "--from", "source", required=True, metavar="TABLE|INSTANT", help="CSV or Parquet file, one row an event."
)
@click.option("--from-stream", is_flag=True, help="From the stream: --from and --to are instants.")
@click.option("--to", "until", metavar="INSTANT", help="First instant after the stretch of the stream.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Free note; may be given often.")
@click.option("--commit", metavar="SHA", help="Commit of the code that trained the model.")
@click.option("--mlflow-run", metavar="ID", help="MLflow run that trained the model.")
@click.option("--promote", "promoted", is_flag=True, help="Judge the version against it; needs --version.")
@effective_option
@json_option
def build(config: str, model: str, version: str | None, source: str, promoted: bool, **options: Any) -> None:
    """Make a reference of a table or of a stretch of the stream, and store it.

    In a table with columns `model` or `version` only the rows of the given ones are used.
    """
    from monitor.references import sources  # loads what reads tables

    notes = _notes(options["labels"], options["commit"], options["mlflow_run"])
    if (promoted or options["from_stream"]) and version is None:
        option = "--promote" if promoted else "--from-stream"
        msg = f"{option} needs --version (that of events without one is: unversioned)"
        raise UsageError(msg)
    if options["effective"] is not None and not promoted:
        msg = "--effective says when a reference is promoted: it needs --promote"
        raise UsageError(msg)
    configuration = load(config)
    settings = configuration.for_model(model)
    with _database(configuration) as database:
        if options["from_stream"]:
            made, metadata = sources.of_stream(
                database, (model, version or ""), settings, _stretch(source, options["until"], settings)
            )
        else:
            made, metadata = sources.of_table(database, model, version, settings, source)
        with immediate(database) as connection:
            known = sources.keep_new(connection, made, metadata | notes, SystemClock().now_ms())
            since = None
            if promoted and version is not None:
                since = _promote(connection, (model, version), made.hash, settings, options["effective"])
    _tell_built(made, source, known, since, options["as_json"])


@command.command("list")
@configuration_option
@click.option("--model", help="Only references of this model.")
@json_option
def list_references(config: str, model: str | None, as_json: bool) -> None:
    """List references, newest first."""
    from monitor.references import stored

    with _database(load(config)) as database, reading(database) as connection:
        found = stored.listed(connection, model)
    if as_json:
        print_json({"items": found})
        return
    for item in found:
        span = f"{item['from']} to {item['to']}" if item["to"] else "no timestamps"
        uses = ", ".join(f"{use['model']}/{use['version']}" for use in item["used_by"]) or "not promoted"
        made_of = item["metadata"].get("file") or item["metadata"].get("source", "")
        click.echo(f"{item['hash'][:SHORT]}  {item['rows']} rows  {span}  {made_of}  {uses}")
    if not found:
        click.echo("no references yet")


@command.command("show")
@configuration_option
@click.argument("hash_or_prefix")
@json_option
def show(config: str, hash_or_prefix: str, as_json: bool) -> None:
    """Show a reference: where it comes from, who uses it, its columns with bins and shares."""
    from monitor.references import stored

    with _database(load(config)) as database, reading(database) as connection:
        found = stored.detailed(connection, find(connection, hash_or_prefix))
    if as_json:
        print_json(found)
        return
    for name in ("hash", "rows", "from", "to", "created_at", "windows"):
        click.echo(f"{name}: {'-' if found[name] is None else found[name]}")
    for name, value in found["metadata"].items():
        if not name.endswith("_ms"):
            click.echo(f"{name}: {value}")
    for use in found["used_by"]:
        click.echo(
            f"promoted: {use['model']}/{use['version']} from {use['since']} on, by {use['promoted_by']}"
        )
    for column in found["columns"]:
        click.echo(f"\n{column['name']} ({column['kind']} {column['source']})")
        for item in column["bins"]:
            click.echo(f"  {item['share']:7.2%}  {item['label']}")


@command.command("promote")
@configuration_option
@click.argument("hash_or_prefix")
@click.option("--model", required=True)
@click.option("--version", required=True)
@effective_option
@json_option
def promote_reference(
    config: str, hash_or_prefix: str, model: str, version: str, effective: str | int | None, as_json: bool
) -> None:
    """Judge a model version against a reference from now on."""
    configuration = load(config)
    settings = configuration.for_model(model)
    with _database(configuration) as database, immediate(database) as connection:
        hash_ = find(connection, hash_or_prefix)
        since = _promote(connection, (model, version), hash_, settings, effective)
    if as_json:
        print_json({"hash": hash_, "model": model, "version": version, "since": write_instant(since)})
    else:
        click.echo(f"{model}/{version} is judged against {hash_[:SHORT]} {_since(since)}")


# --- steps ------------------------------------------------------------------------------------------------


@contextmanager
def _database(configuration: Configuration) -> Iterator[Engine]:
    """Open the database, which must be up to date."""
    database = engines.create(configuration.database())
    try:
        schema.require(database)
        yield database
    finally:
        database.dispose()


def _stretch(source: str, until: str | None, settings: ModelSettings) -> Span:
    """Read a stretch of event time; it is widened to whole slices."""
    if until is None:
        msg = "--from-stream needs --to (the first instant after the stretch)"
        raise UsageError(msg)
    every, start, end = settings.slice_ms, _instant("--from", source), _instant("--to", until)
    if end <= start:
        msg = f"--to {until} is not after --from {source}"
        raise UsageError(msg)
    return Span(start // every * every, -(-end // every) * every)


def _promote(
    connection: Connection, key: Key, hash_: str, settings: ModelSettings, effective: str | int | None
) -> int:
    """Promote a reference; returns from when on."""
    if effective is None:
        from_ms = next_boundary(connection, key, settings)
    elif isinstance(effective, int):
        from_ms = effective // settings.slice_ms * settings.slice_ms
    else:
        from_ms = next_slice(connection, key, settings)
    now_ms = SystemClock().now_ms()
    if promote(connection, key, hash_, from_ms=from_ms, by=who(), now_ms=now_ms):
        model, version = key
        words = f"reference promote {hash_[:SHORT]} --model {model} --version {version}"
        write_down(connection, words, now_ms, _since(from_ms))
    return from_ms


def _tell_built(made: Reference, source: str, known: bool, since: int | None, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "hash": made.hash,
                "rows": made.rows,
                "from": write_instant(made.from_ms) if made.to_ms else None,
                "to": write_instant(made.to_ms) if made.to_ms else None,
                "columns": [spec.name for spec in made.binning.columns],
                "windows": len(made.window_starts),
                "new": not known,
                "since": write_instant(since),
            }
        )
        return
    click.echo(f"{made.hash}: {made.rows} rows, {len(made.binning.columns)} columns")
    if known:
        click.echo("it is stored already, with the notes that it first came with")
    if not made.to_ms:
        click.echo(
            f"{source} has no column timestamp: how much windows differ without drift is not known", err=True
        )
    if since is not None:
        click.echo(f"promoted {_since(since)}")


def _since(since_ms: int) -> str:
    return f"from {write_instant(since_ms)} on" if since_ms else "from the first event on"


def _notes(labels: tuple[str, ...], commit: str | None, mlflow_run: str | None) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    for label in labels:
        key, separator, value = label.partition("=")
        if not (key and separator):
            msg = f"--label {label!r} is not KEY=VALUE"
            raise UsageError(msg)
        notes.setdefault("labels", {})[key] = value
    given = {"commit": commit, "mlflow_run": mlflow_run}
    return notes | {name: value for name, value in given.items() if value is not None}


def _effective(value: str | None) -> str | int | None:
    return value if value in (None, "now") else _instant("--effective", str(value))


def _instant(option: str, text: str) -> int:
    try:
        return read_instant(int(text) if text.isdigit() else text)
    except ValueError as error:
        msg = f"{option}: {error}"
        raise UsageError(msg) from None
