"""What all charts have in common: size, style, the head above the axes, and how they become bytes."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from alerting.finding import shorten

WIDTH, HEIGHT, DPI = 8.0, 4.0, 200
BLUE, SKY, VERMILLION, INK, GRID, PAPER = "#0072B2", "#C7E3F4", "#D55E00", "#1A1A1A", "#D9D9D9", "#FFFFFF"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "hatch.color": BLUE,
    "hatch.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
MAX_TITLE = 54
HEAD_INCHES = 0.95
COLOURS = 48  # enough for smooth letters, and a third of the bytes

_drawing = threading.Lock()


@contextmanager
def canvas(height: float) -> Iterator[tuple[Figure, Axes]]:
    """Hand out an empty figure with one pair of axes, and keep others from drawing meanwhile.

    Parameters
    ----------
    height : float
        In inches, each of which is 100 points of a screen.
    """
    with _drawing, mpl.rc_context():
        mpl.rcdefaults()  # whatever the machine's matplotlibrc says
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, height), dpi=DPI)
        yield figure, figure.add_subplot()


def head(figure: Figure, axes: Axes, title: str, below: str) -> None:
    """Write the title, what it is about in time, and the legend above the axes, each at a fixed height."""
    height = figure.get_figheight()
    room = (0.0, 0.0, 1.0, 1.0 - HEAD_INCHES / height)
    figure.set_layout_engine("constrained", rect=room, w_pad=0.1, h_pad=0.06)
    for text, down, size, weight in (
        (shorten(title, MAX_TITLE), 0.12, 14, "bold"),
        (below, 0.42, 12, "normal"),
    ):
        figure.text(0.015, 1 - down / height, text, fontsize=size, fontweight=weight, va="top")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.005, 1 - 0.62 / height),
        ncols=5, frameon=False, fontsize=12, handlelength=1.8, columnspacing=1.4, borderaxespad=0.0,
    )  # fmt: skip


def png_of(figure: Figure) -> bytes:
    """Draw a figure as a PNG with few colours."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    agg = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # Letters that the font does not have are shown as boxes; the words beside the image have them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        agg.draw()  # type: ignore[no-untyped-call]  # matplotlib's own annotations are incomplete
    drawn = Image.fromarray(np.asarray(agg.buffer_rgba())[..., :3].copy())  # type: ignore[no-untyped-call]  # as above
    out = io.BytesIO()
    few = drawn.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(out, "PNG", optimize=True)
    return out.getvalue()
