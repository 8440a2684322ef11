"""``driftline init``: a configuration from a sample, or from a contract of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from schemas.errors import UsageError

if TYPE_CHECKING:
    from monitor.config.service import Kafka

MOST_MESSAGES = 1_000
BROKERS = "127.0.0.1:9092"
_TABLES = (".csv", ".parquet", ".pq", ".gz", ".bz2", ".zst", ".tsv")
_CONTRACTS = (".json", ".yaml", ".yml")


@click.command("init")
@click.option(
    "--from", "source", metavar="FILE", help="CSV or Parquet table, one row an event, or a contract."
)
@click.option("--topic", metavar="TOPIC", help="Sample the predictions of this topic instead.")
@click.option("--bootstrap", metavar="HOST:PORT", help=f"Brokers.  [default: {BROKERS}]")
@click.option("-c", "--config", metavar="FILE", help="Reach the brokers as this configuration does.")
@click.option("--model", metavar="NAME", help="Name of the model.  [default: as the source has it]")
@click.option("--label", metavar="COLUMN", help="Column of the table with the label.")
@click.option("--most", type=click.IntRange(1, 1_000_000), default=MOST_MESSAGES, show_default=True,
              help="Messages of the topic to read.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Make rules of ranges and values that were seen, not comments.")
@click.option("-o", "--output", metavar="FILE", help="Write it there.  [default: standard output]")
@click.option("--force", is_flag=True, help="Replace the file if it is there already.")
def command(
    source: str | None,
    topic: str | None,
    bootstrap: str | None,
    config: str | None,
    model: str | None,
    label: str | None,
    most: int,
    strict: bool,
    output: str | None,
    force: bool,
) -> None:
    """Write a driftline.yaml for a model of which a sample or a contract is there.

    FILE is a table, or a contract: ODCS, JSON Schema, MLmodel, Frictionless, Great Expectations, Pandera.
    """
    if (source is None) == (topic is None):
        msg = "give either --from FILE or --topic TOPIC"
        raise UsageError(msg)
    if topic is not None and label is not None:
        msg = "--label is for tables (a topic of predictions has no labels)"
        raise UsageError(msg)
    if output is not None and Path(output).exists() and not force:
        msg = f"{output}: is there already (use --force to replace it, or another name)"
        raise UsageError(msg)
    kafka, where = _brokers(bootstrap, config)
    if topic is not None:
        text = _of_topic(kafka, where, topic, most, model, strict)
    elif _is_contract(str(source)):
        text = _of_contract(str(source), model, label, kafka, strict)
    else:
        text = _of_table(str(source), model, label, kafka, strict)
    _write(_checked(text), output)


def _brokers(bootstrap: str | None, config: str | None) -> tuple[Kafka, str]:
    """How to reach the brokers, and where that is said."""
    from monitor.config import load
    from monitor.config.service import Kafka

    if config is None:
        return Kafka(bootstrap_servers=bootstrap or BROKERS), "--bootstrap"
    if bootstrap is not None:
        msg = "--bootstrap and --config both name brokers (give one of them)"
        raise UsageError(msg)
    configuration = load(config)
    return configuration.kafka, configuration.where("kafka", "options")


def _of_topic(kafka: Kafka, where: str, topic: str, most: int, model: str | None, strict: bool) -> str:
    from monitor.contracts.inference import infer
    from monitor.contracts.sample import sample  # loads the Kafka client
    from monitor.contracts.written import of_sample

    name, table = sample(kafka, topic, most, model, where)
    return of_sample(infer(table), f"topic {topic}", name, kafka, topic, is_strict=strict)


def _of_table(source: str, model: str | None, label: str | None, kafka: Kafka, strict: bool) -> str:
    from monitor.config.settings import ModelSettings
    from monitor.contracts.inference import infer
    from monitor.contracts.written import of_sample
    from monitor.frames.names import KnownKinds
    from monitor.frames.table import open_table

    table = open_table(source, KnownKinds(ModelSettings(), {}))
    name = model or _stem(source)
    return of_sample(infer(table, label), Path(source).name, name, kafka, None, is_strict=strict)


def _of_contract(source: str, model: str | None, label: str | None, kafka: Kafka, strict: bool) -> str:
    from monitor.contracts.catalog import read_contract
    from monitor.contracts.written import of_contract

    if label is not None or strict:
        msg = f"{'--label' if label is not None else '--strict'} is for tables; {source} is a contract"
        raise UsageError(msg)
    contract = read_contract(source)
    for note in contract.notes:
        click.echo(f"{source}: {note}", err=True)
    name = model or contract.model or _stem(source)
    return of_contract(contract, Path(source).name, name, kafka, None)


def _is_contract(source: str) -> bool:
    """Whether a file is a contract: by its ending, else by how it begins."""
    path = Path(source)
    if path.suffix.lower() in _TABLES:
        return False
    if path.suffix.lower() in _CONTRACTS or path.name == "MLmodel":
        return True
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip()[:1] == b"{"
    except OSError as error:
        msg = f"{source}: cannot be read: {error.strerror or error}"
        raise UsageError(msg) from error


def _stem(source: str) -> str:
    return Path(source).name.partition(".")[0] or "model"


def _checked(text: str) -> str:
    """Return a configuration that is right.

    Raises
    ------
    UsageError
        If it is not: the source holds what no configuration can.
    """
    from monitor.config.loader import examine_text

    problems = examine_text(text, "the configuration made of it")[1]
    if problems:
        raise UsageError("\n".join(map(str, problems)))
    return text


def _write(text: str, output: str | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{output}: cannot be written: {error.strerror or error}"
        raise UsageError(msg) from error
    click.echo(f"{output}: written", err=True)
