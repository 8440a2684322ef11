"""Keyed training-serving mismatch: values that a model was trained on against those that it was served.

Two logs of the same rows are compared value by value. That a feature is computed otherwise online than
offline is certain after a few rows, while distributions may never show it.

References
----------
.. [1] M. Zinkevich, "Rules of Machine Learning", rule 37: measure training/serving skew.

Examples
--------
>>> import numpy as np, pyarrow as pa
>>> from detectors.mismatch.values import of_numbers
>>> found = mismatch(of_numbers([1.0, 2.0, 3.0, 4.0]), of_numbers([60.0, 120.0, 180.0, 240.0]))
>>> found.differ, [pattern.words for pattern in found.patterns]
(4, ['events are 60 × the table (minutes → seconds)'])
"""

from detectors.mismatch.column import Mismatch, mismatch
from detectors.mismatch.differences import Difference, Tolerance
from detectors.mismatch.patterns import Pattern
from detectors.mismatch.values import Values

__all__ = ["Difference", "Mismatch", "Pattern", "Tolerance", "Values", "mismatch"]
