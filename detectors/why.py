"""Why the predictions changed: the parts of `detectors.attribution`, ranked, with words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from detectors.attribution import (
    Contribution,
    Decomposition,
    Slice,
    explain,
    find_slices,
    kitagawa,
    kitagawa_segments,
    moves,
    regress,
    where,
)
from detectors.cross_counts import Outcome
from detectors.relations import Relations, Together
from schemas.attribution import Attribution, Part, PartKind
from schemas.verdict import Verdict

MOST_FEATURES, MOST_SEGMENTS, MOST_ROWS = 5, 3, 3
FEWEST_ROWS = 30
_ABOUT = 0.8


def attribute(relations: Relations, together: Together) -> Attribution | None:
    """Split the change of the mean prediction over features and segments.

    Parameters
    ----------
    relations : Relations
        Of the reference.
    together : Together
        Of a window's rows, by the same reference.

    Returns
    -------
    Attribution or None
        None where nothing stands for the prediction, or either side has fewer than 30 sampled rows with one.
    """
    before, after, outcome = relations.cross, together.cross, relations.outcome
    if outcome is None or min(before.rows, after.rows) < FEWEST_ROWS:
        return None
    name = outcome_name(outcome)
    features, segments = kitagawa(before, after), kitagawa_segments(before, after)
    beside = regress(before, after, relations.gram)
    effects = {one.column: one.contribution for one in beside.effects}
    sign = 1 if features.change.value > 0 else -1
    features = replace(features, contributions=_by_weight(features.contributions, effects, sign))
    parts = [
        _part(PartKind.FEATURE, one, sign, effects.get(one.column))
        for one in _ranked(features, MOST_FEATURES)
    ]
    parts += [_part(PartKind.SEGMENT, one, sign, None) for one in _ranked(segments, MOST_SEGMENTS)]
    parts += [_rows(one) for one in find_slices(before, after, most=MOST_ROWS)]
    return Attribution(
        outcome=name,
        rows=after.rows,
        reference_rows=before.rows,
        reference_mean=features.reference_mean,
        mean=features.mean,
        change=features.change.value,
        low=features.change.low,
        high=features.change.high,
        parts=tuple(parts),
        remainder=beside.remainder if effects else None,
        summary=explain(segments if _only_segments(features, segments, sign) else features, name),
    )


def _only_segments(features: Decomposition, segments: Decomposition, sign: int) -> bool:
    """Whether a segment column accounts for a change that no feature does."""
    carried = [
        any(sign * one.mix.value > 0 and one.mix.is_beyond_chance for one in found.contributions)
        for found in (features, segments)
    ]
    return carried == [False, True]


def with_reasons(
    relations: Relations | None, together: Together | None, verdicts: list[Verdict]
) -> list[Verdict]:
    """Attach where its change comes from to the verdict on the prediction of all rows."""
    if relations is None or together is None or relations.outcome is None:
        return verdicts
    found = attribute(relations, together)
    column = relations.outcome.column
    return [
        replace(verdict, attribution=found) if (verdict.column, verdict.segment) == (column, "") else verdict
        for verdict in verdicts
    ]


def outcome_name(outcome: Outcome) -> str:
    """Say what stands for the prediction.

    Examples
    --------
    >>> outcome_name(Outcome("score")), outcome_name(Outcome("prediction", "1"))
    ('mean score', 'share of prediction 1')
    """
    return f"mean {outcome.column}" if outcome.category is None else f"share of prediction {outcome.category}"


def _by_weight(
    found: Sequence[Contribution], effects: Mapping[str, float], sign: int
) -> tuple[Contribution, ...]:
    """Of columns that carry about the same, name first the one that counts most beside the others."""
    largest = max((sign * one.mix.value for one in found), default=0.0)
    about = [one for one in found if sign * one.mix.value >= _ABOUT * largest > 0]
    about.sort(key=lambda one: -sign * effects.get(one.column, 0.0))
    return (*about, *(one for one in found if one not in about))


def _ranked(found: Decomposition, most: int) -> list[Contribution]:
    """Those beyond chance, by the limit of their interval that is nearer to 0; the first stays the first."""
    certain = [one for one in found.contributions if one.mix.is_beyond_chance]
    first, rest = certain[:1], certain[1:]
    rest.sort(key=lambda one: -min(abs(one.mix.low), abs(one.mix.high)))
    return (first + rest)[:most]


def _part(kind: PartKind, one: Contribution, sign: int, beside: float | None) -> Part:
    mix = one.mix
    words = moves(one, sign if sign * mix.value > 0 else -sign)
    return Part(kind, one.column, mix.value, mix.low, mix.high, one.rate.value, beside, words)


def _rows(one: Slice) -> Part:
    place = f"{one.column} {where(one.label).removeprefix('with values ').removeprefix('with ')}"
    name = " and ".join(text for text in (one.segment, place if one.column else "") if text)
    words = f"{one.reference_mean:.3g} → {one.mean:.3g} in {one.rows} sampled rows"
    return Part(PartKind.ROWS, name, one.rate.value, one.rate.low, one.rate.high, None, None, words)
