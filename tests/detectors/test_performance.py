"""Realised performance: what scikit-learn says, and intervals that hold as often as they claim."""

from collections import defaultdict
from dataclasses import asdict
from math import isfinite, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn import metrics

from detectors.calibration_error import calibration_error
from detectors.intervals import bounded, mean_of_proportions, wilson
from detectors.outcomes import (
    AGE_LIMITS_MS,
    RECORD,
    Family,
    Labels,
    Predictions,
    joined,
    labelled_records,
    negated,
    predicted_records,
    score_cells,
    with_segments,
)
from detectors.performance import realised
from detectors.ranking import average_precision, roc_auc
from schemas.errors import UsageError

YES, NO = np.uint64(2**63 + 11), np.uint64(12)  # hashes use all 64 bits
POSITIVE = np.array([YES])
NAMES = {int(YES): "yes", int(NO): "no"}
CLASSES = np.array([2**63 + 21, 22, 23, 24], np.uint64)
CLASS_NAMES = dict(zip(CLASSES.tolist(), "abcd", strict=True))
COSTS = {("yes", "no"): 1.0, ("no", "yes"): 5.0}
HOUR = 3_600_000


def predictions(predicted, *, score=None, value=None, segments=None, classes=None, scores=None):
    n = len(predicted)
    none = np.full(n, np.nan)
    return Predictions(
        event_ms=np.zeros(n, np.int64),
        predicted=predicted,
        value=none if value is None else value,
        score=none if score is None else score,
        segments=np.zeros((n, 0), np.uint64) if segments is None else segments,
        classes=np.zeros((n, 0), np.uint64) if classes is None else classes,
        scores=np.zeros((n, 0)) if scores is None else scores,
    )


def labels(label, value=None, delay_ms=None):
    n = len(label)
    return Labels(
        np.zeros(n, np.int64) if delay_ms is None else delay_ms,
        label,
        np.full(n, np.nan) if value is None else value,
    )


def counted(rows, found, *, sign=1):
    """Records of predictions and of their labels, as they are stored; sign −1: with those taken back."""
    first, at = with_segments(predicted_records(rows), np.arange(len(rows)), rows.segments)
    then, row = labelled_records(rows, found, np.isin(found.label, POSITIVE))
    then, _ = with_segments(then, row, rows.segments)
    assert len(at) == len(first)
    return (first if sign > 0 else negated(first)), (then if sign > 0 else negated(then))


def total(*parts):
    return joined([part.tobytes() for part in parts])


def binary(score, truth, threshold=0.5, **options):
    rows = predictions(np.where(score >= threshold, YES, NO), score=score)
    records = total(*counted(rows, labels(np.where(truth, YES, NO))))
    return realised(records, "binary_classification", positive=POSITIVE, names=NAMES, **options)


def class_records(scores, truth):
    classes = CLASSES[: scores.shape[1]]
    rows = predictions(
        classes[scores.argmax(axis=1)],
        score=scores.max(axis=1),
        classes=np.tile(classes, (len(truth), 1)),
        scores=scores,
    )
    return total(*counted(rows, labels(classes[truth])))


def multiclass(scores, truth, **options):
    records = class_records(scores, truth)
    return realised(records, "multiclass_classification", positive=POSITIVE[:0], names=CLASS_NAMES, **options)


def numbers(predicted, truth, **options):
    rows = predictions(np.zeros(len(truth), np.uint64), value=predicted)
    records = total(*counted(rows, labels(np.ones(len(truth), np.uint64), truth)))
    return realised(records, "regression", positive=POSITIVE[:0], names={}, **options)


def values(found):
    return {name: one.value for name, one in found.measures.items()}


def beta_scores(rng, n, share=0.3, positive=(4, 2), negative=(2, 4)):
    truth = rng.random(n) < share
    return np.where(truth, rng.beta(*positive, n), rng.beta(*negative, n)), truth


def class_scores(rng, n, strength=1.2):
    truth = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    z = rng.normal(size=(n, 4))
    z[np.arange(n), truth] += strength
    scores = np.exp(z)
    return scores / scores.sum(axis=1, keepdims=True), truth


