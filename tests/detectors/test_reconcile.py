"""Evidence from labels: e-values though the reference is only an estimate; and changes that add up."""

import numpy as np
import pytest

from detectors.calibrator import Calibrator
from detectors.expected_loss import ExpectedLoss
from detectors.ledger import Ledger
from detectors.outcomes import RECORD, Family
from detectors.reconcile import TILTS, calibration_evidence, split_change, split_loss_change
from tests.detectors.outcome_rows import NEGATIVE, POSITIVE, of_classes, of_numbers

CELLS = np.arange(60, 300, 12)
TRUTH = np.linspace(0.01, 0.95, len(CELLS))


EVEN = np.full(len(CELLS), 1 / len(CELLS))
SLANTED = np.linspace(0.2, 1.8, len(CELLS)) / len(CELLS)


def labels_of(generator, n, truth=TRUTH, share=EVEN, *, is_exact=False):
    """Labels of n predictions, as records: by cell, first the positive ones."""
    rows = np.rint(n * share).astype(int) if is_exact else generator.multinomial(n, share)
    good = generator.binomial(rows, truth)
    found = np.zeros(2 * len(CELLS), RECORD)
    found["family"], found["cell"] = Family.LABELLED, np.tile(CELLS, 2)
    found["a"] = np.where(found["cell"] >= 177, POSITIVE, NEGATIVE)
    found["b"] = np.repeat([POSITIVE, NEGATIVE], len(CELLS))
    found["n"] = np.concatenate((good, rows - good))
    return found


def evidence(calibrator, records, **options):
    return calibration_evidence(calibrator, records, **options)


def test_there_are_44_tilts_whose_weights_sum_to_1():
    assert [len(x) for x in TILTS] == [44] * 3
    assert TILTS.weight.sum() == pytest.approx(1)


@pytest.mark.parametrize(("m", "n"), [(500, 300), (5_000, 500), (50_000, 1_000)])
def test_the_mean_of_e_is_at_most_1_though_the_reference_is_estimated(m, n):
    generator = np.random.default_rng(1)
    found = []
    for _ in range(150):
        calibrator = Calibrator.fit(labels_of(generator, m), (POSITIVE,))
        found += [evidence(calibrator, labels_of(generator, n), tolerance=0.0) for _ in range(8)]
    e = np.exp(found)
    assert (e.mean(axis=0) <= 1 + 3 * e.std(axis=0) / len(e) ** 0.5).all()
    assert (e @ TILTS.weight).mean() <= 1


def test_a_reference_without_error_gives_likelihood_ratios_of_mean_1():
    generator = np.random.default_rng(2)
    reference = labels_of(generator, 0)
    reference["n"] = np.concatenate((TRUTH, 1 - TRUTH)) * 1e9
    calibrator = Calibrator.fit(reference, (POSITIVE,))
    e = np.exp([evidence(calibrator, labels_of(generator, 20), tolerance=0.0) for _ in range(3_000)])
    mild = np.abs(TILTS.shift) <= 0.2
    assert np.abs(e.mean(axis=0)[mild] - 1).max() < 0.12
    assert e.mean(axis=0)[mild].mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_tolerated_is_no_evidence(sign):
    generator = np.random.default_rng(3)
    calibrator = Calibrator.fit(labels_of(generator, 200_000), (POSITIVE,))
    truth = (TRUTH + sign * 0.02).clip(0, 1)
    e = np.exp([evidence(calibrator, labels_of(generator, 500, truth), tolerance=0.02) for _ in range(400)])
    assert (e.mean(axis=0) <= 1 + 3 * e.std(axis=0) / 20).all()


@pytest.mark.parametrize("m", [1_000, 20_000])
def test_false_alarms_stay_within_the_budget_with_one_reference_for_all_windows(m):
    generator, streams, windows, budget = np.random.default_rng(4), 60, 60, 0.02
    calibrators = [Calibrator.fit(labels_of(generator, m), (POSITIVE,)) for _ in range(streams)]
    ledger, alarms = Ledger(np.zeros((1, 44, streams), np.float32)), 0
    for _ in range(windows):
        found = [evidence(c, labels_of(generator, 400), tolerance=0.0) for c in calibrators]
        step = ledger.step(
            np.array(found).T[None],
            np.full(streams, budget),
            np.repeat(TILTS.weight[:, None], streams, axis=1),
        )
        alarms += int(step.is_alarm.sum())
    assert alarms <= budget * streams * windows


@pytest.mark.parametrize(("shift", "windows"), [(0.5, 6), (-0.5, 6), (1.0, 2)])
def test_scores_that_change_their_meaning_are_found(shift, windows):
    generator = np.random.default_rng(5)
    calibrator = Calibrator.fit(labels_of(generator, 50_000), (POSITIVE,))
    truth = 1 / (1 + np.exp(-np.log(TRUTH / (1 - TRUTH)) - shift))
    ledger, weights = Ledger(np.zeros((1, 44, 1), np.float32)), TILTS.weight[:, None]
    found = [
        ledger.step(
            evidence(calibrator, labels_of(generator, 1_000, truth))[None, :, None], np.full(1, 1e-5), weights
        )
        for _ in range(windows)
    ]
    assert any(step.is_alarm.any() for step in found)


