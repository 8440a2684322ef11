"""The ledger: alarms within the budget whatever the streams do, and arithmetic that stays finite."""

import numpy as np
import pytest

from detectors.ledger import Ledger
from detectors.tensor import FloatArray
from detectors.tilts import AXIS, TILTS, axis_directions, log_evalues, tilt_weights
from tests.detectors.test_tilts import edge_of_the_ball

BINS, STREAMS, WINDOWS = 8, 300, 200
EPSILON = 0.1


class World:
    """300 streams with shares of their own, the ordered ones and some nominal."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        p = self.generator.dirichlet(np.full(BINS, 2.0), STREAMS).T + 1e-3
        self.p = p / p.sum(axis=0)
        valid = np.ones(p.shape, dtype=bool)
        self.axis = axis_directions(self.p, valid & (np.arange(STREAMS) % 3 > 0))
        self.weights = tilt_weights(valid, self.axis)
        self.ones = np.ones((AXIS + BINS, STREAMS))

    def edge(self, direction: int, sign: float, epsilon: float = EPSILON) -> FloatArray:
        """Shares at the edge of the ball, where one direction's mean is moved most."""
        h = np.concatenate([self.axis, np.eye(BINS)[:, :, None] * np.ones(STREAMS)])[direction]
        return edge_of_the_ball(self.p, sign * h, epsilon)

    def log_evalues(self, truth: FloatArray, rows: int) -> FloatArray:
        shares = np.maximum(truth.T, 0)
        x = self.generator.multinomial(rows, shares / shares.sum(axis=1)[:, None]).T.astype(float)
        return log_evalues(x, self.p, self.axis, EPSILON * self.ones, self.ones)


def follow_evidence(world: World, ledger: Ledger, choice: list[FloatArray]) -> FloatArray:
    """Of several truths within the ball, the one that each stream's present masses would gain most from."""
    unit = np.eye(BINS)[:, :, None] * np.ones(STREAMS)
    mass = ledger.mass * world.weights
    values = [np.exp(log_evalues(row, world.p, world.axis, EPSILON * world.ones, world.ones)) for row in unit]
    gains = np.stack([(mass * value).sum(axis=(0, 1)) for value in values])
    expected = np.stack([(truth * gains).sum(axis=0) for truth in choice])
    best = expected.argmax(axis=0)
    return np.take_along_axis(np.stack(choice), best[None, None], axis=0)[0]


@pytest.mark.parametrize(("rows", "budget"), [(30, 2e-2), (1_000, 2e-3)])
def test_null_streams_on_the_edge_raise_no_more_alarms_than_budgeted(rows, budget):
    world = World(seed=1)
    ledger = Ledger.empty(STREAMS, AXIS + BINS)
    corners = [world.edge(direction, sign) for direction in (1, 5) for sign in (-1.0, 1.0)]
    group = np.arange(STREAMS) % len(corners)
    truth = np.stack(corners)[group, :, np.arange(STREAMS)].T
    alarms = 0
    for _ in range(WINDOWS):
        step = ledger.step(world.log_evalues(truth, rows), np.full(STREAMS, budget), world.weights)
        alarms += int(step.is_alarm.sum())
    total = budget * STREAMS * WINDOWS
    assert alarms <= total + 3 * np.sqrt(total)
    beyond = np.stack([world.edge(direction, sign, 0.6) for direction in (1, 5) for sign in (-1.0, 1.0)])
    outside = beyond[group, :, np.arange(STREAMS)].T
    evidence = [world.log_evalues(outside, rows) for _ in range(60)]
    found = [ledger.step(values, np.full(STREAMS, budget), world.weights).is_alarm for values in evidence]
    assert np.any(found, axis=0).mean() > 0.7  # and yet it can raise alarms