def number_pairs(rng, n):
    truth = rng.gamma(2, 20, n)
    return 0.8 * truth + 8 + 6 * rng.standard_t(7, n), truth


@pytest.mark.parametrize("seed", range(5))
def test_counts_give_what_scikit_learn_gives(seed):
    rng = np.random.default_rng(seed)
    score, truth = beta_scores(rng, 3_000, share=rng.uniform(0.05, 0.6))
    predicted = score >= 0.6
    found = values(binary(score, truth, 0.6, costs=COSTS))
    cost = np.where(predicted & ~truth, 1.0, np.where(~predicted & truth, 5.0, 0.0))
    expected = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "precision": metrics.precision_score(truth, predicted),
        "recall": metrics.recall_score(truth, predicted),
        "specificity": metrics.recall_score(truth, predicted, pos_label=False),
        "f1": metrics.f1_score(truth, predicted),
        "mcc": metrics.matthews_corrcoef(truth, predicted),
        "base_rate": truth.mean(),
        "predicted_positive_rate": predicted.mean(),
        "cost": cost.mean(),
        "cost_total": cost.sum(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("share", "positive", "negative"),
    [
        (0.4, (4, 2), (2, 4)),
        (0.3, (9, 1), (1, 9)),
        (0.005, (2, 60), (0.8, 160)),
        (0.005, (3, 20), (0.5, 100)),
    ],
)
def test_scores_give_what_scikit_learn_gives(share, positive, negative):
    """Realistic scores: beta mixtures, also with few positives and scores near 0."""
    for seed in range(3):
        score, truth = beta_scores(np.random.default_rng(seed), 50_000, share, positive, negative)
        found = values(binary(score, truth))
        assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, score), abs=0.002)
        few = 0.0001 if share > 0.1 else 0.002  # of 250 positives the order within a cell is partly chance
        assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(truth, score), abs=few)
        assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, score), abs=1e-8)
        assert found["brier"] == pytest.approx(metrics.brier_score_loss(truth, score), abs=1e-8)


@pytest.mark.parametrize("levels", [4, 10, 20])
def test_scores_of_few_values_are_known_exactly(levels):
    score, truth = beta_scores(np.random.default_rng(2), 20_000, share=0.2, negative=(1, 5))
    score = (score * levels).round() / levels
    found = values(binary(score, truth))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-12)
    assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(truth, score), abs=1e-12)


