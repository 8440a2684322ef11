"""Directions and e-values against a slow computation from their definition, and the inequality below them."""

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import special

from detectors.tensor import BoolArray, FloatArray
from detectors.tilts import (
    AXIS,
    STRENGTHS,
    TILTS,
    axis_directions,
    log_evalues,
    projections,
    smoothed,
    tilt_weights,
)

# Bins, how many of them are ordered, how many are padding.
SHAPES = [
    (16, 14, 0),
    (16, 0, 0),
    (5, 4, 0),
    (5, 4, 3),
    (3, 1, 1),
    (2, 2, 0),
    (2, 0, 3),
    (4, 2, 0),
    (1, 1, 0),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def columns(
    shape: tuple[int, int, int], seed: int, streams: int = 12
) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Shares with tiny and with dominant bins, which bins exist, which are ordered: each ``[K, N]``."""
    bins, axis, padding = shape
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.full(bins, 0.7), streams) + 10.0 ** generator.uniform(-11, -2, (streams, bins))
    p = np.pad(p / p.sum(axis=1, keepdims=True), ((0, 0), (0, padding)))
    place = np.broadcast_to(np.arange(bins + padding)[:, None], (bins + padding, streams))
    return np.ascontiguousarray(p.T), place < bins, place < axis


def slow_directions(p: list[float], ordered: list[bool]) -> list[list[float]]:
    """All directions of one stream, in order, from their definition; those of the axis by QR."""
    inside = [share if mine else 0.0 for share, mine in zip(p, ordered, strict=True)]
    places = [k for k, mine in enumerate(ordered) if mine]
    found = [[0.0] * len(p) for _ in range(AXIS)]
    if places:
        total = sum(inside)
        ranks = [(sum(inside[:k]) + inside[k] / 2) / total for k in places]
        z = special.ndtri(np.clip(ranks, 1e-12, 1 - 1e-12))
        root = np.sqrt([inside[k] for k in places])
        count = min(len(places), AXIS + 1)
        q, r = np.linalg.qr(np.stack([root * z**power for power in range(count)], axis=1))
        for power in range(1, count):
            for column, k in enumerate(places):
                found[power - 1][k] = np.sign(r[power, power]) * q[column, power] / root[column]
    for k, share in enumerate(p):
        spread = sqrt(share * (1 - share))
        indicator = [((j == k) - share) / spread if spread > 0 else 0.0 for j in range(len(p))]
        found.append([value if p[j] > 0 else 0.0 for j, value in enumerate(indicator)])
    return found


def slow_log_evalue(
    x: list[float], p: list[float], h: list[float], tilt: float, epsilon: float, d: float
) -> float:
    """One log e-value from q ∝ p·exp(min(±θh, ln 50)), with loops over the bins."""
    weights = [share * exp(min(tilt * value, log(50))) for share, value in zip(p, h, strict=True)]
    logs = [
        log(weight / sum(weights) / share) if share > 0 else 0.0
        for weight, share in zip(weights, p, strict=True)
    ]
    mean = sum(share * exp(value) for share, value in zip(p, logs, strict=True))
    spread = sqrt(sum(share * (exp(value) - mean) ** 2 for share, value in zip(p, logs, strict=True)))
    n = sum(x)
    evidence = sum(count * value for count, value in zip(x, logs, strict=True))
    return (evidence - n * log(mean + epsilon * spread)) / d


@each_shape
def test_axis_directions_are_orthonormal_and_live_on_the_axis(shape):
    p, _, ordered = columns(shape, seed=1, streams=40)
    axis = axis_directions(p, ordered)
    products = np.einsum("akn,bkn,kn->nab", axis, axis, p)
    there = np.arange(AXIS) < shape[1] - 1
    assert np.abs(products - np.diag(there)).max() < 1e-9
    assert np.abs((axis * p).sum(axis=1)).max() < 1e-9
    assert not axis[:, ~ordered].any()


def test_axis_directions_are_location_scale_and_skew():
    p, _, ordered = columns((7, 7, 0), seed=2, streams=1)
    location, scale, skew = (h[:, 0] for h in axis_directions(p, ordered))
    assert (np.diff(location) > 0).all()
    assert np.flatnonzero(np.diff(np.sign(scale))).size == 2
    assert scale[0] > 0 < scale[-1]
    assert np.flatnonzero(np.diff(np.sign(skew))).size == 3
    assert skew[-1] > 0


@each_shape
def test_weights_of_all_tilts_sum_to_one(shape):
    p, valid, ordered = columns(shape, seed=3)
    weights = tilt_weights(valid, axis_directions(p, ordered)) * TILTS
    assert weights.sum(axis=0) == pytest.approx(1, abs=1e-12)
    assert (weights >= 0).all()
    assert not weights[AXIS:][~valid].any()
    on_axis = np.where(np.arange(AXIS) < shape[1] - 1, [0.4, 0.2, 0.1], 0)
    assert weights[:AXIS, 0] == pytest.approx(on_axis)


@each_shape
@pytest.mark.parametrize("rows", [1, 300, 10**6])
def test_evalues_are_those_of_the_definition(shape, rows):
    p, _, ordered = columns(shape, seed=4)
    generator = np.random.default_rng(5)
    q = generator.dirichlet(np.full(shape[0], 0.5), p.shape[1])
    x = np.pad(generator.multinomial(rows, q), ((0, 0), (0, shape[2]))).T.astype(float)
    directions = AXIS + len(p)
    epsilon = generator.uniform(0, 0.3, (directions, p.shape[1]))
    dispersion = generator.uniform(1, 9, (directions, p.shape[1]))
    found = log_evalues(x, p, axis_directions(p, ordered), epsilon, dispersion)
    assert found.shape == (TILTS, directions, p.shape[1])
    for stream in range(p.shape[1]):
        shares, counts = p[:, stream].tolist(), x[:, stream].tolist()
        for direction, h in enumerate(slow_directions(shares, ordered[:, stream].tolist())):
            # The first tilts of a bin with most of the rows are those of the rest.
            turned = direction >= AXIS and shares[direction - AXIS] > 0.5
            tilts = [sign * strength for sign in ((-1, 1) if turned else (1, -1)) for strength in STRENGTHS]
            radius, d = epsilon[direction, stream], dispersion[direction, stream]
            slow = [slow_log_evalue(counts, shares, h, tilt, radius, d) for tilt in tilts]
            assert found[:, direction, stream] == pytest.approx(slow, rel=1e-8, abs=1e-8 + 1e-10 * rows)


def test_evalues_of_a_hundred_million_rows_are_exact_to_a_hundredth():
    p, _, ordered = columns((6, 5, 0), seed=6, streams=3)
    x = np.random.default_rng(7).multinomial(10**8, p.T / p.sum(axis=0)[:, None]).T.astype(float)
    ones = np.ones((AXIS + 6, 3))
    found = log_evalues(x, p, axis_directions(p, ordered), 0.1 * ones, ones)
    h = slow_directions(p[:, 0].tolist(), ordered[:, 0].tolist())[0]
    for tilt, strength in enumerate(STRENGTHS):
        slow = slow_log_evalue(x[:, 0].tolist(), p[:, 0].tolist(), h, strength, 0.1, 1.0)
        assert found[tilt, 0, 0] == pytest.approx(slow, abs=0.01)


@each_shape
def test_projections_are_the_means_of_the_directions(shape):
    p, _, ordered = columns(shape, seed=8)
    x = np.pad(np.random.default_rng(9).integers(0, 50, (p.shape[1], shape[0])), ((0, 0), (0, shape[2])))
    x[0] = 0
    found = projections(x.T.astype(float), p, axis_directions(p, ordered))
    assert not found[:, 0].any()
    for stream in range(1, p.shape[1]):
        n = max(int(x[stream].sum()), 1)
        directions = slow_directions(p[:, stream].tolist(), ordered[:, stream].tolist())
        means = [sum(c * v for c, v in zip(x[stream].tolist(), h, strict=True)) / n for h in directions]
        assert found[:, stream] == pytest.approx(means, rel=1e-6, abs=1e-9)


def edge_of_the_ball(p: FloatArray, toward: FloatArray, epsilon: float) -> FloatArray:
    """Move p as far as Σ(p' − p)²/p = ε² or the positivity of p' allows."""
    move = toward - (toward * p).sum(axis=0)
    move = move * p
    size = np.sqrt((move**2 / np.where(p > 0, p, 1)).sum(axis=0))
    move *= np.where(size > 1e-9, epsilon / np.maximum(size, 1e-9), 0)  # a constant leads nowhere
    room = np.where(move < 0, p / np.where(move < 0, -move, 1), np.inf).min(axis=0)
    return p + move * np.minimum(1, room)


@each_shape
@pytest.mark.parametrize("epsilon", [0.0, 0.03, 0.3, 2.0])
def test_no_truth_within_the_ball_expects_more_than_one(shape, epsilon):
    # The log e-value of one row in bin k is that tilt's value there: its mean is taken over p' exactly.
    p, valid, ordered = columns(shape, seed=10, streams=30)
    p = p + 1e-6 * valid
    p /= p.sum(axis=0)
    axis = axis_directions(p, ordered)
    ones = np.ones((AXIS + len(p), p.shape[1]))
    unit = np.eye(len(p))[:, :, None] * np.ones(p.shape[1])
    values = np.exp([log_evalues(row, p, axis, epsilon * ones, ones) for row in unit])
    generator = np.random.default_rng(11)
    worst = [
        edge_of_the_ball(p, values[:, tilt, direction], epsilon)
        for tilt in range(TILTS)
        for direction in range(AXIS + len(p))
    ]
    random = [edge_of_the_ball(p, generator.normal(size=p.shape), epsilon) for _ in range(50)]
    inside = [edge_of_the_ball(p, generator.normal(size=p.shape), epsilon * u) for u in generator.random(50)]
    largest = 0.0
    for truth in (*worst, *random, *inside):
        assert (truth >= -1e-15).all()
        means = np.einsum("kn,ktdn->tdn", truth, values)
        largest = max(largest, float(means.max()))
    assert largest <= 1 + 1e-9
    if shape[0] > 1 and epsilon <= 0.03:
        assert largest > 1 - 1e-6  # the bound is reached: it could not be lower


def test_a_stream_does_not_depend_on_those_beside_it():
    p, valid, ordered = columns((9, 7, 2), seed=12, streams=57)
    x = np.random.default_rng(13).integers(0, 9_000, p.shape) * valid.astype(float)
    p[:, 3] = np.where(valid[:, 3], 1e-9, 0)  # one stream reaches the cap
    p[0, 3] += 1 - p[:, 3].sum()
    epsilon = np.random.default_rng(14).uniform(0, 0.3, (AXIS + len(p), 57))
    axis = axis_directions(p, ordered)
    whole = log_evalues(x, p, axis, epsilon, 1 + epsilon)
    for first, last in ((0, 2), (2, 57), (3, 36), (55, 57)):
        part = np.s_[..., first:last]
        mine = axis_directions(p[part].copy(), ordered[part])
        found = log_evalues(x[part].copy(), p[part].copy(), mine, epsilon[part], 1 + epsilon[part])
        assert mine.tobytes() == np.ascontiguousarray(axis[part]).tobytes()
        assert found.tobytes() == np.ascontiguousarray(whole[part]).tobytes()


def test_smoothed_shares_add_half_a_row_to_every_bin():
    valid = np.array([True, True, True, False])
    assert smoothed(np.array([0.0, 5, 0, 0]), valid) == pytest.approx([0.5 / 6.5, 5.5 / 6.5, 0.5 / 6.5, 0])


@pytest.mark.parametrize("epsilon", [0.03, 0.1])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_change_a_little_beyond_the_tolerance_gathers_evidence(epsilon, share):
    """Of what the best of all tilts would gather, about n(δ − ε)²/2, at least a quarter."""
    n, delta = 10_000.0, epsilon + 0.02
    p = np.array([[share, share], [1 - share, 1 - share]])
    moved = share + delta * sqrt(share * (1 - share))
    x = n * np.array([[moved, moved], [1 - moved, 1 - moved]])
    axis = axis_directions(p, np.zeros((2, 2), bool))
    found = log_evalues(x, p, axis, np.full((AXIS + 2, 2), epsilon), np.ones((AXIS + 2, 2)))
    assert found[:, AXIS:, 0].max() > n * (delta - epsilon) ** 2 / 8