def test_a_truth_that_moves_against_the_ledger_gains_nothing():
    world = World(seed=2)
    ledger = Ledger.empty(STREAMS, AXIS + BINS)
    choice = [world.edge(direction, sign) for direction in (0, 1, 3, 7) for sign in (-1.0, 1.0)]
    budget, alarms = 1e-2, 0
    for _ in range(WINDOWS // 2):
        truth = follow_evidence(world, ledger, choice)
        step = ledger.step(world.log_evalues(truth, 200), np.full(STREAMS, budget), world.weights)
        alarms += int(step.is_alarm.sum())
    total = budget * STREAMS * WINDOWS / 2
    assert 0 < alarms <= total + 3 * np.sqrt(total)


def fair(generator: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """E-values with mean exactly 1 that are often large: 4 with probability ¼, else next to nothing."""
    return np.where(generator.random(shape) < 0.25, np.log(4.0), -50.0)


def test_random_budgets_that_are_fixed_beforehand_are_kept_and_used_up():
    generator = np.random.default_rng(3)
    streams, ledger = 2_000, Ledger.empty(2_000, 4)
    weights = np.full((4, streams), 1 / 4 / TILTS)
    spent, alarms, evidence = 0.0, 0, np.zeros(streams)
    for window in range(150):
        # More where evidence has gathered, nothing in some windows: anything that is known before.
        budget = generator.exponential(0.02, streams) * (1 + 3 * (evidence > 0.2)) * (window % 5 > 0)
        shared = np.broadcast_to(fair(generator, (1, 1, streams)), (TILTS, 4, streams))
        step = ledger.step(shared, budget, weights)
        evidence = np.exp(step.evidence_log) * ~step.is_alarm
        spent += float(budget.sum())
        alarms += int(step.is_alarm.sum())
    left = float((ledger.mass * weights).sum())
    noise = 4 * np.sqrt(spent)
    assert alarms + left <= spent + noise
    assert alarms > 0.3 * spent  # alarms overshoot the threshold, so that some of the budget is lost


def test_no_alarm_before_any_budget_and_all_masses_gone_after_one():
    ledger = Ledger.empty(3, 5)
    weights = np.full((5, 3), 1 / 5 / TILTS)
    strong = np.full((TILTS, 5, 3), 12.0)
    first = ledger.step(strong, np.zeros(3), weights)
    assert not first.is_alarm.any()
    assert np.isneginf(first.evidence_log).all()
    second = ledger.step(strong, np.array([0.0, 1e-7, 1e-4]), weights)
    assert second.is_alarm.tolist() == [False, False, True]
    assert second.evidence_log[1] == pytest.approx(12 + np.log(1e-7), abs=1e-4)
    assert not ledger.mass[..., 2].any()
    assert ledger.mass[..., 1].all()


def test_evidence_is_the_weighted_mean_of_the_masses():
    generator = np.random.default_rng(4)
    ledger = Ledger.empty(6, 4)
    weights = generator.dirichlet(np.ones(4), 6).T / TILTS
    mass = np.zeros((TILTS, 4, 6))
    for _ in range(20):
        values, budget = generator.normal(-0.3, 0.4, mass.shape), generator.random(6) * 1e-4
        step = ledger.step(values, budget, weights)
        mass = (mass + budget) * np.exp(values)
        alone = np.log((np.exp(values) * weights).sum(axis=(0, 1)))
        assert step.window_log == pytest.approx(alone, abs=1e-5)
    assert step.evidence_log == pytest.approx(np.log((mass * weights).sum(axis=(0, 1))), abs=1e-5)


@pytest.mark.parametrize("value", [-1e12, -700.0, 0.0, 700.0, 1e12])
def test_extreme_evalues_leave_finite_masses(value):
    ledger = Ledger.empty(2, 1_000)
    weights = np.full((1_000, 2), 1 / 1_000 / TILTS)
    for _ in range(3):
        step = ledger.step(np.full((TILTS, 1_000, 2), value), np.full(2, 1e-8), weights)
        assert np.isfinite(ledger.mass).all()
        assert np.isfinite(step.evidence_log).all()
        assert step.is_alarm.all() == (value > 1)


def test_masses_stay_out_of_the_slow_range_of_small_numbers():
    ledger = Ledger.empty(2, 3)
    for _ in range(1_000):
        ledger.step(np.full((TILTS, 3, 2), -1e6), np.full(2, 1e-12), np.full((3, 2), 1 / 36))
    assert ledger.mass.min() > np.finfo(np.float32).tiny


def test_a_stream_does_not_depend_on_those_beside_it():
    generator = np.random.default_rng(5)
    weights = generator.dirichlet(np.ones(7), 33).T / TILTS
    whole, part = Ledger.empty(33, 7), Ledger.empty(5, 7)
    for _ in range(30):
        values, budget = generator.normal(-0.05, 1, (TILTS, 7, 33)), generator.random(33) * 0.01
        all_, some = (
            whole.step(values, budget, weights),
            part.step(values[..., 9:14], budget[9:14], weights[:, 9:14]),
        )
        assert some.evidence_log.tobytes() == all_.evidence_log[9:14].tobytes()
    assert part.mass.tobytes() == np.ascontiguousarray(whole.mass[..., 9:14]).tobytes()


def test_resting_streams_raise_no_alarm_and_remember_which_tilts_fitted():
    weights = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0]]) / TILTS
    ledger, is_resting = Ledger.empty(3, 3), np.array([True, False, True])
    values = np.zeros((TILTS, 3, 3))
    values[:, 0] = 5.0
    steps = [ledger.step(values, np.array([0.0, 1e-4, 0.0]), weights, is_resting) for _ in range(2)]
    assert [step.is_alarm.tolist() for step in steps] == [[False] * 3, [False, True, False]]
    assert np.isneginf(steps[1].evidence_log[[0, 2]]).all()
    share = (np.exp(5.0) + 1) / 2
    assert np.exp(steps[0].led_log) == pytest.approx(share)  # all tilts alike at first
    assert (steps[1].led_log > 4.9).all()
    total = (ledger.mass.sum(axis=0) * weights).sum(axis=0)
    assert total == pytest.approx(1.0)  # of the one that raised an alarm, too: it rests from now on


