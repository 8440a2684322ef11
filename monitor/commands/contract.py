"""``driftline contract``: what is agreed on the columns of a model, written for others, and compared."""

from __future__ import annotations

from dataclasses import replace

import click

from monitor.cli import FINDINGS, FINE
from monitor.options import configuration_option, json_option, print_json

MOST_REVISIONS = 1_000


@click.group("contract")
def command() -> None:
    """Write the contract of a model for other tools, and compare contracts."""


@command.command("export")
@configuration_option
@click.option("--model", required=True, help="Model of the configuration.")
@click.option("--format", "format_", default="odcs", show_default=True, help="How it is written.")
@click.option("--contract-version", metavar="VERSION", default="1.0.0", show_default=True,
              help="What this state of the contract is called.")  # fmt: skip
def export(config: str, model: str, format_: str, contract_version: str) -> None:
    """Write the contract of a model to standard output."""
    from monitor.config import load
    from monitor.contracts import catalog
    from monitor.contracts.configured import contract_in

    contract = replace(contract_in(load(config), config, model), version=contract_version)
    click.echo(catalog.export(contract, format_), nl=False)


@command.command("log")
@configuration_option
@click.argument("model")
@json_option
def log(config: str, model: str, as_json: bool) -> int:
    """List what windows of a model were judged by, the newest revision first.

    Exit codes: 0 fine, 2 no such model, 3 the database is away.
    """
    from monitor.config import load
    from monitor.contracts.revisions import revisions
    from monitor.store import engine as engines
    from monitor.store import schema
    from monitor.store.engine import reading
    from monitor.web.documents import instant

    engine = engines.create(load(config).database())
    try:
        schema.require(engine)
        with reading(engine) as connection:
            found = revisions(connection, model, None, MOST_REVISIONS)
    finally:
        engine.dispose()
    if as_json:
        print_json({"model": model, "revisions": [one.as_dict() for one in found]})
        return FINE
    for one in found:
        fits = "" if one.revision == 1 else "  compatible" if one.is_compatible else "  breaking"
        click.echo(f"revision {one.revision}  since {instant(one.since_ms)}  {one.fingerprint[:12]}{fits}")
        for change in one.changes:
            kind = "breaking" if change.breaking else "compatible"
            click.echo(f"  {kind}  {change.place}: {change.summary}")
    if not found:
        click.echo(f"no window of {model} was judged by a contract", err=True)
    return FINE


@command.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--model", help="Model of the configurations.  [default: the only one]")
@json_option
def diff(old: str, new: str, model: str | None, as_json: bool) -> int:
    """Compare two contracts, each a driftline.yaml or a contract of another tool.

    Breaking is what may make values violate the new contract that suited the old one. Exit codes: 0
    compatible, 1 breaking, 2 usage.
    """
    from monitor.contracts.configured import read_any
    from monitor.contracts.difference import changes, is_compatible

    before, after = read_any(old, model), read_any(new, model)
    found = changes(before, after)
    fits = is_compatible(found)
    if as_json:
        sides = {
            name: {"file": file, "version": one.version, "fingerprint": one.fingerprint, "notes": one.notes}
            for name, file, one in (("old", old, before), ("new", new, after))
        }
        print_json({"compatible": fits, "changes": [change.as_dict() for change in found], **sides})
        return FINE if fits else FINDINGS
    for file, one in ((old, before), (new, after)):
        for note in one.notes:
            click.echo(f"{file}: {note}", err=True)
    for change in found:
        click.echo(f"{'breaking' if change.breaking else 'compatible'}  {change.place}: {change.summary}")
    breaking = sum(change.breaking for change in found)
    click.echo(f"{breaking} breaking, {len(found) - breaking} compatible" if found else "no changes")
    return FINE if fits else FINDINGS
