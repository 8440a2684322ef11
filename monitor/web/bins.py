"""The bins of a column for people: where they lie, how many rows they hold, the reference's share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from detectors.binning import BUCKETS, Bins, CategoricalBins, HashBins, NumericBins, rebin
from detectors.cells import Cells
from detectors.profile import Profile
from detectors.reference import Reference
from monitor.web.documents import Number
from schemas.column import ColumnSpec

Counts = NDArray[np.int64]
BinKind = Literal["range", "value", "other", "unseen", "bucket", "present"]


class BinDocument(BaseModel):
    """One bin of a column."""

    kind: BinKind = Field(
        description="`range` of numbers from `low` to below `high`; one `value`; `other` values that the "
        "reference has; values `unseen` in it; `bucket` of hashes; `present` for lists."
    )
    low: Number = Field(None, description="First number of a range; null: no limit, or not a range.")
    high: Number = Field(None, description="First number after a range; null: no limit, or not a range.")
    value: str | None = Field(None, description="The value, or a name for what is not a range.")
    count: int
    reference_share: Number = Field(None, description="Share of the reference's rows; null: no reference.")


@dataclass(frozen=True)
class Binned:
    """Counts of one column and group of rows, and those of the reference.

    `counts` and `reference` hold missing and invalid values last; `reference` is None without one.
    """

    spec: ColumnSpec
    bins: Bins
    counts: Counts
    reference: Counts | None

    @property
    def valid(self) -> int:
        """Rows with a valid value."""
        return int(self.counts[:-2].sum())

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return int(self.counts[-2])

    @property
    def invalid(self) -> int:
        """Rows with a value of the wrong type, or not finite."""
        return int(self.counts[-1])

    @property
    def unseen(self) -> int | None:
        """Rows with a category that the reference does not have; None where that cannot be told."""
        if self.reference is None or not isinstance(self.bins, CategoricalBins):
            return None
        return int(self.counts[len(self.bins.top) + 1])

    def reference_share(self, position: int) -> float | None:
        """Share of the reference's rows in a bin."""
        if self.reference is None or not self.reference.sum():
            return None
        return float(self.reference[position] / self.reference.sum())


def binned_columns(profile: Profile, reference: Reference | None, group: int) -> list[Binned]:
    """Counts of every column of one group of rows, by name.

    Columns on bins of the reference come from there; the others get bins of their own for this answer.
    """
    found: dict[str, Binned] = {}
    if profile.binning is not None:
        binning = profile.binning
        theirs = None if reference is None else reference.counts[group]
        for i, (spec, bins) in enumerate(zip(binning.columns, binning.bins, strict=True)):
            part = slice(int(binning.offsets[i]), int(binning.offsets[i + 1]))
            counts = profile.counts[group, part]
            found[spec.name] = Binned(spec, bins, counts, None if theirs is None else theirs[part])
    for name, summary in profile.summaries.items():
        if name not in found:
            found[name] = _own_bins(profile, summary.spec, group)
    return [found[name] for name in sorted(found)]


def _own_bins(profile: Profile, spec: ColumnSpec, group: int) -> Binned:
    """Choose bins for a column that has none, from the values in this range."""
    cells = profile.cells.get(spec.name)
    if cells is None:  # no slice of the range has a value
        cells = profile.cells[spec.name] = Cells.empty()
    bins = profile.choose_bins(spec.name)
    same = np.arange(len(profile.groups), dtype=np.int32)
    if profile.binning is not None:
        # Columns that turned up after the reference was made are not broken down by segment.
        same, rows = np.zeros(len(cells.invalid), np.int32), profile.group_rows[:1]
        counts, _ = rebin(_all_rows(cells), bins, same, rows)
        return Binned(spec, bins, counts[0] if group == 0 else counts[0] * 0, None)
    counts, _ = rebin(cells, bins, same, profile.group_rows)
    return Binned(spec, bins, counts[group], None)


def _all_rows(cells: Cells) -> Cells:
    picked = cells.group == 0
    return Cells(cells.shift, cells.group[picked], cells.cell[picked], cells.count[picked], cells.invalid[:1])


def documents(binned: Binned) -> list[BinDocument]:
    """Write the bins of a column, without missing and invalid values."""
    bins, found = binned.bins, []
    for i, count in enumerate(binned.counts[:-2].tolist()):
        document = _place(bins, i)
        document.count, document.reference_share = count, binned.reference_share(i)
        found.append(document)
    return found


def _place(bins: Bins, i: int) -> BinDocument:
    if isinstance(bins, NumericBins):
        edges = bins.edges
        low = edges[i - 1] if i else None
        return BinDocument(kind="range", low=low, high=edges[i] if i < len(edges) else None, count=0)
    if isinstance(bins, HashBins):
        return BinDocument(kind="bucket", value=f"{i + 1} of {BUCKETS}", count=0)
    if isinstance(bins, CategoricalBins):
        kinds: tuple[BinKind, BinKind] = ("other", "unseen")
        if i < len(bins.top):
            return BinDocument(kind="value", value=bins.top[i], count=0)
        kind = kinds[i - len(bins.top)]
        return BinDocument(kind=kind, value=f"({kind})", count=0)
    return BinDocument(kind="present", value="present", count=0)
