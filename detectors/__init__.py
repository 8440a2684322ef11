"""The mathematics of drift: profiles, comparisons, sequential tests, performance estimation."""

from detectors.base import Detector, Example
from detectors.catalog import build, detectors
from detectors.distinct import Distinct
from detectors.effects import EffectArrays, compare
from detectors.frequent import FrequentItem, FrequentItems
from detectors.hashing import hash_numbers, hash_strings
from detectors.psi import PsiThreshold
from detectors.tensor import ReferenceCounts, TensorLayout

__all__ = [
    "Detector",
    "Distinct",
    "EffectArrays",
    "Example",
    "FrequentItem",
    "FrequentItems",
    "PsiThreshold",
    "ReferenceCounts",
    "TensorLayout",
    "build",
    "compare",
    "detectors",
    "hash_numbers",
    "hash_strings",
]