def test_resting_masses_stay_finite_whatever_comes():
    weights = np.array([[1.0, 0.5], [0.0, 0.5], [0.0, 0.0]]) / TILTS
    ledger, is_resting = Ledger.empty(2, 3), np.ones(2, bool)
    generator = np.random.default_rng(4)
    for number in range(60):
        values = np.zeros((TILTS, 3, 2))
        values[:, :2] = generator.choice([-1e6, 1e6, 0.0], (TILTS, 2, 2)) if number % 3 else -1e6
        step = ledger.step(values, np.zeros(2), weights, is_resting)
        assert np.isfinite(step.led_log).all()
        assert np.isfinite(ledger.mass).all()
        assert (ledger.mass.sum(axis=0) * weights).sum(axis=0) == pytest.approx(1.0)


def test_the_evidence_that_the_digest_takes_has_an_expectation_of_one():
    """Two outcomes for each tilt, fair under the null: whatever was collected before, the mean is 1."""
    weights = np.full((2, 2), 1 / 24)
    ledger = Ledger.empty(2, 2)
    ledger.step(
        np.random.default_rng(6).normal(0, 2, (TILTS, 2, 2)),
        np.array([1e-3, 0.0]),
        weights,
        np.array([False, True]),
    )
    means = np.zeros(2)
    for log in (2.0, -2.0):
        copy = Ledger(ledger.mass.copy())
        chance = (1 - np.exp(-2)) / (np.exp(2) - np.exp(-2))
        values = np.full((TILTS, 2, 2), log)
        values[:, 1] = 0.0
        step = copy.step(values, np.array([1e-3, 0.0]), weights, np.array([False, True]))
        means += np.exp(step.led_log) * (chance if log > 0 else 1 - chance)
    assert means == pytest.approx(1.0, abs=1e-5)