def test_shuffled_cells_count_the_mean_of_all_orders():
    positives, negatives = np.array([2, 0, 3, 1, 0]), np.array([4, 1, 5, 0, 2])
    cell = np.repeat(np.arange(5), positives + negatives)
    truth = np.concatenate([[1] * p + [0] * q for p, q in zip(positives, negatives, strict=True)])
    rng = np.random.default_rng(1)
    orders = [metrics.average_precision_score(truth, cell + rng.random(len(cell))) for _ in range(1_000)]
    found = average_precision(positives, negatives, np.zeros(5, bool), 0.95)
    assert found.value == pytest.approx(np.mean(orders), abs=4 * np.std(orders) / np.sqrt(1_000))
    tied = average_precision(positives, negatives, np.ones(5, bool), 0.95)
    assert tied.value == pytest.approx(metrics.average_precision_score(truth, cell), abs=1e-12)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_the_order_of_one_positive_and_one_negative_in_a_cell_is_known(share):
    """Few rows over many cells, scores near 0 among them: nothing is left to chance."""
    rng = np.random.default_rng(3)
    score = np.concatenate((10 ** rng.uniform(-5.5, -0.4, 80), 1 - 10 ** rng.uniform(-5.5, -0.4, 80)))
    score = score[np.sort(np.unique(score_cells(score) // 2, return_index=True)[1])]
    near = np.clip(score * (1 + 1e-3), 0, 1)
    pairs = score_cells(near) == score_cells(score)
    score, near = score[pairs], near[pairs]
    is_higher = rng.random(len(score)) < share
    truth = np.concatenate((is_higher, ~is_higher))
    both = np.concatenate((near, score))
    found = values(binary(both, truth))["pr_auc"]
    assert found == pytest.approx(metrics.average_precision_score(truth, both), abs=1e-9)


@pytest.mark.parametrize(("positive", "negative"), [((2, 60), (0.8, 160)), ((3, 20), (0.5, 100))])
def test_average_precision_of_few_positives_is_not_off_in_one_direction(positive, negative):
    off = []
    for seed in range(20):
        score, truth = beta_scores(np.random.default_rng(seed), 20_000, 0.005, positive, negative)
        off.append(values(binary(score, truth))["pr_auc"] - metrics.average_precision_score(truth, score))
    assert np.abs(np.mean(off)) < 0.0004
    assert np.std(off) < 0.0012


@pytest.mark.parametrize("seed", range(3))
def test_classes_give_what_scikit_learn_gives(seed):
    scores, truth = class_scores(np.random.default_rng(seed), 20_000)
    predicted = scores.argmax(axis=1)
    result = multiclass(scores, truth)
    found = values(result)
    for name, score in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        assert found[name] == pytest.approx(score(truth, predicted, average="macro"), abs=1e-12)
        each = [found[f"{name}[{letter}]"] for letter in "abcd"]
        assert each == pytest.approx(score(truth, predicted, average=None), abs=1e-12)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(found["recall"], abs=1e-12)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, scores), abs=1e-8)
    one_hot = np.eye(4)[truth]
    assert found["brier"] == pytest.approx(((scores - one_hot) ** 2).sum(axis=1).mean(), abs=1e-8)
    areas = [metrics.roc_auc_score(truth == k, scores[:, k]) for k in range(4)]
    assert [found[f"roc_auc[{letter}]"] for letter in "abcd"] == pytest.approx(areas, abs=0.002)
    assert found["roc_auc"] == pytest.approx(np.mean(areas), abs=0.002)
    table = metrics.confusion_matrix(truth, predicted)
    expected = [(a, b, int(table[j, i])) for i, a in enumerate("abcd") for j, b in enumerate("abcd")]
    assert result.confusion == [entry for entry in expected if entry[2]]


def test_classes_that_are_never_predicted_or_never_right_are_left_out_of_means():
    truth, predicted = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 1, 3])
    scores = np.eye(4)[predicted]
    found = values(multiclass(scores, truth))
    given_nan = {"average": "macro", "zero_division": np.nan, "labels": range(4)}
    assert found["precision"] == pytest.approx(metrics.precision_score(truth, predicted, **given_nan))
    assert found["recall"] == pytest.approx(metrics.recall_score(truth, predicted, **given_nan))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, predicted, **given_nan))
    assert "precision[c]" not in found
    assert "recall[d]" not in found
    assert found["f1[c]"] == found["f1[d]"] == 0.0


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_numbers_give_what_scikit_learn_gives(scale):
    predicted, truth = (x * scale for x in number_pairs(np.random.default_rng(3), 20_001))
    found = values(numbers(predicted, truth))
    expected = {
        "mae": metrics.mean_absolute_error(truth, predicted),
        "mse": metrics.mean_squared_error(truth, predicted),
        "rmse": metrics.root_mean_squared_error(truth, predicted),
        "r2": metrics.r2_score(truth, predicted),
    } | {
        f"quantile_loss[{tau}]": metrics.mean_pinball_loss(truth, predicted, alpha=tau)
        for tau in (0.1, 0.5, 0.9)
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-8, abs=0)
    assert found["bias"] == pytest.approx((predicted - truth).mean(), abs=1e-8 * found["mae"])
    median = metrics.median_absolute_error(truth, predicted)
    assert found["median_absolute_error"] == pytest.approx(median, rel=0.01)


@pytest.mark.parametrize("errors", [[0, 0, 5], [1, 3], [-3, -1, 1, 3], [7], [-2, 2, 2, 9], [0, 0, 0]])
def test_the_median_of_few_values_is_exact(errors):
    errors = np.array(errors, float)
    found = values(numbers(100 + errors, np.full(len(errors), 100.0)))
    assert found["median_absolute_error"] == pytest.approx(np.median(np.abs(errors)), rel=1e-6)


