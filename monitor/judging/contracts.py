"""Judging the hard rules of a contract: counts against limits, without statistics and without a budget."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerting.finding import Finding, Kind, Severity, WindowObservation, instant
from detectors.ruled import RuleCounts, Values
from monitor.judging.judgements import Due
from monitor.judging.ruled_segments import SegmentCount, segments_beyond, segments_named
from schemas.checks.catalog import checks
from schemas.column import ERROR, FAIRNESS_PREFIX, LABEL, MULTIVARIATE_PREFIX
from schemas.contract import DETECTOR_PREFIX, SCORE_SUMS, ColumnRules, Contract, Count, Rule, RuleKey
from schemas.examples import Example
from schemas.policy import percent
from schemas.verdict import Decision, Lane, Verdict

REQUIRED = "required"
_REQUIRED_FORMULA = "rows without the column, against all rows but one: some row of a window has to have it"
UNIQUE = "unique"
STANDARD_ERRORS = 4  # of the estimate of different values; see the statistics page
_UNIQUE_FORMULA = (
    "rows with a value less the number of different values, against the limit; where that number is an "
    f"estimate (HyperLogLog), against {STANDARD_ERRORS} standard errors of it besides"
)
# Columns that may be named and are not expected in events.
_NOT_EXPECTED = (MULTIVARIATE_PREFIX, FAIRNESS_PREFIX, "performance.", f"{LABEL}.")


def judge_contract(contract: Contract, counts: RuleCounts) -> list[Verdict]:
    """Hold what was counted in a window against the limits of a contract.

    Parameters
    ----------
    contract : Contract
        As it is now. Counts of rules with other terms, from before the contract changed, are left out.
    counts : RuleCounts
        Of all rows of the window.

    Returns
    -------
    list of Verdict
        One for each rule and column, in a fixed order; none for rules that no row was held against. The
        statistic is the number of rows that break the rule, `n` that of the rows that were held against it.
        Where all rows keep to a limit, there is one more for each segment whose own rows exceed it.
    """
    found = []
    for key, count in sorted(counts.violations.counts.items()):
        check = checks().get(key.check)
        rule = None if check is None else check.rule(key.column, contract)
        if rule is not None and rule.counted_as == key.terms:
            found += _of_rows(contract, counts, key, rule, count)
    return found + _presence(contract, counts) + _uniqueness(contract, counts)


def _of_rows(contract: Contract, counts: RuleCounts, key: RuleKey, rule: Rule, count: Count) -> list[Verdict]:
    """Verdict on a rule for all rows, and on segments where these keep to the limit."""
    verdict = replace(_verdict(key, rule, count), examples=_examples(contract, counts, key))
    if verdict.decision is Decision.DRIFT:
        named = segments_named(counts, key, contract, count)
        return [replace(verdict, explanation=verdict.explanation + _named(named))]
    beyond = segments_beyond(counts, key, contract, rule.policy.limit)
    return [verdict, *(_segment_verdict(key, rule, segment, count) for segment in beyond)]


def _examples(contract: Contract, counts: RuleCounts, key: RuleKey) -> tuple[Example, ...]:
    """Events that broke a rule, in order of time, with what may be shown of them now."""
    examples = counts.violations.examples.get(key)
    if examples is None:
        return ()
    shown = [example.without(contract.hidden) for example in examples.kept[: contract.examples]]
    return tuple(sorted(shown, key=lambda example: (example.event_ms, example.key)))


def formula(detector: str) -> str | None:
    """What a result of a rule compares; None if that is no rule."""
    name = detector.removeprefix(DETECTOR_PREFIX)
    if name == detector:
        return None
    if name == REQUIRED:
        return _REQUIRED_FORMULA
    if name == UNIQUE:
        return _UNIQUE_FORMULA
    check = checks().get(name)
    return None if check is None else check.formula


def observation_of(
    due: Due, verdicts: list[Verdict], contract: Contract, reference_hash: str
) -> WindowObservation:
    """Say to the incident on quality what is wrong with a window."""
    seen = WindowObservation.of(
        *due.key,
        due.start_ms,
        due.end_ms,
        verdicts,
        revision=due.revision + 1,
        reference_hash=reference_hash,
        kind=Kind.QUALITY,
    )
    return graded(seen, contract)


def graded(seen: WindowObservation, contract: Contract) -> WindowObservation:
    """Make broken rules as severe as their columns say."""
    return replace(seen, findings=tuple(_graded(finding, contract) for finding in seen.findings))


def _graded(finding: Finding, contract: Contract) -> Finding:
    name = finding.detector.removeprefix(DETECTOR_PREFIX)
    severity = None if name == finding.detector else _severity(name, finding.column, contract)
    return finding if severity is None else replace(finding, fixed_severity=Severity(severity))


def _severity(name: str, column: str, contract: Contract) -> str | None:
    check = checks().get(name)
    if check is not None:
        rule = check.rule(column, contract)
        return None if rule is None else rule.policy.severity
    rules = contract.of(column)
    return None if rules is None else rules.policy_of(name).severity


def _verdict(key: RuleKey, rule: Rule, count: Count) -> Verdict:
    limit = rule.policy.limit
    is_broken = limit.is_passed(count.broken, count.rows)
    return _of_rule(
        key.check,
        key.column,
        is_broken=is_broken,
        rows=count.rows,
        broken=count.broken,
        threshold=limit.most(count.rows),
        source=f"contract: at most {limit}",
        explanation=_explanation(key.column, rule, count) if is_broken else "",
    )


def _segment_verdict(key: RuleKey, rule: Rule, found: SegmentCount, every: Count) -> Verdict:
    """Say that a segment breaks a rule, though all rows together keep to its limit."""
    text = _explanation(f"{key.column} where {found.segment}", rule, found.counted)
    verdict = _of_rule(
        key.check,
        key.column,
        is_broken=True,
        rows=found.counted.rows,
        broken=found.counted.broken,
        threshold=found.threshold,
        source=f"contract: at most {rule.policy.limit} of the segment, and no more than chance explains",
        explanation=f"{text}; of all rows {percent(every.broken / every.rows)}",
    )
    return replace(verdict, segment=found.segment)


def _named(segments: list[SegmentCount]) -> str:
    """Say where a rule is broken most; nothing where it is broken everywhere alike."""
    if not segments:
        return ""
    shown = [f"{one.segment} ({one.counted.broken:,} of {one.counted.rows:,})" for one in segments]
    return f"; most where {', '.join(shown)}"


def _presence(contract: Contract, counts: RuleCounts) -> list[Verdict]:
    """Verdicts on columns that some row has to have."""
    if not counts.rows:
        return []
    names = sorted(rules.column for rules in contract.columns if rules.required)
    absent = {name: counts.missing(name) for name in names if _is_expected(name)}
    return [_presence_of(name, missing, counts.rows) for name, missing in absent.items()]


def _presence_of(column: str, missing: int, rows: int) -> Verdict:
    is_gone = missing == rows
    gone = f"{column}: none of {rows:,} rows has a value, at least one is required"
    return _of_rule(
        REQUIRED,
        column,
        is_broken=is_gone,
        rows=rows,
        broken=missing,
        threshold=float(rows - 1),
        source="contract: in at least one row",
        explanation=gone if is_gone else "",
    )


def _uniqueness(contract: Contract, counts: RuleCounts) -> list[Verdict]:
    """Verdicts on columns of which no value may come twice."""
    columns = sorted((rules for rules in contract.columns if rules.is_unique), key=lambda rules: rules.column)
    known = [(rules, counts.columns[rules.column]) for rules in columns if rules.column in counts.columns]
    # Of lists it is not known which are the same.
    return [_uniqueness_of(rules, values) for rules, values in known if not values.distinct.is_empty]


def _uniqueness_of(rules: ColumnRules, values: Values) -> Verdict:
    rows, sketch, limit = values.ok, values.distinct, rules.policy_of(UNIQUE).limit
    error = STANDARD_ERRORS * sketch.relative_error
    repeats = max(0, rows - round(sketch.estimate()))
    threshold = error * rows + limit.most(rows)
    is_broken = repeats > threshold
    within = "" if sketch.is_exact else f", within {percent(error)} of the estimate"
    return _of_rule(
        UNIQUE,
        rules.column,
        is_broken=is_broken,
        rows=rows,
        broken=repeats,
        threshold=threshold,
        source=f"contract: unique{within}, and at most {limit}",
        explanation=_repeats(rules, values, repeats, threshold) if is_broken else "",
    )


def _repeats(rules: ColumnRules, values: Values, repeats: int, threshold: float) -> str:
    """Say how many values were there before, and how well that is known."""
    rows, sketch, limit = values.ok, values.distinct, rules.policy_of(UNIQUE).limit
    if sketch.is_exact:
        return (
            f"{rules.column}: {repeats:,} of {rows:,} rows ({percent(repeats / rows)}) repeat a value, "
            f"at most {limit.allowed(rows):,} allowed"
        )
    error = percent(STANDARD_ERRORS * sketch.relative_error)
    return (
        f"{rules.column}: about {round(sketch.estimate()):,} different values in {rows:,} rows (± {error}): "
        f"about {percent(repeats / rows)} are repeats; fewer than {percent(threshold / rows)} cannot be seen"
    )


def _is_expected(column: str) -> bool:
    return column not in (ERROR, LABEL, SCORE_SUMS) and not column.startswith(_NOT_EXPECTED)


def _of_rule(
    check: str,
    column: str,
    *,
    is_broken: bool,
    rows: int,
    broken: int,
    threshold: float,
    source: str,
    explanation: str,
) -> Verdict:
    return Verdict(
        detector=f"{DETECTOR_PREFIX}{check}",
        column=column,
        segment="",
        lane=Lane.QUALITY,
        decision=Decision.DRIFT if is_broken else Decision.OK,
        n=rows,
        m=0,
        statistic=float(broken),
        threshold=threshold,
        threshold_source=source,
        explanation=explanation,
    )


def _explanation(column: str, rule: Rule, count: Count) -> str:
    return (
        f"{column}: {count.broken:,} of {count.rows:,} rows ({percent(count.broken / count.rows)}) "
        f"{rule.words}, at most {rule.policy.limit.allowed(count.rows):,} allowed; {_when(count)}"
    )


def _when(count: Count) -> str:
    first, last = instant(count.first_ms), instant(count.last_ms)
    if first.date() == last.date():
        return f"first {_clock(first)}, last {_clock(last)} UTC"
    return f"first {first:%Y-%m-%d} {_clock(first)}, last {last:%Y-%m-%d} {_clock(last)} UTC"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}"
