"""``driftline export``: what is stored, as a Parquet or CSV file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from sqlalchemy import Connection

from monitor.config import Configuration, load
from monitor.config.values import read_duration, read_instant
from monitor.options import configuration_option, json_option, print_json
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from monitor.store.queries.models import model_exists
from schemas.duration import format_duration
from schemas.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from monitor.export.wanted import Wanted
    from monitor.export.writing import Rows

Function = TypeVar("Function", bound=Callable[..., Any])
Portions = Callable[[Connection, "Wanted"], Iterable["Rows"]]


@click.group("export")
def command() -> None:
    """Write what is stored to a Parquet or CSV file, as the ending of its name says.

    Instants are UTC, ranges include --from and leave out --to.
    """


def export_options(function: Function) -> Function:
    """Add the options that all exports have."""
    for option in reversed(
        (
            configuration_option,
            click.option("--model", required=True, help="Model whose rows are written."),
            click.option("--version", help="Only this version."),
            click.option("--from", "from_", metavar="INSTANT", help="Start.  [default: the oldest]"),
            click.option("--to", "until", metavar="INSTANT", help="End.  [default: the newest]"),
            click.option(
                "-o", "--output", required=True, metavar="FILE", help="FILE.parquet or FILE.csv.",
                type=click.Path(dir_okay=False, path_type=Path),
            ),
            click.option("--force", is_flag=True, help="Overwrite FILE."),
            json_option,
        )
    ):  # fmt: skip
        function = option(function)
    return function


@command.command("results")
@export_options
def export_results(config: str, **options: Any) -> None:
    """Verdicts: a row for each window, column, segment and detector."""
    from monitor.export import results

    configuration = load(config)
    columns = configuration.for_model(options["model"]).columns
    hidden = frozenset(name for name, column in columns.items() if column.personal)
    _write(
        configuration,
        results.SCHEMA,
        lambda connection, wanted: results.portions(connection, wanted, hidden),
        options,
    )


@command.command("performance")
@export_options
def export_performance(config: str, **options: Any) -> None:
    """Measured and estimated performance: a row for each window, segment, kind and metric."""
    from monitor.export import performance

    _write(load(config), performance.SCHEMA, performance.portions, options)


@command.command("incidents")
@export_options
def export_incidents(config: str, **options: Any) -> None:
    """Incidents: a row for each that was opened in the range."""
    from monitor.export import incidents

    _write(load(config), incidents.SCHEMA, incidents.portions, options)


@command.command("profiles")
@export_options
@click.option("--every", metavar="DURATION", help="Length of a window.  [default: the model's first window]")
@click.option("--segments", is_flag=True, help="Rows for each segment too.")
def export_profiles(config: str, every: str | None, segments: bool, **options: Any) -> None:
    """What columns looked like: a row for each window and column, with statistics and bins."""
    from monitor.export import profiles

    configuration = load(config)
    every_ms = _every_ms(configuration, options["model"], every)
    _write(
        configuration,
        profiles.SCHEMA,
        lambda connection, wanted: profiles.portions(connection, wanted, every_ms, segments=segments),
        options,
    )


def _write(
    configuration: Configuration, schema_: pa.Schema, portions: Portions, options: dict[str, Any]
) -> None:
    from monitor.export.wanted import Wanted
    from monitor.export.writing import check_target, write

    from_ms, to_ms = _instant("--from", options["from_"]), _instant("--to", options["until"])
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        msg = f"--to {options['until']} is not after --from {options['from_']}"
        raise UsageError(msg)
    wanted = Wanted(options["model"], options["version"], from_ms, to_ms)
    target, overwrite = options["output"], options["force"]
    check_target(target, overwrite=overwrite)
    engine = engines.create(configuration.database())
    try:
        schema.require(engine)
        with reading(engine) as connection:
            if not model_exists(connection, wanted.model):
                msg = f"there is no model {wanted.model!r} (driftline status shows those that there are)"
                raise UsageError(msg)
            rows = write(target, schema_, portions(connection, wanted), overwrite=overwrite)
    finally:
        engine.dispose()
    if options["as_json"]:
        print_json({"file": str(target), "rows": rows})
    else:
        click.echo(f"{target}: {rows:,} rows" if rows else f"{target}: no rows, columns alone")


def _instant(option: str, given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return read_instant(int(given) if given.isdecimal() else given)
    except ValueError as error:
        msg = f"{option}: {error}"
        raise UsageError(msg) from None


def _every_ms(configuration: Configuration, model: str, given: str | None) -> int:
    settings = configuration.for_model(model)
    if given is None:
        return settings.windows[0].length_ms
    try:
        every_ms = read_duration(given)
    except ValueError as error:
        msg = f"--every: {error}"
        raise UsageError(msg) from None
    if every_ms % settings.slice_ms:
        slice_ = format_duration(settings.slice_ms)
        msg = f"--every: '{given}' is not made of whole slices of {slice_} (use {slice_} or a multiple of it)"
        raise UsageError(msg)
    return every_ms
