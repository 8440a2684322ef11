"""What a side found: for each world the calm windows and the planted ones; needs NumPy alone.

A tool that gives a number for each window writes *scores*; a higher one is more suspicious, and its threshold
is tuned afterwards. A tool that carries something from window to window is run with several *settings*, from
the least to the most sensitive, and writes the alarms of each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FAMILIES = ("numeric", "categorical", "nulls", "joint", "error")
# Columns whose alarms are false alarms of drift or performance; the others are counted apart.
WATCHED = ("numeric", "categorical", "error")


@dataclass
class Results:
    """Findings of one tool.

    Parameters
    ----------
    tool : str
        Name in the tables.
    version : str
        Of its package.
    families : dict of str to str
        Which family of checks sees each change that the tool offers something for.
    settings : tuple of str
        Names of the settings; empty for a tool that writes scores.
    calm : dict
        By (family, world): scores ``[columns, windows]``, or alarms ``[settings, columns, windows]``.
    default : dict
        By (family, world): alarms with the tool's own defaults, ``[columns, windows]``.
    planted : dict
        By (change, world): scores ``[shapes, sizes, windows]``, or alarms with settings first.
    """

    tool: str
    version: str
    families: dict[str, str]
    settings: tuple[str, ...] = ()
    calm: dict[tuple[str, str], Array] = field(default_factory=dict)
    default: dict[tuple[str, str], Array] = field(default_factory=dict)
    planted: dict[tuple[str, str], Array] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)

    def save(self, work: Path, part: int = 0) -> None:
        """Write the findings, or a part of them."""
        about = {name: getattr(self, name) for name in ("tool", "version", "families", "settings", "notes")}
        arrays = {
            f"{kind}/{what}/{world}": found
            for kind in ("calm", "default", "planted")
            for (what, world), found in getattr(self, kind).items()
        }
        name = self.tool.replace(" ", "-").replace("/", "-").replace(",", "")
        np.savez_compressed(work / f"result-{name}-{part}.npz", about=json.dumps(about), **arrays)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        with np.load(path) as kept:
            about = json.loads(str(kept["about"]))
            found = cls(
                about["tool"],
                about["version"],
                about["families"],
                tuple(about["settings"]),
                notes=about["notes"],
            )
            for key in kept.files:
                if key != "about":
                    kind, what, world = key.split("/")
                    getattr(found, kind)[what, world] = kept[key]
        return found

    def add(self, other: Results) -> None:
        """Take in another part of the same tool's findings."""
        for kind in ("calm", "default", "planted"):
            getattr(self, kind).update(getattr(other, kind))
        for name, value in other.notes.items():
            mine = self.notes.get(name, 0.0)
            self.notes[name] = max(mine, value) if name.startswith("largest") else mine + value


def load_all(work: Path) -> list[Results]:
    """Findings of all tools in a work folder, by the name of the tool."""
    found: dict[str, Results] = {}
    for path in sorted(work.glob("result-*.npz")):
        part = Results.load(path)
        if part.tool in found:
            found[part.tool].add(part)
        else:
            found[part.tool] = part
    return [found[tool] for tool in sorted(found)]
