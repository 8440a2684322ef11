"""How one model is watched: the options under ``defaults`` and under each entry of ``models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from monitor.config.columns import ColumnContract, contract_of
from monitor.config.problem import choices, nearest, show
from monitor.config.rules import CrossRule
from monitor.config.section import Finding, Section, report
from monitor.config.values import (
    DurationMs,
    InstantMs,
    Name,
    Number,
    Scalar,
    Share,
    Text,
    Whole,
    WindowText,
    duration_between,
    read_window,
    span,
)
from schemas.duration import UNITS_MS

if TYPE_CHECKING:
    from detectors.base import Detector
    from detectors.fairness_parts import FairnessRule
    from schemas.contract import Contract

Part = TypeVar("Part", bound=Section)

TASKS = ("binary_classification", "multiclass_classification", "regression")
METRICS = {
    "accuracy": TASKS[:2],
    "balanced_accuracy": TASKS[:2],
    "precision": TASKS[:2],
    "recall": TASKS[:2],
    "f1": TASKS[:2],
    "log_loss": TASKS[:2],
    "roc_auc": TASKS[:1],
    "brier": TASKS[:1],
    "mae": TASKS[2:],
    "rmse": TASKS[2:],
    "r2": TASKS[2:],
    "cost": TASKS[:2],
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse", "cost"})


def class_text(value: Scalar) -> str:
    """Name of a class as outcomes count it: booleans are 1 and 0.

    Examples
    --------
    >>> class_text(True), class_text(1.0), class_text("yes")
    ('1', '1', 'yes')
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:g}" if isinstance(value, float) else str(value)


EarlyWarning = Literal["adwin", "ddm", "eddm", "hddm", "kswin", "page_hinkley"]


class LabelOptions(Section):
    """How labels are paired with their predictions."""

    horizon_ms: Annotated[DurationMs, duration_between("1m", "3650d")] = span("30d", alias="horizon")
    """How long a prediction waits for its label, and an early label for its prediction."""
    wait_ms: Annotated[DurationMs, duration_between("1m", "90d")] = span("1d", alias="wait")
    """How long labels of a window are waited for before its performance is judged, rounded up to one of 1m,
    5m, 15m, 1h, 3h, 6h, 12h, 1d, 2d, 3d, 5d, 7d, 14d, 21d, 30d, 60d, 90d. Later labels count in all figures,
    and are no evidence."""
    early_warning: tuple[EarlyWarning, ...] = ("ddm", "adwin")
    """Detectors of river that watch the share of wrong predictions beside the one with a false-alarm budget.
    Their findings are results without an alert: they promise no rate of false alarms."""
    sample_per_s: Annotated[Number, Field(gt=0, le=10_000_000)] = 2_000
    """Predictions kept for pairing, per second; above it a hash of the event id decides on both sides."""


class ReferenceOptions(Section):
    """What windows are compared with: the start of the stream, a file, or a stretch between two instants."""

    first_ms: Annotated[DurationMs, duration_between("1m", "3650d")] | None = Field(
        None, alias="first", json_schema_extra={"examples": ["7d"]}
    )
    """The first stretch of event time that is seen, rounded up to whole slices. 7d if no form is given."""
    file: Text | None = None
    """A training table: CSV or Parquet, one row an event."""
    from_ms: InstantMs | None = Field(None, alias="from")
    """First instant of a stretch of the stream; needs `to`."""
    to_ms: InstantMs | None = Field(None, alias="to")
    """First instant after that stretch."""
    min_rows: Annotated[Whole, Field(ge=2, le=100_000_000)] = 200
    """Fewest rows that make a reference; with fewer, learning goes on."""

    @property
    def span_ms(self) -> int | None:
        """Length of the first stretch in ms; None if the reference is a file or lies between two instants."""
        if self.file is not None or self.from_ms is not None:
            return None
        return 7 * UNITS_MS["d"] if self.first_ms is None else self.first_ms

    @model_validator(mode="after")
    def _check_form(self) -> ReferenceOptions:
        given = {"first": self.first_ms, "file": self.file, "from and to": self.from_ms or self.to_ms}
        forms = [name for name, value in given.items() if value is not None]
        findings: list[Finding] = []
        if len(forms) > 1:
            findings.append(
                ((), f"{' and '.join(forms)} exclude each other (use first, or file, or from and to)")
            )
        elif (self.from_ms is None) != (self.to_ms is None):
            findings.append(((), "a stretch needs both ends (use from and to)"))
        elif self.from_ms is not None and self.to_ms is not None and self.to_ms <= self.from_ms:
            findings.append((("to",), "must be after from"))
        report(findings)
        return self


