"""Pairs of columns: alarms within the budget, a lost correlation found at once, and what is said of it."""

import numpy as np
import pytest
from scipy import stats

from detectors.binning import Binning, NumericBins
from detectors.calibration import Z_REFERENCE
from detectors.correlation import STRENGTHS, Correlations, judge_correlations
from detectors.gram import Gram, NormalScores
from schemas.column import CORRELATION, ColumnSpec, Kind
from schemas.errors import UnusableReference
from schemas.verdict import Decision, Lane

HOUR = 3_600_000
COLUMNS = 5
EDGES = tuple(stats.norm.ppf(np.linspace(0.05, 0.95, 19)).tolist())
BINNING = Binning(
    tuple(ColumnSpec(f"x{i}", Kind.NUMERIC) for i in range(COLUMNS)),
    tuple(NumericBins(EDGES, -5.0, 5.0) for _ in range(COLUMNS)),
)


def rows(rng, n, correlation=0.7, noise=0.0):
    """Codes of rows in which x0 and x1 go together; noise moves all of a window's correlations."""
    shifted = float(np.clip(correlation + noise * rng.normal(), -0.95, 0.95))
    z = rng.normal(size=(COLUMNS, n))
    z[1] = shifted * z[0] + np.sqrt(1 - shifted**2) * z[1]
    return np.digitize(z, EDGES) + BINNING.offsets[:-1, None]


def learned(rng, windows=28, n=500, **options):
    parts = [rows(rng, n, **options) for _ in range(windows)]
    codes = np.concatenate(parts, axis=1)
    counts = np.bincount(codes.ravel(), minlength=int(BINNING.offsets[-1]))
    scores = NormalScores.of(BINNING, counts)
    whole = Gram(scores)
    whole.add(codes)
    found = Correlations.learn(
        whole, scores.of_codes(codes), [gram(scores, part) for part in parts], np.arange(COLUMNS)
    )
    assert found is not None
    return found, whole


def gram(scores, codes):
    made = Gram(scores)
    made.add(codes)
    return made


def judged(known, whole, windows, budget):
    state, verdicts = b"", []
    for i, codes in enumerate(windows):
        verdict, state = judge_correlations(
            known, whole, gram(known.scores, codes), state,
            start_ms=i * HOUR, end_ms=(i + 1) * HOUR, budget=budget, tolerance=0.01,
            z_reference=4.0, detector="edetector",
        )  # fmt: skip
        verdicts.append(verdict)
    return verdicts


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_alarms_keep_to_the_budget(noise):
    rng = np.random.default_rng(7)
    budget, length, series = 0.01, 40, 40
    alarms = 0
    for _ in range(series):
        known, whole = learned(rng, noise=noise)
        verdicts = judged(known, whole, (rows(rng, 500, noise=noise) for _ in range(length)), budget)
        alarms += sum(verdict.decision is Decision.DRIFT for verdict in verdicts)
    expected = budget * length * series
    assert alarms <= expected + 3 * np.sqrt(expected)


@pytest.mark.parametrize(("correlation", "within"), [(0.0, 2), (0.4, 3), (0.95, 9)])
def test_another_correlation_is_found_although_every_column_is_as_before(correlation, within):
    rng = np.random.default_rng(11)
    delays = []
    for _ in range(10):
        known, whole = learned(rng)
        verdicts = judged(known, whole, (rows(rng, 1_000, correlation) for _ in range(12)), 1e-5)
        first = next((i for i, v in enumerate(verdicts) if v.decision is Decision.DRIFT), 99)
        delays.append(first + 1)
    assert np.median(delays) <= within


def test_a_new_correlation_of_columns_that_had_none_is_found():
    rng = np.random.default_rng(3)
    known, whole = learned(rng, correlation=0.0)
    verdicts = judged(known, whole, (rows(rng, 1_000, 0.5) for _ in range(6)), 1e-5)
    alarm = next(verdict for verdict in verdicts if verdict.decision is Decision.DRIFT)
    assert (alarm.column, alarm.segment, alarm.lane) == (CORRELATION, "", Lane.MULTIVARIATE)
    assert "x0 and x1 0.0" in alarm.explanation or "x0 and x1 -0.0" in alarm.explanation
    assert "→ 0.4" in alarm.explanation or "→ 0.5" in alarm.explanation
    assert alarm.onset_ms is not None
    assert alarm.evidence_log is not None
    assert alarm.evidence_log >= alarm.threshold == 0.0
    assert alarm.budget == 1e-5
    later = verdicts[verdicts.index(alarm) + 1 :]
    assert all(verdict.decision is Decision.ONGOING and verdict.budget == 0.0 for verdict in later)


