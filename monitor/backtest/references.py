"""References of one model version: of its events, and of their outcomes, as the service would learn them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from detectors.outcome_reference import OutcomeReference
from detectors.outcomes import joined
from detectors.reference import Reference
from monitor.backtest.history import History
from monitor.backtest.outcomes import Outcomes, pooled
from monitor.backtest.survey import Slices
from monitor.frames import open_table
from monitor.frames.names import KnownKinds
from monitor.frames.outcomes import outcome_reference_from_file
from monitor.frames.reference import reference_from_table
from monitor.performance.outcomes import age_of, positive_of
from monitor.performance.references import DEFAULT_SPAN_MS
from monitor.references.lifecycle import Span, first_stretch
from schemas.errors import UnusableReference, UsageError


class NothingToJudge(Exception):  # noqa: N818 - a reason, reported with those of other versions
    """A model version cannot be judged; the text says why."""


def event_reference(history: History, slices: Slices, folder: Path) -> tuple[Reference, int]:
    """Make the reference of the events.

    Parameters
    ----------
    history : History
    slices : Slices
        Where it has rows.
    folder : Path
        Where the path of a configured file starts.

    Returns
    -------
    Reference, int
        And the first instant of the windows that are compared with it.

    Raises
    ------
    NothingToJudge
        If there are too few rows.
    UsageError, UnusableReference
        If the configured file cannot be read, or makes no reference.
    """
    settings = history.settings
    if settings.reference.file is not None:
        table = open_table(folder / settings.reference.file, KnownKinds(settings, history.specs))
        return reference_from_table(table, settings, history.specs, model=history.key[0]), 0
    span = first_stretch(slices.starts, slices.rows, settings)
    if span is None:
        needed = f"reference.min_rows is {settings.reference.min_rows}"
        msg = f"{int(slices.rows.sum())} rows do not make a reference ({needed})"
        raise NothingToJudge(msg)
    made = reference_from_table(history.between(span), settings, history.specs)
    every = settings.windows[0].every_ms
    # A reference of a stream keeps the stretch that it was learned from, not only that of its rows.
    return replace(made, from_ms=span.from_ms, to_ms=span.to_ms, _kept={}), -(-span.to_ms // every) * every


def outcome_reference(
    history: History, outcomes: Outcomes, reference: Reference, folder: Path
) -> OutcomeReference:
    """Make the reference of the outcomes that belongs to a reference of the events.

    It is that of the configured file, if this has labels; otherwise of the same stretch, or where no outcomes
    are in this, of the first ones.

    Parameters
    ----------
    history : History
        With labels.
    outcomes : Outcomes
        Of the same rows.
    reference : Reference
    folder : Path
        Where the path of a configured file starts.

    Raises
    ------
    UnusableReference
        If there are too few labels.
    """
    has_times = history.labels is not None and history.labels.newest_ms is not None
    of_file = _of_file(history, folder)
    if of_file is not None:
        # Nothing is known of how old the labels of the table are: that of the file's is of no use.
        return of_file if has_times else replace(of_file, has_delays=False)
    settings = history.settings
    every = settings.windows[0].every_ms
    for span in _spans(history, outcomes, reference):
        windows = pooled(outcomes.between(span), every, span.to_ms)
        if windows:
            return OutcomeReference.build(
                windows,
                outcomes.terms.texts,
                from_ms=span.from_ms,
                to_ms=span.to_ms,
                window_ms=every,
                age=age_of(settings),
                positive=positive_of(settings, joined([records.tobytes() for records in windows.values()])),
                has_delays=has_times,
            )
    msg = "there are no predictions in the reference's time"
    raise UnusableReference(msg)


def _of_file(history: History, folder: Path) -> OutcomeReference | None:
    """Reference of the labels in the configured file; None if there are no such, or too few."""
    settings = history.settings
    if settings.reference.file is None:
        return None
    try:
        path = folder / settings.reference.file
        return outcome_reference_from_file(path, settings, history.specs, model=history.key[0])
    except (UsageError, UnusableReference):
        return None


def _spans(history: History, outcomes: Outcomes, reference: Reference) -> Iterator[Span]:
    """Whole windows: of the time that the reference was learned from; later outcomes where none are in it."""
    settings = history.settings
    every, until_ms = settings.windows[0].every_ms, 0
    if settings.reference.file is None:
        until_ms = -(-reference.to_ms // every) * every
        yield Span(reference.from_ms // every * every, until_ms)
    starts = [int(news.slice_ms.min()) for news in outcomes.between(Span(0, 1 << 62)) if len(news.slice_ms)]
    if starts and min(starts) >= until_ms:
        begin = min(starts) // every * every
        length_ms = settings.reference.span_ms or DEFAULT_SPAN_MS
        yield Span(begin, begin + -(-length_ms // every) * every)
