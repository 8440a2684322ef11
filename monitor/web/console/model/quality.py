"""Values that are missing, invalid or new to the reference, window by window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitor.web.charting.chart import Chart, Marker, Series
from monitor.web.console.model.axis import line, with_gaps
from monitor.web.console.model.counted import Counted
from monitor.web.console.model.view import FEW_ROWS, View

SHOWN = 6
WORDS = {"missing": "missing", "invalid": "invalid", "unseen": "not in the reference"}


def quality_chart(counted: Counted, view: View, markers: Sequence[Marker]) -> Chart:
    """Draw the shares of the columns that are worst anywhere in the range."""
    axis = with_gaps(counted.starts, view.shape.length_ms)
    weak = {
        s for s, n in zip(counted.starts, counted.rows.tolist(), strict=True) if n * counted.stride < FEW_ROWS
    }
    found: list[tuple[float, str, Series]] = []
    for column in view.of_source("feature", "prediction", "score"):
        for name, shares in counted.shares(column).items():
            worst = float(np.nanmax(shares, initial=0.0)) if len(shares) else 0.0
            if worst > 0:
                values = dict(zip(counted.starts, shares.tolist(), strict=True))
                found.append((worst, column, line(f"{column} {WORDS[name]}", axis, values, weak=weak)))
    found.sort(key=lambda one: (-one[0], one[1]))
    if not counted.parts:
        words = "Nothing is known before there is a reference."
    elif not found:
        words = f"No value is missing, invalid or new to the reference in this range.{counted.note()}"
    else:
        more = f", the worst {SHOWN} of {len(found)}" if len(found) > SHOWN else ""
        words = (
            f"Shares of rows without a usable value, or with one that the reference never saw{more}."
            f"{counted.note()}"
        )
    series = [one for _, _, one in found[:SHOWN]]
    if not series and counted.parts:  # a line at 0 says more than an empty chart
        zeros = {
            start: 0.0 if n else None for start, n in zip(counted.starts, counted.rows.tolist(), strict=True)
        }
        series = [line("missing, invalid or new", axis, zeros)]
    return Chart(
        "Data quality", words, axis, series, "share", markers=markers, low=0.0, high=None if found else 1.0
    )