@pytest.mark.parametrize(("location", "rel"), [(0.0, 1e-8), (1e2, 1e-7), (1e4, 1e-3)])
def test_labels_far_from_zero_have_an_r2(location, rel):
    rng = np.random.default_rng(4)
    truth = location + 10 * rng.normal(size=5_000)
    predicted = truth + 4 * rng.normal(size=5_000)
    found = values(numbers(predicted, truth))
    assert 1 - found["r2"] == pytest.approx(1 - metrics.r2_score(truth, predicted), rel=rel)


def test_what_is_undefined_is_absent():
    right, wrong = np.array([0.9, 0.8]), np.array([0.1, 0.2])
    assert {"roc_auc", "pr_auc", "mcc", "balanced_accuracy", "specificity"}.isdisjoint(
        values(binary(right, np.ones(2, bool)))
    )
    never = values(binary(wrong, np.array([True, False])))
    assert {"precision", "mcc"}.isdisjoint(never)
    assert never["f1"] == never["recall"] == 0.0
    assert {"f1", "recall", "precision"}.isdisjoint(values(binary(wrong, np.zeros(2, bool))))
    without_scores = realised(
        total(*counted(predictions(np.array([YES, NO])), labels(np.array([YES, YES])))),
        "binary_classification", positive=POSITIVE, names=NAMES,
    )  # fmt: skip
    assert {"roc_auc", "pr_auc", "log_loss", "brier", "ece", "cost"}.isdisjoint(values(without_scores))
    assert "r2" not in values(numbers(np.arange(5.0), np.full(5, 7.3)))
    huge = values(numbers(np.array([1e200, 1e200]), np.array([0.0, 1.0])))
    assert huge["mae"] == pytest.approx(1e200)
    assert {"mse", "rmse", "r2"}.isdisjoint(huge)


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification", "regression"])
def test_nothing_gives_nothing(task):
    none = np.zeros(0, RECORD)
    found = realised(none, task, positive=POSITIVE, names={}, costs=COSTS)
    assert found.measures == {}
    assert (found.labelled, found.predicted, found.coverage, found.effective_n) == (0, 0, None, 0.0)
    assert sum(found.ages) == found.unreadable == 0
    waiting = predicted_records(predictions(np.array([YES]), score=np.array([0.5])))
    assert realised(waiting, "binary_classification", positive=POSITIVE, names={}).coverage == 0.0


def test_wrong_arguments_are_named():
    none = np.zeros(0, RECORD)
    with pytest.raises(UsageError, match="task: 'ranking'"):
        realised(none, "ranking", positive=POSITIVE, names={})  # type: ignore[arg-type]  # on purpose
    with pytest.raises(UsageError, match=r"level: 95 \(a number between 0 and 1"):
        realised(none, "regression", positive=POSITIVE, names={}, level=95)


def test_unreadable_labels_are_counted_apart():
    found = numbers(np.array([1.0, 2.0, np.nan]), np.array([1.5, np.nan, 3.0]))
    assert (found.labelled, found.predicted, found.unreadable) == (1, 3, 2)
    assert values(found)["mae"] == 0.5


def test_segments_and_ages_are_those_of_the_rows_that_have_them():
    rng = np.random.default_rng(6)
    score, truth = beta_scores(rng, 2_000)
    segment = rng.choice(np.array([0, 5, 2**63 + 6], np.uint64), 2_000)
    delay = rng.choice([30_000, 2 * HOUR, 5_000 * HOUR], 2_000)
    rows = predictions(np.where(score >= 0.5, YES, NO), score=score, segments=segment[:, None])
    records = total(*counted(rows, labels(np.where(truth, YES, NO), delay_ms=delay)))
    young = int(np.searchsorted(AGE_LIMITS_MS, 2 * HOUR))
    for of in (0, 5, 2**63 + 6):
        for until in (None, young, 0):
            inside = (segment == np.uint64(of)) | (of == 0)
            old_enough = delay <= (HOUR * 9_999 if until is None else AGE_LIMITS_MS[until])
            here = inside & old_enough
            found = realised(
                records, "binary_classification", positive=POSITIVE, names=NAMES,
                segment=of, until_age=until,
            )  # fmt: skip
            assert found.measures == binary(score[here], truth[here]).measures
            assert (found.labelled, found.predicted) == (here.sum(), inside.sum())
            assert found.coverage == here.sum() / inside.sum()
            assert found.effective_n == found.labelled == sum(found.ages)
            assert found.ages[0] == (here & (delay == 30_000)).sum()
            assert found.ages[-1] == (here & (delay == 5_000 * HOUR)).sum()


