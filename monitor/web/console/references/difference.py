"""What is different between two references: columns, kinds, bins, and the spread of rows where bins agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from detectors.binning import Binning
from detectors.effects import EffectArrays, compare
from detectors.reference import Reference
from schemas.column import ColumnSpec

Standing = Literal["added", "removed", "kind", "bins", "same"]


@dataclass(frozen=True)
class ColumnDifference:
    """One column in two references.

    Parameters
    ----------
    name : str
    standing : str
        ``added``, ``removed``; ``kind``: of another kind or source; ``bins``: on other bins, so that no index
        says how far apart the rows are; ``same``: they can be compared.
    words : str
        What changed, of columns that cannot be compared.
    missing_old, missing_new : float or None
        Share of rows without a value.
    psi, psi_low, psi_high : float or None
        Population stability index without its bias, and its 90 % interval; None where bins differ.
    moved : str
        The bin whose share has changed most, with both shares.
    """

    name: str
    standing: Standing
    words: str = ""
    missing_old: float | None = None
    missing_new: float | None = None
    psi: float | None = None
    psi_low: float | None = None
    psi_high: float | None = None
    moved: str = ""


def differences(old: Reference, new: Reference) -> list[ColumnDifference]:
    """Compare two references column by column: what cannot be compared first, then the largest index."""
    names = list(dict.fromkeys([*old.binning.index, *new.binning.index]))
    same = [name for name in names if _standing(old, new, name) == "same"]
    effects = _effects(old, new, same)
    found = [_difference(old, new, name, effects, same) for name in names]
    return sorted(found, key=lambda one: (one.psi is not None, -(one.psi or 0.0), one.name))


def _standing(old: Reference, new: Reference, name: str) -> Standing:
    before, after = old.binning.index.get(name), new.binning.index.get(name)
    if before is None:
        return "added"
    if after is None:
        return "removed"
    if _kind(old.binning.columns[before]) != _kind(new.binning.columns[after]):
        return "kind"
    return "same" if old.binning.bins[before] == new.binning.bins[after] else "bins"


def _kind(spec: ColumnSpec) -> str:
    return f"{spec.kind.value} {spec.source.value}"


def _difference(
    old: Reference, new: Reference, name: str, effects: EffectArrays | None, same: list[str]
) -> ColumnDifference:
    standing = _standing(old, new, name)
    missing = _missing(old, name), _missing(new, name)
    if standing != "same" or effects is None:
        return ColumnDifference(name, standing, _words(old, new, name, standing), *missing)
    at = same.index(name)
    labels = new.binning.layout.labels[new.binning.index[name]]
    shares, before = effects.share[at], effects.reference_share[at]
    most = int(np.abs(shares - before).argmax())
    moved = f"{labels[most]}: {100 * before[most]:.1f} % → {100 * shares[most]:.1f} %"
    is_moved = shares[most] != before[most]
    return ColumnDifference(
        name,
        standing,
        "",
        *missing,
        psi=float(effects.psi_debiased[at]),
        psi_low=float(effects.psi_low[at]),
        psi_high=float(effects.psi_high[at]),
        moved=moved if is_moved else "",
    )


def _words(old: Reference, new: Reference, name: str, standing: Standing) -> str:
    if standing in ("added", "removed"):
        of = new if standing == "added" else old
        return _kind(of.binning.columns[of.binning.index[name]])
    before, after = old.binning.index[name], new.binning.index[name]
    if standing == "kind":
        return f"{_kind(old.binning.columns[before])} → {_kind(new.binning.columns[after])}"
    sizes = old.binning.bins[before].size - 2, new.binning.bins[after].size - 2
    return f"{sizes[0]} → {sizes[1]} bins" if sizes[0] != sizes[1] else f"{sizes[0]} other bins"


def _missing(of: Reference, name: str) -> float | None:
    at = of.binning.index.get(name)
    if at is None or not of.rows:
        return None
    end = int(of.binning.offsets[at + 1])
    return float(of.counts[0, end - 2]) / of.rows


def _effects(old: Reference, new: Reference, names: list[str]) -> EffectArrays | None:
    """Compare the columns that both count on the same bins, all rows."""
    if not names:
        return None
    at = [old.binning.index[name] for name in names]
    shared = Binning(tuple(old.binning.columns[i] for i in at), tuple(old.binning.bins[i] for i in at))
    sides = [shared.tensor(_counts(one, names)) for one in (old, new)]
    return compare(sides[0], sides[1], shared.layout, np.asarray(old.deviations)[at])


def _counts(of: Reference, names: list[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    offsets, index = of.binning.offsets, of.binning.index
    parts = [of.counts[0, int(offsets[index[name]]) : int(offsets[index[name] + 1])] for name in names]
    return np.concatenate(parts)