class Cost(Section):
    """What one kind of outcome costs."""

    predicted: Scalar
    """Class that was predicted."""
    label: Scalar
    """Class that it turned out to be."""
    cost: Number
    """What each such prediction costs, in `currency`; a gain is below 0."""


class PerformanceOptions(Section):
    """What the performance of the model is measured by."""

    metric: Literal[
        "accuracy",
        "balanced_accuracy",
        "precision",
        "recall",
        "f1",
        "log_loss",
        "roc_auc",
        "brier",
        "mae",
        "rmse",
        "r2",
        "cost",
    ]
    """Measure of performance; it has to suit the task. `cost` is the mean cost of a prediction."""
    slo: Number
    """Value that the metric must not be worse than. It is missed when the metric is worse over the long
    range, with its whole interval, and also over the short one."""
    long_ms: Annotated[DurationMs, duration_between("1m", "90d")] = span("1d", alias="long")
    """Long range of the objective."""
    short_ms: Annotated[DurationMs, duration_between("1m", "90d")] = span("1h", alias="short")
    """Short range of the objective; at least one window."""
    costs: tuple[Cost, ...] = ()
    """Costs of outcomes; pairs that are not listed cost nothing."""
    currency: Text = "EUR"
    """What costs are counted in; shown beside them."""

    def cost_matrix(self) -> dict[tuple[str, str], float] | None:
        """Cost by the names of the predicted and the true class; None if there are none."""
        if not self.costs:
            return None
        return {(class_text(c.predicted), class_text(c.label)): float(c.cost) for c in self.costs}


FairnessMeasure = Literal["demographic_parity", "equal_opportunity", "equalised_odds", "calibration"]


class FairnessOptions(Section):
    """How differently a binary classifier may treat the values of segment columns."""

    segments: Annotated[tuple[Name, ...], Field(min_length=1, max_length=5)]
    """Columns or tags to compare the values of; they are listed under `segments` of the model too. The eight
    values with the most labels in the reference are compared, of those with at least 200."""
    measures: Annotated[tuple[FairnessMeasure, ...], Field(min_length=1)] = (
        "demographic_parity",
        "equal_opportunity",
        "equalised_odds",
        "calibration",
    )
    """What is compared: rates of positive predictions; true positive rates; those and false positive rates;
    how much more often than the scores say labels are positive."""
    limit: Share = 0.1
    """Largest difference between two values that is allowed: 0.1 is ten percentage points."""
    limits: dict[FairnessMeasure, Share] = Field(default={})
    """Limits of single measures."""
    least_rows: Annotated[Whole, Field(ge=1, le=1_000_000)] = 30
    """Rows that a value needs in a window to be compared."""

    def rules(self) -> tuple[FairnessRule, ...]:
        """Rules for the detectors, one a segment column."""
        from detectors.fairness_parts import FairnessRule  # loads mathematics that most files do not need

        limits: dict[str, float] = {name: float(self.limits.get(name, self.limit)) for name in self.measures}
        return tuple(FairnessRule(segment, limits, self.least_rows) for segment in self.segments)


class QualityOptions(Section):
    """What is kept of events that break the contract."""

    examples: Annotated[Whole, Field(ge=0, le=20)] = 5
    """Most events of a window that are shown as examples of each broken rule; 0 keeps none."""