def test_hashes_of_one_name_are_one_class():
    other = np.uint64(77)
    rows = predictions(np.array([CLASSES[0], other, CLASSES[1]]))
    records = total(*counted(rows, labels(np.array([other, CLASSES[0], np.uint64(78)]))))
    names = CLASS_NAMES | {int(other): "a"}
    found = realised(records, "multiclass_classification", positive=POSITIVE, names=names)
    assert found.confusion == [("a", "a", 2), ("b", "#000000000000004e", 1)]
    assert values(found)["accuracy"] == pytest.approx(2 / 3)


def test_a_positive_class_with_a_score_of_its_own():
    """Scores of both classes say the same as P(positive), but for ties and places within cells."""
    rng = np.random.default_rng(7)
    score, truth = beta_scores(rng, 20_000)
    classes = np.array([NO, YES])
    scores = np.stack((1 - score, score), axis=1)
    rows = predictions(
        classes[scores.argmax(axis=1)], score=scores.max(axis=1), classes=np.tile(classes, (20_000, 1)),
        scores=scores,
    )  # fmt: skip
    records = total(*counted(rows, labels(np.where(truth, YES, NO))))
    found = values(realised(records, "binary_classification", positive=POSITIVE, names=NAMES))
    plain = values(binary(score, truth))
    for name in ("log_loss", "brier", "roc_auc", "f1"):
        assert found[name] == pytest.approx(plain[name], abs=1e-8)
    assert found["pr_auc"] == pytest.approx(plain["pr_auc"], abs=0.001)
    assert found["ece"] == pytest.approx(plain["ece"], abs=1e-3)


def test_the_calibration_error_of_many_rows_is_the_plain_one():
    score, truth = beta_scores(np.random.default_rng(8), 200_000)
    order = np.argsort(score)
    gaps = [truth[rows].mean() - score[rows].mean() for rows in np.array_split(order, 15)]
    assert values(binary(score, truth))["ece"] == pytest.approx(np.abs(gaps).mean(), abs=0.001)


def test_scores_that_are_right_have_no_calibration_error():
    rng = np.random.default_rng(9)
    found = []
    for _ in range(100):
        score = rng.random(300)
        found.append(binary(score, rng.random(300) < score).measures["ece"])
    assert np.mean([one.low == 0 for one in found]) >= 0.9
    assert np.median([one.value for one in found]) < 0.04  # the plain error is 0.08


def coverage(draw, estimate, truth, n, runs):
    hits = defaultdict(list)
    for seed in range(runs):
        for name, one in estimate(*draw(np.random.default_rng(seed), n)).measures.items():
            scale = n if name == "cost_total" else 1
            hits[name].append(one.low <= truth[name] * scale <= one.high)
    return {name: np.mean(hit) for name, hit in hits.items()}


def binary_truth():
    """Measures of `beta_scores` by integration, independent of what is tested."""
    p, q = stats.beta(4, 2), stats.beta(2, 4)
    tp, fp = 0.3 * p.sf(0.5), 0.7 * q.sf(0.5)
    fn, tn = 0.3 - tp, 0.7 - fp
    x = np.linspace(1e-9, 1 - 1e-9, 200_001)

    def mean(of_positive, of_negative):
        return integrate.simpson(0.3 * p.pdf(x) * of_positive + 0.7 * q.pdf(x) * of_negative, x=x)

    density = 0.3 * p.pdf(x) + 0.7 * q.pdf(x)
    return {
        "accuracy": tp + tn,
        "balanced_accuracy": (tp / 0.3 + tn / 0.7) / 2,
        "precision": tp / (tp + fp),
        "recall": tp / 0.3,
        "specificity": tn / 0.7,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * 0.3 * (tn + fp) * (tn + fn)),
        "base_rate": 0.3,
        "predicted_positive_rate": tp + fp,
        "roc_auc": mean(q.cdf(x) / 0.3, 0 * x),
        "pr_auc": mean(p.sf(x) / (0.3 * p.sf(x) + 0.7 * q.sf(x)), 0 * x),
        "log_loss": mean(-np.log(x), -np.log1p(-x)),
        "brier": mean((1 - x) ** 2, x**2),
        "ece": integrate.simpson(np.abs(0.3 * p.pdf(x) - x * density), x=x),
        "cost": fp + 5 * fn,
        "cost_total": fp + 5 * fn,
    }


