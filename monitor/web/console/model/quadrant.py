"""Drift against importance: every feature as a point, drawn on the server as a small SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

from monitor.web.console.model.drift import tolerance_of
from monitor.web.console.model.features import Features
from monitor.web.console.model.view import View

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 480, 360, 12, 30, 12, 46
LEAST_PSI = 0.001
OF_ALL_PARTS = 0.1  # a feature with a tenth of all parts together counts
LINE = 17  # height of a label
MOST_LABELS = 14


@dataclass(frozen=True)
class Dot:
    """A feature; `x` and `y` are its place in the picture, `label_y` that of its name (None: no room)."""

    name: str
    x: float
    y: float
    label_y: float | None
    is_left: bool
    corner: str
    is_alarmed: bool
    words: str


@dataclass(frozen=True)
class Quadrant:
    """The picture: its points, and where the lines between its corners lie."""

    dots: list[Dot]
    split_x: float
    split_y: float
    tolerance: float
    corners: dict[str, list[str]]
    outcome: str
    width: int = WIDTH
    height: int = HEIGHT


CORNERS = {
    "both": "drifted, and predictions moved with it",
    "drift": "drifted, predictions hardly care",
    "important": "within tolerance, predictions moved with it",
    "neither": "within tolerance, predictions hardly care",
}


def quadrant_of(view: View, features: Features) -> Quadrant | str:
    """Draw the features of a range; says why where that is not possible."""
    attributed = features.attributed
    if attributed is None:
        return "What the predictions have to do with each feature is not known for this range: it takes a judged window and a reference with a sample of its rows."  # noqa: E501
    known = [row for row in features.rows if row.psi_debiased is not None]
    if not known:
        return "No rows of this range could be counted on the bins of a reference."
    parts = {row.name: abs(row.part or 0.0) for row in known}
    most_part = max(max(parts.values()), 1e-9)
    counts = OF_ALL_PARTS * sum(parts.values())
    tolerance = max(float(view.settings.tolerance_psi), LEAST_PSI)
    most_psi = max(max(row.psi_debiased or 0.0 for row in known), 10 * tolerance)
    dots, corners = [], {name: list[str]() for name in CORNERS}
    taken: list[tuple[float, float, bool]] = []
    for number, row in enumerate(known):
        drift, part = row.psi_debiased or 0.0, parts[row.name]
        x, y = _across(drift, most_psi), _up(part, most_part)
        corner = _corner(drift > max(tolerance_of(view.settings, row.name), LEAST_PSI), 0 < counts <= part)
        corners[corner].append(row.name)
        is_left = x > WIDTH * 0.6
        is_named = number < MOST_LABELS and corner != "neither"
        label_y = _free(taken, x, y, is_left) if is_named else None
        words = f"{row.name}: PSI {drift:.3g}, part {row.part or 0.0:+.3g}"
        dots.append(Dot(row.name, x, y, label_y, is_left, corner, row.alarmed > 0, words))
    return Quadrant(
        dots, _across(tolerance, most_psi), _up(counts, most_part), tolerance, corners, attributed.outcome
    )


def _corner(has_drifted: bool, counts: bool) -> str:
    return ("both" if counts else "drift") if has_drifted else "important" if counts else "neither"


def _across(psi: float, most: float) -> float:
    """Place on a logarithmic axis that begins at a PSI of 0.001."""
    share = math.log(max(psi, LEAST_PSI) / LEAST_PSI) / math.log(most / LEAST_PSI)
    return round(LEFT + 8 + share * (WIDTH - LEFT - RIGHT - 16), 1)


def _up(part: float, most: float) -> float:
    return round(HEIGHT - BOTTOM - 8 - part / most * (HEIGHT - TOP - BOTTOM - 16), 1)


def _free(taken: list[tuple[float, float, bool]], x: float, y: float, is_left: bool) -> float | None:
    """Find room for a name beside its point, above or below where others are."""
    for step in (0, -1, 1):
        at = y + step * LINE
        near = [1 for other_x, other_y, _ in taken if abs(other_x - x) < 190 and abs(other_y - at) < LINE - 1]
        if TOP < at < HEIGHT - BOTTOM and not near:
            taken.append((x, at, is_left))
            return round(at + 5, 1)
    return None