MOST_SAMPLED = 4_096  # rows of a slice


def _check_detector(name: str) -> str:
    from detectors.catalog import detectors as existing  # loads all of the mathematics; most files name none

    detectors = list(existing())
    if name not in detectors:
        hint = nearest(name, detectors)
        msg = f"{show(name)} is no detector{f'; did you mean {hint}?' if hint else ''} {choices(detectors)}"
        raise ValueError(msg)
    return name


class ModelSettings(Section):
    """How one model is watched.

    The same class holds ``defaults``, an entry of ``models`` (where only `model_fields_set` counts), and the
    settings in effect that `Configuration.for_model` builds of both. Spans of time are milliseconds.

    Examples
    --------
    >>> settings = ModelSettings.model_validate({"slice": "5m", "windows": ["1h"]})
    >>> settings.slice_ms, str(settings.windows[0]), settings.reference.span_ms
    (300000, '1h', 604800000)
    """

    slice_ms: Annotated[DurationMs, duration_between("1s", "7d")] = span("1m", alias="slice")
    """Span of event time that is the unit of state; it divides every window."""
    windows: Annotated[tuple[WindowText, ...], Field(min_length=1, max_length=8)] = Field(
        default=(read_window("1h"), read_window("1d")), json_schema_extra={"default": ["1h", "1d"]}
    )
    """Windows; the first is the one judged, the others are shown. `1h` tumbles, `1h/15m` slides."""
    lateness_ms: DurationMs = span("10m", alias="lateness")
    """How long late events are waited for before a window is judged."""
    horizon_ms: DurationMs = span("7d", alias="horizon")
    """Events later than this are counted as late and not merged."""
    skew_ms: DurationMs = span("5m", alias="skew")
    """How far in the future a timestamp may lie; events beyond it are quarantined."""
    dedupe_ms: DurationMs = span("10m", alias="dedupe")
    """How long event ids are remembered to tell duplicates, in whole minutes; only in `defaults`."""
    idle_after_ms: DurationMs = span("10s", alias="idle_after")
    """How long a partition has to be at its end before it no longer holds event time back."""
    labels: LabelOptions = LabelOptions()
    """How labels are paired with their predictions."""
    reference: ReferenceOptions = ReferenceOptions()
    """What windows are compared with."""
    tolerance_psi: Annotated[Number, Field(ge=0, le=10)] = 0.01
    """Population stability index that a column may have without being worth anybody's time."""
    threshold_psi: Annotated[Number, Field(gt=0, le=10)] = 0.1
    """Population stability index at which the `psi` detector says drift."""
    detector: Annotated[Text, AfterValidator(_check_detector)] = "edetector"
    """Method that compares a window with the reference."""
    detector_parameters: dict[str, Scalar] = Field(default={})
    """Parameters of that method."""
    segments: Annotated[tuple[Name, ...], Field(max_length=5)] = ()
    """Columns or tags by whose values the model is also watched in parts."""
    max_segment_values: Annotated[Whole, Field(ge=1, le=1_000)] = 50
    """Values of a segment that are told apart; the others are counted together."""
    max_columns: Annotated[Whole, Field(ge=1, le=10_000)] = 500
    """Columns that are watched; further ones are counted and not watched."""
    columns: dict[Name, ColumnContract] = Field(default={})
    """What is known of the columns; columns without an entry are inferred."""
    rules: dict[Name, CrossRule] = Field(default={})
    """Conditions about several columns of an event, by name."""
    freshness_ms: Annotated[DurationMs, duration_between("1s", "3650d")] | None = Field(
        None, alias="freshness", json_schema_extra={"examples": ["2h"]}
    )
    """How long the model may be without events before `no_data` is raised, in event time; if left out, that
    depends on the gaps of the reference."""
    quality: QualityOptions = QualityOptions()
    """What is kept of events that break the contract."""
    sample_per_minute: Annotated[Whole, Field(ge=0, le=100_000)] = 32
    """Whole rows that are kept of each minute, chosen by chance, to tell how columns go together and where a
    change of the predictions comes from. 0 keeps none."""
    task: Literal["binary_classification", "multiclass_classification", "regression"] | None = None
    """What the model does; inferred if left out."""
    positive_label: Scalar | None = None
    """Label of the positive class of a binary classifier; `1` or `true` if left out."""
    performance: PerformanceOptions | None = None
    """What the performance of the model is measured by."""
    fairness: FairnessOptions | None = None
    """How differently the values of segment columns may be treated."""
    owner: Name | None = None
    """Who answers for the model."""
    tags: dict[Name, Text] = Field(default={})
    """Further notes on the model, shown beside its alerts."""

    @property
    def slice_sample_rows(self) -> int:
        """Most rows of which a slice keeps a sample."""
        return min(-(-self.sample_per_minute * self.slice_ms // 60_000), MOST_SAMPLED)

    @property
    def positive_class(self) -> str | None:
        """Name of the positive class as a category; None if it is not configured."""
        label = self.positive_label
        if isinstance(label, bool):
            return "true" if label else "false"
        return None if label is None else class_text(label)

    def build_detector(self) -> Detector:
        """Build the detector; `edetector` and `psi` take the options in PSI units, parameters come first.

        Raises
        ------
        UsageError
            If the detector does not know a parameter, or a value is out of range. `load` has checked that.
        """
        from detectors.catalog import build

        own = {name: c.tolerance_psi for name, c in self.columns.items() if c.tolerance_psi is not None}
        inherited: dict[str, dict[str, object]] = {
            "psi": {"threshold": self.threshold_psi, "tolerance": self.tolerance_psi},
            "edetector": {"tolerance": self.tolerance_psi, "tolerances": own},
        }
        return build(self.detector, inherited.get(self.detector, {}) | self.detector_parameters)

    def build_contract(self) -> Contract:
        """Build the hard rules."""
        return contract_of(self.columns, self.task, rules=self.rules, examples=self.quality.examples)

    def build_early_warning(self) -> tuple[Detector, ...]:
        """Build the detectors of `labels.early_warning`."""
        from detectors.catalog import build

        return tuple(build(name, {}) for name in self.labels.early_warning)

    def fairness_rules(self) -> tuple[FairnessRule, ...]:
        """How differently groups may be treated; empty if nothing is configured."""
        return () if self.fairness is None else self.fairness.rules()

    def overlaid(self, entry: ModelSettings) -> ModelSettings:
        """Build the settings in effect: these, with what the entry says put on top.

        `labels`, `detector_parameters`, `tags`, `rules` and each of the `columns` merge key by key; all the
        rest is replaced as a whole. Detector parameters merge only while the detector stays the same.
        """
        changed = {name: getattr(entry, name) for name in entry.model_fields_set}
        if "labels" in changed:
            changed["labels"] = _overlaid(self.labels, entry.labels)
        if "columns" in changed:
            changed["columns"] = self.columns | {
                name: _overlaid_column(self.columns[name], column) if name in self.columns else column
                for name, column in entry.columns.items()
            }
        if "rules" in changed:
            changed["rules"] = self.rules | entry.rules
        if "tags" in changed:
            changed["tags"] = self.tags | entry.tags
        same_detector = changed.get("detector", self.detector) == self.detector
        inherited = self.detector_parameters if same_detector else {}
        changed["detector_parameters"] = inherited | entry.detector_parameters
        return self.model_copy(update=changed)


def _overlaid_column(base: ColumnContract, entry: ColumnContract) -> ColumnContract:
    return _overlaid(base, entry).model_copy(update={"rules": base.rules | entry.rules})


def _overlaid(base: Part, entry: Part) -> Part:
    return base.model_copy(update={name: getattr(entry, name) for name in entry.model_fields_set})