RUNS = pytest.mark.parametrize("runs", [400, pytest.param(5_000, marks=pytest.mark.full)])


def outside(found, runs):
    """Coverages that are not 95 ± 2 %; few runs are given two standard errors of their own."""
    slack = 0.02 + (2 * np.sqrt(0.95 * 0.05 / runs) if runs < 5_000 else 0.0)
    return {name: share for name, share in found.items() if abs(share - 0.95) > slack}


@RUNS
def test_intervals_of_binary_measures_hold(runs):
    truth = binary_truth()
    found = coverage(beta_scores, lambda *rows: binary(*rows, costs=COSTS), truth, n=500, runs=runs)
    assert found.keys() == truth.keys()
    assert outside(found, runs) == {}


@RUNS
def test_intervals_of_measures_of_classes_hold(runs):
    costs = {(a, b): float(abs(ord(a) - ord(b))) for a in "abcd" for b in "abcd"}
    truth = values(multiclass(*class_scores(np.random.default_rng(99), 300_000), costs=costs))
    truth["cost_total"] = truth["cost"]
    found = coverage(class_scores, lambda *rows: multiclass(*rows, costs=costs), truth, n=500, runs=runs)
    assert found.keys() == truth.keys()
    assert found.pop("roc_auc") >= 0.95  # allows for areas that err together, so it is wide
    assert outside(found, runs) == {}


@RUNS
def test_intervals_of_measures_of_numbers_hold(runs):
    truth = values(numbers(*number_pairs(np.random.default_rng(99), 500_000)))
    found = coverage(number_pairs, numbers, truth, n=500, runs=runs)
    assert found.keys() == truth.keys()
    assert outside(found, runs) == {}


def test_intervals_at_their_limits_are_not_empty():
    found = binary(np.array([0.9] * 20 + [0.1] * 20), np.arange(40) < 20, costs=COSTS).measures
    for name in ("accuracy", "f1", "mcc", "roc_auc", "pr_auc", "balanced_accuracy"):
        assert found[name].high == found[name].value == 1.0
        assert 0.5 < found[name].low < 0.95
    assert found["cost"].value == 0.0
    assert found["cost"].high > 0.05
    one = numbers(np.array([3.0]), np.array([1.0])).measures
    assert one["mae"].low is None
    assert one["mae"].value == one["rmse"].value == 2.0


def test_delong_is_the_variance_over_pairs():
    """Against the definition, row by row."""
    rng = np.random.default_rng(10)
    a, b = rng.integers(2, 6, 30), rng.integers(0, 5, 50)
    wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    variance = wins.mean(axis=1).var(ddof=1) / 30 + wins.mean(axis=0).var(ddof=1) / 50
    found = roc_auc(np.bincount(a, minlength=6), np.bincount(b, minlength=6), 0.95)
    assert found is not None
    assert asdict(found) == pytest.approx(asdict(bounded(wins.mean(), variance, 80)))


def test_a_single_positive_has_an_interval():
    found = roc_auc(np.array([0, 0, 1]), np.array([50, 40, 9]), 0.95)
    assert found is not None
    assert found.low is not None
    assert found.low < 0.7
    assert found.value == pytest.approx((90 + 4.5) / 99)


def test_wilson_agrees_with_scipy():
    for k, n in ((0, 7), (3, 20), (50, 50)):
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        low, high = wilson(np.array(k / n), np.array(float(n)), 0.95)
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high))
    assert mean_of_proportions(np.array([3]), np.array([20])).low == pytest.approx(
        stats.binomtest(3, 20).proportion_ci(method="wilson").low
    )


