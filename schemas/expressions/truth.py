"""What a condition comes to, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """Whether a condition holds.

    Parameters
    ----------
    holds : bool array
        One for each row, or one for all.
    known : bool array or None
        Whether that is known; None: of all rows. Where it is not, `holds` means nothing.
    """

    holds: Bools
    known: Bools | None = None
