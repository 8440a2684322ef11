"""The forms in which a chart is given: for the script, as a table, CSV, SVG and PNG."""

from __future__ import annotations

import csv
import io
import re
from typing import Literal

import msgspec
from fastapi import Response
from markupsafe import Markup

from monitor.web.charting.chart import Chart
from monitor.web.charting.drawing import png_of, svg_of

Form = Literal["json", "csv", "svg", "png", "table"]
FORMS: tuple[Form, ...] = ("json", "csv", "svg", "png", "table")
# A cell that begins like this would be run as a formula by spreadsheet programs.
_FORMULA = re.compile(r"^[=+\-@\t\r]")


def given(chart: Chart, form: Form) -> Response:
    """Answer with a chart.

    Parameters
    ----------
    chart : Chart
    form : Form
        ``json`` for the script of the console, ``table`` for a piece of a page.
    """
    if form == "json":
        return Response(msgspec.json.encode(chart.document()), media_type="application/json")
    if form == "table":
        return Response(table(chart), media_type="text/html; charset=utf-8")
    if form == "csv":
        content, media_type = csv_of(chart).encode(), "text/csv; charset=utf-8"
    elif form == "svg":
        content, media_type = svg_of(chart), "image/svg+xml"
    else:
        content, media_type = png_of(chart), "image/png"
    name = f"{file_name(chart.title)}.{form}"
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)


def file_name(title: str) -> str:
    """Make a title part of a file's name.

    Examples
    --------
    >>> file_name("flight-delay: PSI of temp"), file_name("…")
    ('flight-delay-psi-of-temp', 'chart')
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80] or "chart"


def csv_of(chart: Chart) -> str:
    """Write the table as comma-separated values."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_cell(name) for name in chart.header())
    for row in chart.rows():
        writer.writerow(_cell(value) for value in row)
    return out.getvalue()


def table(chart: Chart) -> str:
    """Write the table as a piece of a page."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in chart.header())
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            row[0], Markup("").join(Markup('<td class="number">{}</td>').format(_shown(v)) for v in row[1:])
        )
        for row in chart.rows()
    )
    caption = Markup("<caption>{}</caption>").format(chart.title)
    return str(
        Markup("<table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(caption, head, body)
    )


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _shown(value: str | float | None) -> str:
    return "–" if value is None else value if isinstance(value, str) else f"{value:.4g}"