def test_other_levels_are_wider_or_narrower():
    score, truth = beta_scores(np.random.default_rng(11), 400)
    narrow, usual, wide = (binary(score, truth, level=level).measures for level in (0.5, 0.95, 0.999))
    for name, one in usual.items():
        assert wide[name].low <= one.low <= narrow[name].low <= one.value
        assert one.value <= narrow[name].high <= one.high <= wide[name].high


rows_of_any_kind = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2]),
        st.sampled_from([0, 1, 2]),
        st.sampled_from([0.0, 1e-9, 0.2, 0.5, 0.5001, 1.0, float("nan"), 1.5]),
        st.floats(allow_nan=True, allow_infinity=True),
        st.floats(-1e3, 1e3),
        st.integers(0, 10_000 * HOUR),
    ),
    max_size=12,
)


def mixed(drawn, task):
    predicted, label, score, value, truth, delay = (np.array(x) for x in zip(*drawn, strict=True))
    known = np.array([YES, NO, CLASSES[0]])
    found = labels(known[label], truth.astype(float), delay.astype(np.int64))
    if task == "regression":
        return predictions(np.zeros(len(drawn), np.uint64), value=value.astype(float)), found
    each = {}
    if task == "multiclass_classification":
        scores = np.stack([score, 1 - score], axis=1)
        each = {"classes": np.tile(known[:2], (len(drawn), 1)), "scores": scores}
    return predictions(known[predicted], score=score.astype(float), **each), found


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification", "regression"])
@given(kept=rows_of_any_kind, withdrawn=rows_of_any_kind)
def test_corrections_leave_no_trace_and_nothing_is_ever_nan(task, kept, withdrawn):
    parts = [part for drawn in (kept,) if drawn for part in counted(*mixed(drawn, task))]
    undone = [
        p for drawn in (withdrawn,) if drawn for s in (1, -1) for p in counted(*mixed(drawn, task), sign=s)
    ]
    options: dict[str, Any] = {"positive": POSITIVE, "names": NAMES, "costs": COSTS}
    found = realised(total(*parts), task, **options)
    assert realised(total(*undone, *parts), task, **options) == found
    assert found.predicted == len(kept)
    assert found.labelled + found.unreadable == len(kept)
    for name, one in found.measures.items():
        assert isfinite(one.value), name
        assert one.low is None or (isfinite(one.low) and one.low <= one.value), name
        assert one.high is None or (isfinite(one.high) and one.value <= one.high), name
        assert 0 < one.n <= len(kept), name


@given(
    counts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8).filter(
        lambda x: sum(p for p, _ in x) and sum(q for _, q in x)
    )
)
def test_areas_are_those_of_the_cells(counts):
    positives, negatives = np.array(counts).T
    cell = np.arange(len(counts))
    truth = np.concatenate((np.ones(positives.sum()), np.zeros(negatives.sum())))
    score = np.concatenate((np.repeat(cell, positives), np.repeat(cell, negatives)))
    assert roc_auc(positives, negatives, 0.95).value == pytest.approx(metrics.roc_auc_score(truth, score))
    tied = average_precision(positives, negatives, np.ones(len(counts), bool), 0.95)
    assert tied.value == pytest.approx(metrics.average_precision_score(truth, score))
    error = calibration_error(positives, negatives, (cell + 0.5) / len(counts), 0.95)
    assert error is not None
    assert error.low is not None
    assert error.high is not None
    assert 0 <= error.low <= error.value <= error.high <= 1


def test_labels_that_no_score_was_given_for_cost_what_probability_0_costs():
    scores = np.array([[0.7, 0.3], [0.6, 0.4]])
    rows = predictions(
        CLASSES[[0, 0]], score=scores[:, 0], classes=np.tile(CLASSES[:2], (2, 1)), scores=scores
    )
    records = total(*counted(rows, labels(CLASSES[[0, 2]])))
    found = realised(records, "multiclass_classification", positive=POSITIVE, names=CLASS_NAMES)
    assert values(found)["log_loss"] == pytest.approx(-(log(0.7) + log(1e-15)) / 2)
    assert (records["family"] == Family.ONE_AGAINST_REST).any()
