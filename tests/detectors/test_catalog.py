"""The catalog finds detectors by walking modules and refuses what it cannot use."""

from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import pytest

import detectors.psi
from detectors.base import Detector
from detectors.catalog import build, find, parameter_types
from detectors.catalog import detectors as all_detectors
from schemas.errors import UsageError


def module_with(*defined: type, **imported: type) -> ModuleType:
    """Make a module that defines some classes and has imported others."""
    module = ModuleType("detectors.invented")
    for kind in defined:
        kind.__module__ = module.__name__
        setattr(module, kind.__name__, kind)
    for name, kind in imported.items():
        setattr(module, name, kind)
    return module


@dataclass(frozen=True)
class Invented(detectors.psi.PsiThreshold):
    name: ClassVar[str] = "invented"


def test_modules_that_declare_nothing_are_passed_over():
    assert find([detectors.psi]) == {"psi": detectors.psi.PsiThreshold}
    assert find([module_with(Detector=Detector, PsiThreshold=detectors.psi.PsiThreshold)]) == {}


def test_a_class_counts_where_it_is_defined_and_not_where_it_is_imported():
    defining = module_with(Invented)
    importing = ModuleType("detectors.importing")
    importing.__dict__["Invented"] = Invented
    assert find([defining, importing]) == {"invented": Invented}


def test_two_detectors_of_one_name():
    twin: type = dataclass(frozen=True)(type("Twin", (detectors.psi.PsiThreshold,), {"name": "psi"}))
    with pytest.raises(
        TypeError, match=r"'psi' is used by detectors.psi.PsiThreshold and detectors.invented.Twin"
    ):
        find([detectors.psi, module_with(twin)])


def test_a_declared_detector_that_cannot_be_built():
    lacking = type("Lacking", (Detector,), {"name": "lacking"})
    with pytest.raises(TypeError, match="Lacking declares a detector but does not define examples, judge"):
        find([module_with(lacking)])
    methods = {"judge": lambda *_: [], "examples": classmethod(lambda _: ())}
    with pytest.raises(TypeError, match="Nameless declares a detector but has no name"):
        find([module_with(dataclass(frozen=True)(type("Nameless", (Detector,), methods)))])
    with pytest.raises(TypeError, match="Loose declares a detector but is not a frozen dataclass"):
        find([module_with(type("Loose", (Detector,), {"name": "loose", **methods}))])


def test_the_catalog_cannot_be_spoiled_by_its_callers():
    all_detectors().clear()
    assert "psi" in all_detectors()


def test_build_names_what_is_wrong_and_what_is_allowed():
    with pytest.raises(UsageError, match=r"there is no detector 'pis' \(available: .*psi"):
        build("pis", {})
    with pytest.raises(UsageError, match=r"psi: there is no parameter 'limit' \(available: threshold, tol"):
        build("psi", {"limit": 1})
    with pytest.raises(UsageError, match=r"psi: threshold: '0.2' \(input should be a valid number\)"):
        build("psi", {"threshold": "0.2"})
    with pytest.raises(UsageError, match="psi: threshold: True"):
        build("psi", {"threshold": True})
    with pytest.raises(UsageError, match=r"psi: calibrate: 1 \(input should be a valid boolean\)"):
        build("psi", {"calibrate": 1})
    with pytest.raises(UsageError, match=r"psi: threshold: 0.0 \(a number above 0 is allowed\)"):
        build("psi", {"threshold": 0})


def test_whole_numbers_are_numbers():
    assert build("psi", {"threshold": 1}) == detectors.psi.PsiThreshold(threshold=1.0)
    assert parameter_types(detectors.psi.PsiThreshold) == {
        "threshold": float,
        "tolerance": float,
        "calibrate": bool,
    }