def test_an_incident_ends_when_columns_go_together_as_before():
    rng = np.random.default_rng(5)
    known, whole = learned(rng)
    series = [rows(rng, 1_000, 0.0) for _ in range(3)] + [rows(rng, 1_000) for _ in range(4)]
    decisions = [str(verdict.decision) for verdict in judged(known, whole, series, 1e-4)]
    assert "drift" in decisions[:2]
    assert decisions[-1] == "ok"


def test_tilts_of_every_distribution_nearby_are_bounded():
    """Cauchy–Schwarz on the rows of the reference: the mean of e^θh within ε is at most μ + ε·sd."""
    rng = np.random.default_rng(1)
    known, whole = learned(rng, windows=8, n=500)
    codes = rows(rng, 4_000)
    z = known.scores.of_codes(codes)
    for pair in range(3):
        h = (z[known.first[pair]] * z[known.second[pair]] - known.mean[pair]) / known.deviation[pair]
        tilted = np.exp(0.3 * h)
        for _ in range(20):
            direction = rng.normal(size=len(h))
            direction -= direction.mean()
            epsilon = 0.5 / np.abs(direction / direction.std()).max()
            weights = 1 + epsilon * direction / direction.std()
            assert (weights > 0).all()
            assert (weights * tilted).mean() <= tilted.mean() + epsilon * tilted.std() + 1e-9
    assert whole.rows == 4_000


@pytest.mark.parametrize(("tolerance", "z_reference"), [(0.0, 0.0), (0.04, 0.0), (0.0, 2.0), (0.01, 4.0)])
def test_evidence_follows_its_formula(tolerance, z_reference):
    rng = np.random.default_rng(8)
    codes, later = rows(rng, 2_000), rows(rng, 80, 0.1)
    scores = NormalScores.of(BINNING, np.bincount(codes.ravel(), minlength=int(BINNING.offsets[-1])))
    z, window = scores.of_codes(codes), scores.of_codes(later)
    known = Correlations.learn(gram(scores, codes), z, [], np.arange(COLUMNS))
    assert known is not None
    found = known.log_evalues(gram(scores, later), tolerance, z_reference)
    radius = np.sqrt(tolerance) + z_reference / np.sqrt(2_000)
    for pair, (i, j) in enumerate(zip(known.first.tolist(), known.second.tolist(), strict=True)):
        product = z[i] * z[j]
        h, later_h = ((x - product.mean()) / product.std() for x in (product, window[i] * window[j]))
        for tilt, theta in enumerate([*STRENGTHS, *-STRENGTHS]):
            e = np.exp(theta * h)
            slow = theta * later_h.sum() - 80 * np.log(e.mean() + radius * e.std())
            assert found[tilt, pair] == pytest.approx(slow, rel=1e-5, abs=1e-5)


def test_without_drift_the_mean_evidence_is_at_most_1():
    rng = np.random.default_rng(9)
    known, _ = learned(rng, windows=8, n=2_500)
    windows = (gram(known.scores, rows(rng, 500)) for _ in range(400))
    # The error of the reference itself is allowed for with four standard errors, as in the service.
    evidence = [np.exp(known.log_evalues(window, 0.0, Z_REFERENCE)).mean() for window in windows]
    assert np.mean(evidence) <= 1.0 + 3 * np.std(evidence) / 20
    assert max(evidence) < 1_000


def test_no_rows_and_missing_values_are_no_evidence():
    rng = np.random.default_rng(2)
    known, whole = learned(rng)
    empty = np.zeros((COLUMNS, 0), np.int64)
    missing = np.tile((BINNING.offsets[1:] - 2)[:, None], (1, 500))
    verdicts = judged(known, whole, [empty, missing], 1e-3)
    assert [str(verdict.decision) for verdict in verdicts] == ["no_data", "ok"]
    assert known.log_evalues(gram(known.scores, missing), 0.01, Z_REFERENCE) == pytest.approx(0.0)


def test_what_is_stored_is_read_again():
    known, _ = learned(np.random.default_rng(4))
    again = Correlations.from_raw(known.raw(), known.scores)
    for name in ("first", "second", "rows", "mean", "deviation", "tilt_mean", "tilt_deviation", "between"):
        assert (getattr(again, name) == getattr(known, name)).all(), name
    assert again.window_rows == known.window_rows
    for damaged in (b"", known.raw()[:-3], b"\x93\x01\x02\x03"):
        with pytest.raises(UnusableReference):
            Correlations.from_raw(damaged, known.scores)


def test_columns_without_pairs_are_not_watched():
    rng = np.random.default_rng(6)
    codes = rows(rng, 100)
    scores = NormalScores.of(BINNING, np.bincount(codes.ravel(), minlength=int(BINNING.offsets[-1])))
    whole = gram(scores, codes)
    assert Correlations.learn(whole, scores.of_codes(codes), [], np.arange(COLUMNS)) is None  # too few rows
    assert Correlations.learn(whole, scores.of_codes(codes), [], np.arange(1)) is None
