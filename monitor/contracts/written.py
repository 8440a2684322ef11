"""A whole ``driftline.yaml`` with the contract of one model, and with comments for those who fill it in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from monitor.config.service import Kafka
from monitor.contracts.contract import CATEGORICAL, Contract, known_to_configuration
from monitor.contracts.inference import Inferred
from monitor.contracts.survey import Seen, widened
from monitor.contracts.yaml_text import block, flow, scalar
from monitor.frames.names import IDENTITY

_HEAD = """\
kafka:
  bootstrap_servers: {servers}    # brokers, host:port separated by commas
  group_id: {group}{options}
database_url: sqlite:///driftline.db    # or postgresql+psycopg://driftline@db/driftline
streams:
  - {{topic: {predictions}, kind: predictions, format: auto}}
  # - {{topic: {labels}, kind: labels, format: auto}}
models:
  {model}:"""
_NO_RECEIVERS = """\
# Alerts are shown at http://127.0.0.1:8420; to be told of them, say where:
# alerts:
#   routes:
#     - {match: {}, to: [oncall]}
# receivers:
#   oncall: {type: slack, channel: "#ml-oncall", token_env: SLACK_BOT_TOKEN}"""
_EXACT = "Ranges and values hold exactly as they were seen."
_OPEN = "Ranges and values are comments, as the next value may be new: take # away where they are rules."
_LINE = " " * 6
_LONGEST_COMMENT = 2_000


def of_contract(contract: Contract, source: str, model: str, kafka: Kafka, topic: str | None) -> str:
    """Write a configuration with a contract that somebody has made: it holds as it stands."""
    lines = [_intro(f"a contract in {source}", "Its rules hold as they stand.")]
    lines += [f"# {_comment(note)}" for note in contract.notes]
    parts = [name for name in contract.columns if name in IDENTITY]
    lines += [f"# left out: {_comment(name)}: a part of every event, not a feature" for name in parts]
    lines.append(_head(model, kafka, topic))
    said = contract.as_settings()
    columns = {name: options for name, options in said.pop("columns").items() if name not in parts}
    lines += [f"    {name}: {flow(value)}" for name, value in said.items()]
    lines.append("    columns:" if columns else "    columns: {}")
    for name, options in columns.items():
        known = {key: value for key, value in options.items() if known_to_configuration(key)}
        lines.append(f"{_LINE}{scalar(name)}: {flow(known)}")
    return "\n".join([*lines, _NO_RECEIVERS, ""])


def of_sample(
    found: Inferred, source: str, model: str, kafka: Kafka, topic: str | None, *, is_strict: bool
) -> str:
    """Write a configuration for a model of which a sample is known.

    Parameters
    ----------
    found : Inferred
    source : str
        What the sample was, for the first comment.
    model : str
    kafka : Kafka
        How to reach the brokers.
    topic : str or None
        Topic of the predictions; named after the model if None.
    is_strict : bool
        Put ranges and values in as rules, exactly as they were seen; else as comments, a little wider.
    """
    rule = _EXACT if is_strict else _OPEN
    lines = [_intro(f"{found.rows} rows of {source}", rule), _head(model, kafka, topic)]
    lines += _about(found)
    lines.append("    columns:" if found.features else "    columns: {}")
    for name, seen in found.features.items():
        lines += _column(name, seen, is_strict)
    return "\n".join([*lines, _NO_RECEIVERS, ""])


def _intro(source: str, rule: str) -> str:
    said = f"Written by `driftline init` of {_comment(source)}. {rule}"
    return f"# {said}\n# Check it: driftline check -c FILE. All options: docs/configuration.md."


def _head(model: str, kafka: Kafka, topic: str | None) -> str:
    safe = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "-" for sign in model)[
        :200
    ]
    return _HEAD.format(
        servers=scalar(kafka.bootstrap_servers),
        group=scalar(kafka.group_id),
        options="".join(f"\n{line}" for line in block({"options": kafka.options}, 2))
        if kafka.options
        else "",
        predictions=scalar(topic or f"{safe}.predictions"),
        labels=scalar(f"{safe}.labels"),
        model=scalar(model),
    )


def _about(found: Inferred) -> Iterable[str]:
    if found.task is not None:
        reason = found.label or found.prediction or ""
        yield f"    task: {found.task}  # as {_comment(reason)} has it"
    else:
        yield "    # task: binary_classification  # multiclass_classification or regression"
    if found.positive_label is not None:
        yield f"    positive_label: {flow(found.positive_label)}"
    if found.segments:
        yield f"    # segments: {flow(list(found.segments))}  # also watch these parts of the events"
    for name, usual in ((found.prediction, "prediction"), (found.score, "score"), (found.label, "label")):
        if name not in (None, usual):
            yield f"    # {_comment(str(name))} was taken for the {usual}; events call it {usual}"


def _column(name: str, seen: Seen, is_strict: bool) -> Iterable[str]:
    options = _strict(seen) if is_strict else _suggested(seen)
    kind = {"kind": seen.kind} if seen.kind is not None else {}
    what = f"  # {_comment(seen.what)}" if seen.what else ""
    if seen.kind == CATEGORICAL and not seen.has_few_values:
        what = "  # many values"
    if is_strict:
        yield f"{_LINE}{scalar(name)}: {flow(kind | options)}{what}"
        return
    if seen.kind is None:
        yield f"{_LINE}{scalar(name)}: {{}}{what}"
        return
    yield f"{_LINE}{scalar(name)}:{what}"
    yield f"{_LINE}  kind: {seen.kind}"
    for option, value in options.items():
        line = f"{option}: {flow(value)}"
        if len(line) <= _LONGEST_COMMENT:
            yield f"{_LINE}  # {line}"


def _strict(seen: Seen) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if seen.low is not None and seen.high is not None:
        options |= {"min": seen.low, "max": seen.high}
    if seen.kind == CATEGORICAL and seen.has_few_values:
        options["values"] = sorted(seen.values, key=str)
    if seen.missing == 0:
        options["nullable"] = False
    elif seen.kind is not None:
        options["max_missing"] = math.ceil(seen.missing_share * 1e4) / 1e4
    return {name: value for name, value in options.items() if known_to_configuration(name)}


def _suggested(seen: Seen) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if seen.low is not None and seen.high is not None:
        low, high = widened(seen.low, seen.high)
        options |= {"min": max(low, 0) if seen.low >= 0 else low, "max": high}
    if seen.kind == CATEGORICAL and seen.has_few_values:
        options["values"] = sorted(seen.values, key=str)
    options["max_missing"] = round(min(1.0, 2 * seen.missing_share + 0.01), 3)
    return options


def _comment(text: str) -> str:
    """Write a text so that it stays on the line of its comment."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
