"""``driftline explain``: why a result or an alert says what it says."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli import FINDINGS, FINE
from monitor.clock import SystemClock
from monitor.config import load
from monitor.options import configuration_option, json_option, print_json
from monitor.store import engine as engines
from monitor.store import schema


@click.command("explain")
@configuration_option
@click.argument("id_", metavar="RESULT_OR_ALERT_ID")
@json_option
def command(config: str, id_: str, as_json: bool) -> int:
    """Show evidence, formula, inputs and provenance, and compute it all once more.

    RESULT_OR_ALERT_ID is the number of a result or the id of an alert. Exit codes: 0 identical, bit for bit;
    1 something came out otherwise; 2 there is no such id; 3 the database is unavailable.
    """
    from monitor.explain import Explainer  # loads the mathematics

    configuration = load(config)
    database = engines.create(configuration.database())
    try:
        schema.require(database)
        alert, explained = Explainer(configuration, database, SystemClock()).explain(id_)
    finally:
        database.dispose()
    if as_json:
        about = (
            None if alert is None else {"id": alert.id, "state": str(alert.state), "summary": alert.summary}
        )
        print_json({"alert": about, "results": [one.as_dict() for one in explained]})
    else:
        if alert is not None:
            click.echo(f"alert {alert.id} ({alert.state}, {alert.severity}): {alert.summary}")
        for one in explained:
            _show(one.as_dict())
    return FINE if all(one.is_identical for one in explained) else FINDINGS


def _show(one: dict[str, Any]) -> None:
    where = f" where {one['segment']}" if one["segment"] else ""
    lines = [
        "",
        f"result {one['id']}: {one['decision']} · {one['model']} v{one['version']} · {one['column']}{where}",
        f"  window      {one['window_start']}, {one['window']}, revision {one['revision']}",
        f"  what        {one['explanation'] or 'nothing out of the ordinary'}",
        f"  rows        {one['n']:,} of the window against {one['m']:,} of the reference",
        f"  effect      {_effect(one['effect'])}",
        f"  evidence    {_evidence(one)}",
        f"  threshold   {one['threshold_source']}",
        f"  formula     {one['formula']}",
        f"  reference   {one['reference_hash']}",
        f"  made by     code {one['code_version']}, configuration {one['configuration_hash'][:12]}",
        f"  read from   {_sources(one['sources'])}",
    ]
    if one["attribution"]:
        lines[-1:-1] = _reasons(one["attribution"])
    if one["examples"]:
        lines[-1:-1] = _examples(one["examples"])
    if one["onset_at"]:
        lines.insert(4, f"  since       {one['onset_at']}")
    if one["identical"]:
        lines.append("  once more   identical, bit for bit")
    else:
        lines.append("  once more   DIFFERENT")
        lines += [
            f"    {name}: {pair['stored']!r} is stored, {pair['recomputed']!r} came out"
            for name, pair in one["differences"].items()
        ]
        lines += [f"    {reason}" for reason in one["why_different"]]
    click.echo("\n".join(lines))


def _reasons(found: dict[str, Any]) -> list[str]:
    """Where a change of the predictions comes from."""
    lines = [f"  why         {found['summary']}"]
    for part in found["parts"]:
        what = f"{part['part']:+.3g} ({part['low']:+.3g} to {part['high']:+.3g})"
        lines.append(f"    {part['kind']:<9} {part['name']}: {what}, {part['words']}")
    return lines


def _examples(examples: list[dict[str, Any]]) -> list[str]:
    """Write events that broke a rule, one a line."""
    lines = []
    for one in examples:
        values = ", ".join(f"{name} {text or '(hidden)'}" for name, text in one["values"].items())
        where = f"{one['topic']}/{one['partition']} at offset {one['offset']}"
        lines.append(f"  example     {one['event_time']}  {one['event_id']}  {where}  {values}".rstrip())
    return lines


def _effect(effect: dict[str, float | None]) -> str:
    psi, low, high, js = (effect[name] for name in ("psi", "psi_low", "psi_high", "js"))
    if psi is None or low is None or high is None or js is None:
        return "none: no rows"
    parts = [f"PSI {psi:.4g} (90 %: {low:.4g} to {high:.4g})", f"JS distance {js:.4g}"]
    parts += [
        f"{name} {effect[key]:.4g}"
        for key, name in (("ks", "KS"), ("wasserstein", "Wasserstein"))
        if effect[key] is not None
    ]
    return ", ".join(parts)


def _evidence(one: dict[str, Any]) -> str:
    if one["evidence_log"] is None:
        return f"statistic {one['statistic']:.4g}, threshold {one['threshold']:.4g}"
    budget = f", which could cost {one['budget']:.2g} false alarms here" if one["budget"] is not None else ""
    return f"ln {one['evidence_log']:.4g} against {one['threshold']:.4g}{budget}"


def _sources(sources: dict[str, dict[str, list[list[int]]]]) -> str:
    parts = [
        f"{topic}/{partition} {first}–{last - 1}"
        for topic, partitions in sources.items()
        for partition, ranges in partitions.items()
        for first, last in ranges
    ]
    return ", ".join(parts) or "no stored offsets"
