"""Judging the hard rules of a contract: counts against limits, without statistics and without a budget."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerting.finding import Finding, Kind, Severity, WindowObservation, instant
from detectors.profile import Profile
from monitor.judging.judgements import Due
from schemas.checks.catalog import checks
from schemas.column import ERROR, FAIRNESS_PREFIX, LABEL, MULTIVARIATE_PREFIX
from schemas.contract import DETECTOR_PREFIX, SCORE_SUMS, Contract, Count, Rule
from schemas.verdict import Decision, Lane, Verdict

REQUIRED = "required"
_REQUIRED_FORMULA = "rows without the column, against all rows but one: some row of a window has to have it"
# Columns that may be named and are not expected in events.
_NOT_EXPECTED = (MULTIVARIATE_PREFIX, FAIRNESS_PREFIX, "performance.", f"{LABEL}.")


def judge_contract(contract: Contract, profile: Profile) -> list[Verdict]:
    """Hold what was counted in a window against the limits of a contract.

    Parameters
    ----------
    contract : Contract
        As it is now. Counts of rules with other terms, from before the contract changed, are left out.
    profile : Profile
        Of all rows of the window.

    Returns
    -------
    list of Verdict
        One for each rule and column, in a fixed order; none for rules that no row was held against. The
        statistic is the number of rows that break the rule, `n` that of the rows that were held against it.
    """
    found = []
    for key, count in sorted(profile.violations.counts.items()):
        check = checks().get(key.check)
        rule = None if check is None else check.rule(key.column, contract)
        if rule is not None and rule.terms == key.terms:
            found.append(_verdict(key.check, key.column, rule, count))
    return found + _presence(contract, profile)


def formula(detector: str) -> str | None:
    """What a result of a rule compares; None if that is no rule."""
    name = detector.removeprefix(DETECTOR_PREFIX)
    if name == detector:
        return None
    if name == REQUIRED:
        return _REQUIRED_FORMULA
    check = checks().get(name)
    return None if check is None else check.formula


def observation_of(
    due: Due, verdicts: list[Verdict], contract: Contract, reference_hash: str
) -> WindowObservation:
    """Say to the incident on quality which rules a window breaks, each as severe as its column says."""
    seen = WindowObservation.of(
        *due.key,
        due.start_ms,
        due.end_ms,
        verdicts,
        revision=due.revision + 1,
        reference_hash=reference_hash,
        kind=Kind.QUALITY,
    )
    return replace(seen, findings=tuple(_graded(finding, contract) for finding in seen.findings))


def _graded(finding: Finding, contract: Contract) -> Finding:
    rules = contract.of(finding.column) if finding.detector.startswith(DETECTOR_PREFIX) else None
    return finding if rules is None else replace(finding, fixed_severity=Severity(rules.severity))


def _verdict(check: str, column: str, rule: Rule, count: Count) -> Verdict:
    is_broken = count.rows > 0 and count.broken / count.rows > rule.limit
    return _of_rule(
        check,
        column,
        is_broken=is_broken,
        rows=count.rows,
        broken=count.broken,
        threshold=rule.limit * count.rows,
        source=f"contract: at most {percent(rule.limit)} of rows",
        explanation=_explanation(column, rule, count) if is_broken else "",
    )


def _presence(contract: Contract, profile: Profile) -> list[Verdict]:
    """Verdicts on columns that some row has to have."""
    if not profile.rows:
        return []
    names = sorted(rules.column for rules in contract.columns if rules.required)
    absent = {name: profile.missing(name) for name in names if _is_expected(name)}
    return [_presence_of(name, missing, profile.rows) for name, missing in absent.items()]


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
        f"{rule.words}, at most {allowed(rule.limit, count.rows):,} allowed; {_when(count)}"
    )


def allowed(limit: float, rows: int) -> int:
    """Largest number of rows whose share is not above a limit.

    Examples
    --------
    >>> allowed(0.0, 2_000), allowed(0.29, 100), allowed(0.001, 10)
    (0, 29, 0)
    """
    most = int(limit * rows)
    return most + 1 if (most + 1) / rows <= limit else most


def percent(share: float) -> str:
    """Write a share of rows with two digits at least.

    Examples
    --------
    >>> percent(0.0155), percent(0.02), percent(0.5), percent(0.0004), percent(0), percent(1)
    ('1.6 %', '2 %', '50 %', '0.04 %', '0 %', '100 %')
    """
    value = 100 * share
    digits = f"{value:.1f}" if value >= 1 else f"{value:.2g}"
    return f"{digits.removesuffix('.0')} %"


def _when(count: Count) -> str:
    first, last = instant(count.first_ms), instant(count.last_ms)
    if first.date() == last.date():
        return f"first {_clock(first)}, last {_clock(last)} UTC"
    return f"first {first:%Y-%m-%d} {_clock(first)}, last {last:%Y-%m-%d} {_clock(last)} UTC"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}"