def test_other_inputs_alone_are_no_evidence():
    generator = np.random.default_rng(6)
    calibrator = Calibrator.fit(labels_of(generator, 20_000), (POSITIVE,))
    share = np.arange(1, len(CELLS) + 1) / np.arange(1, len(CELLS) + 1).sum()
    log_e = [evidence(calibrator, labels_of(generator, 1_000, share=share)) for _ in range(50)]
    assert (np.exp(log_e) @ TILTS.weight).mean() < 1


def test_dispersion_and_small_references_make_evidence_weaker():
    generator = np.random.default_rng(7)
    truth = (TRUTH + 0.1).clip(0, 1)
    window = labels_of(generator, 1_000, truth)
    large, small = (Calibrator.fit(labels_of(generator, m), (POSITIVE,)) for m in (50_000, 1_000))
    best = evidence(large, window).max()
    assert best > evidence(large, window, dispersion=3.0).max() > 0
    assert best > evidence(small, window).max()


def test_no_labels_are_no_evidence_and_one_class_is_finite():
    calibrator = Calibrator.fit(labels_of(np.random.default_rng(8), 1_000), (POSITIVE,))
    assert (evidence(calibrator, np.zeros(0, RECORD)) == 0).all()
    one = of_classes(np.ones(10**4), np.zeros(10**4), np.ones(10**4)).labelled
    assert np.isfinite(evidence(calibrator, one)).all()
    assert np.isfinite(evidence(Calibrator.fit(one, (POSITIVE,)), one)).all()
    unknown = Calibrator.fit(np.zeros(0, RECORD), (POSITIVE,))
    assert evidence(unknown, labels_of(np.random.default_rng(9), 1_000)).max() < 0


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1", "roc_auc"])
def test_changes_add_up_and_each_part_gets_its_own(metric):
    generator = np.random.default_rng(10)
    reference = labels_of(generator, 400_000, is_exact=True)
    calibrator = Calibrator.fit(reference, (POSITIVE,))
    changed = TRUTH**2
    inputs, meaning = (
        split_change(
            calibrator, reference, labels_of(generator, 200_000, truth, share, is_exact=True), metric
        )
        for truth, share in ((TRUTH, SLANTED), (changed, EVEN))
    )
    for change in (inputs, meaning):
        assert change.covariate.value + change.concept.value == pytest.approx(change.total.value)
    assert abs(inputs.covariate.value) > 5 * abs(inputs.concept.value)
    assert abs(meaning.concept.value) > 20 * abs(meaning.covariate.value)
    assert inputs.concept.low < 0.001
    assert inputs.concept.high > -0.001


def test_intervals_of_the_parts_hold():
    generator = np.random.default_rng(11)
    right = np.where(CELLS >= 177, TRUTH, 1 - TRUTH)
    shifted = TRUTH * 0.9
    concept = (SLANTED * np.where(CELLS >= 177, shifted - TRUTH, TRUTH - shifted)).sum()
    covariate = ((SLANTED - EVEN) * right).sum()
    truths = np.array([covariate + concept, covariate, concept])
    held = []
    for _ in range(200):
        reference = labels_of(generator, 3_000, is_exact=True)
        window = labels_of(generator, 2_000, shifted, SLANTED, is_exact=True)
        change = split_change(Calibrator.fit(reference, (POSITIVE,)), reference, window, "accuracy")
        low, high = np.array([(x.low, x.high) for x in (change.total, change.covariate, change.concept)]).T
        held.append((low <= truths) & (truths <= high))
    assert np.mean(held, axis=0) == pytest.approx(np.full(3, 0.9), abs=0.06)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_changes_of_losses_add_up_too(metric):
    generator = np.random.default_rng(12)

    def rows(n, scale, noise):
        predicted = generator.gamma(2.0, scale, n)
        return of_numbers(predicted, predicted + generator.normal(0, noise * predicted, n)).labelled

    reference = rows(40_000, 10.0, 0.1)
    model = ExpectedLoss.fit(reference)
    inputs = split_loss_change(model, reference, rows(20_000, 15.0, 0.1), metric)
    meaning = split_loss_change(model, reference, rows(20_000, 10.0, 0.15), metric)
    assert inputs.covariate.value + inputs.concept.value == pytest.approx(inputs.total.value)
    assert abs(inputs.covariate.value) > 5 * abs(inputs.concept.value)
    assert meaning.concept.low > 5 * abs(meaning.covariate.value)


def test_changes_of_what_is_not_defined_are_none():
    nothing = np.zeros(0, RECORD)
    some = of_classes([1, 1], [1, 1], [0.8, 0.9]).labelled
    calibrator = Calibrator.fit(some, (POSITIVE,))
    assert split_change(calibrator, some, nothing, "accuracy") is None
    assert split_change(calibrator, some, some, "roc_auc") is None
    numbers = of_numbers([1.0], [2.0]).labelled
    assert split_loss_change(ExpectedLoss.fit(numbers), numbers, nothing, "mae") is None
    assert split_loss_change(ExpectedLoss.fit(numbers), numbers, numbers, "rmse").total.value == 0
