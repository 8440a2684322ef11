"""The mathematics of drift: profiles, comparisons, sequential tests, performance estimation."""

from detectors.base import Detector, Example, Moment, Step
from detectors.catalog import build, detectors
from detectors.digest import e_bh
from detectors.distinct import Distinct
from detectors.edetector import EDetector
from detectors.effects import EffectArrays, compare
from detectors.frequent import FrequentItem, FrequentItems
from detectors.hashing import hash_numbers, hash_strings
from detectors.psi import PsiThreshold
from detectors.streams import week_in
from detectors.tensor import ReferenceCounts, TensorLayout

__all__ = [
    "Detector",
    "Distinct",
    "EDetector",
    "EffectArrays",
    "Example",
    "FrequentItem",
    "FrequentItems",
    "Moment",
    "PsiThreshold",
    "ReferenceCounts",
    "Step",
    "TensorLayout",
    "build",
    "compare",
    "detectors",
    "e_bh",
    "hash_numbers",
    "hash_strings",
    "week_in",
]
