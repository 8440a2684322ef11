"""Measures of classification that follow from counts of (predicted, label)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.intervals import Measure, bounded, mean_of_proportions, proportion
from detectors.outcomes import Records
from detectors.tensor import FloatArray, HashArray, IntArray


@dataclass(frozen=True)
class Confusion:
    """How often which class was predicted when which was right.

    Parameters
    ----------
    names : tuple of str
        The K classes that occur, in alphabetical order.
    predicted, label : int64 array [m]
        Indices of classes; each pair occurs once.
    n : int64 array [m]
        Rows, above 0.
    """

    names: tuple[str, ...]
    predicted: IntArray
    label: IntArray
    n: IntArray

    @classmethod
    def of(cls, labelled: Records, names: Mapping[int, str]) -> Confusion:
        """Count records of the family `LABELLED`.

        Parameters
        ----------
        labelled : records
        names : mapping of int to str
            Name of each class by its hash. Hashes of the same name are one class; a hash without a name is
            called ``#`` and its 16 hexadecimal digits.
        """
        hashes = np.concatenate((labelled["a"], labelled["b"])).view(np.uint64)
        distinct, at = np.unique(hashes, return_inverse=True)
        called = [class_name(h, names) for h in distinct.tolist()]
        known = sorted(set(called))
        place = {name: i for i, name in enumerate(known)}
        code = np.array([place[name] for name in called], np.int64)[at]
        k, half = max(len(known), 1), len(labelled)
        pair, where = np.unique(code[:half] * k + code[half:], return_inverse=True)
        n = np.zeros(len(pair), np.int64)
        np.add.at(n, where, labelled["n"])
        keep = n > 0
        return cls(tuple(known), pair[keep] // k, pair[keep] % k, n[keep])

    def pairs(self) -> list[tuple[str, str, int]]:
        """Return (predicted, label, rows) of the pairs that occur, in alphabetical order."""
        columns = (self.predicted.tolist(), self.label.tolist(), self.n.tolist())
        return [(self.names[a], self.names[b], n) for a, b, n in zip(*columns, strict=True)]

    def margins(self) -> tuple[IntArray, IntArray, IntArray]:
        """Rows of each class that were right, that were predicted so, and that were labelled so, each [K]."""
        right = self.predicted == self.label
        return (
            self._by_class(self.label[right], self.n[right]),
            self._by_class(self.predicted, self.n),
            self._by_class(self.label, self.n),
        )

    def _by_class(self, code: IntArray, n: IntArray) -> IntArray:
        found = np.zeros(len(self.names), np.int64)
        np.add.at(found, code, n)
        return found


def class_name(hashed: int, names: Mapping[int, str]) -> str:
    """Name of a class; of one that has none, its hash.

    Examples
    --------
    >>> class_name(255, {}), class_name(7, {7: "yes"})
    ('#00000000000000ff', 'yes')
    """
    return names.get(hashed, f"#{hashed:016x}")


def binary_counts(labelled: Records, positive: HashArray) -> dict[str, int]:
    """Rows by whether the positive class was predicted (p, n) and whether that was right (t, f).

    Parameters
    ----------
    labelled : records
        Of the family `LABELLED`.
    positive : uint64 array
        Hashes under which the positive class is known; every other class is negative.
    """
    predicted, label = (np.isin(labelled[name].view(np.uint64), positive) for name in ("a", "b"))
    n = labelled["n"]
    return {
        "tp": int(n[predicted & label].sum()),
        "fp": int(n[predicted & ~label].sum()),
        "tn": int(n[~predicted & ~label].sum()),
        "fn": int(n[~predicted & label].sum()),
    }


def binary_measures(counts: Mapping[str, int], level: float) -> dict[str, Measure | None]:
    """Measures of a binary classifier; None where undefined.

    Parameters
    ----------
    counts : mapping of str to int
        As from `binary_counts`.
    level : float
        Coverage of the intervals.

    Notes
    -----
    Proportions have Wilson's interval. F1 = 2J/(1 + J) where J = tp/(tp + fp + fn) is a proportion, so its
    limits are those of J put through the same function: no approximation is needed.

    Examples
    --------
    >>> found = binary_measures({"tp": 8, "fp": 2, "tn": 85, "fn": 5}, 0.95)
    >>> {name: round(found[name].value, 3) for name in ("accuracy", "precision", "recall", "f1", "mcc")}
    {'accuracy': 0.93, 'precision': 0.8, 'recall': 0.615, 'f1': 0.696, 'mcc': 0.664}
    """
    tp, fp, tn, fn = (counts[name] for name in ("tp", "fp", "tn", "fn"))
    n, positives, negatives = tp + fp + tn + fn, tp + fn, tn + fp
    both = positives > 0 and negatives > 0
    parts = np.array([tp, tn]), np.array([positives, negatives])
    return {
        "accuracy": proportion(tp + tn, n, level),
        "balanced_accuracy": mean_of_proportions(*parts, level) if both else None,
        "precision": proportion(tp, tp + fp, level),
        "recall": proportion(tp, positives, level),
        "specificity": proportion(tn, negatives, level),
        "f1": f1(tp, fp + fn, level),
        "mcc": matthews(tp, fp, tn, fn, level),
        "base_rate": proportion(positives, n, level),
        "predicted_positive_rate": proportion(tp + fp, n, level),
    }


def f1(right: int, wrong: int, level: float) -> Measure | None:
    """Harmonic mean of precision and recall; None if the class neither occurs nor is predicted.

    Parameters
    ----------
    right, wrong : int
        True positives; false positives and false negatives together.
    level : float
        Coverage of the interval.
    """
    jaccard = proportion(right, right + wrong, level)
    if jaccard is None:
        return None
    limits = jaccard.moved(lambda j: 2 * j / (1 + j))
    return Measure(2 * right / (2 * right + wrong), limits.low, limits.high, limits.n)


def matthews(tp: int, fp: int, tn: int, fn: int, level: float) -> Measure | None:
    """Matthews' correlation of prediction and label; None if either is constant.

    Notes
    -----
    φ = (tp·tn − fp·fn)/D, D = √(ABCE) of the margins A = tp+fp, B = tp+fn, C = tn+fp, E = tn+fn; its
    derivative by tp is tn/D − φ/2·(1/A + 1/B), and so on. The variance is the delta method's: Σ p·(∂φ/∂p)²/n
    over the four shares p.
    """
    n = tp + fp + tn + fn
    if min(tp + fp, tp + fn, tn + fp, tn + fn) == 0:
        return None
    p = np.array([tp, fp, tn, fn]) / n
    # What each count is multiplied with (with its sign), and the margins that it lies in.
    other = np.array([p[2], -p[3], p[0], -p[1]])
    a, b, c, e = p[0] + p[1], p[0] + p[3], p[2] + p[1], p[2] + p[3]
    root = float(np.sqrt(a * b * c * e))
    phi = float(p[0] * p[2] - p[1] * p[3]) / root
    inverse = np.array([1 / a + 1 / b, 1 / a + 1 / c, 1 / c + 1 / e, 1 / b + 1 / e])
    slope = other / root - phi / 2 * inverse
    return bounded(min(max(phi, -1.0), 1.0), float((p * slope**2).sum()) / n, n, level, least=-1.0)


def multiclass_measures(confusion: Confusion, level: float) -> dict[str, Measure | None]:
    """Measures of a classifier of any classes; None where undefined.

    Parameters
    ----------
    confusion : Confusion
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict of str to (Measure or None)
        ``precision``, ``recall`` and ``f1`` are unweighted means over those classes for which they are
        defined; ``precision[name]`` and so on are of one class.
    """
    right, predicted, labelled = confusion.margins()
    precision = [proportion(*pair, level) for pair in zip(right.tolist(), predicted.tolist(), strict=True)]
    recall = [proportion(*pair, level) for pair in zip(right.tolist(), labelled.tolist(), strict=True)]
    wrong = predicted + labelled - 2 * right
    scores = [f1(*pair, level) for pair in zip(right.tolist(), wrong.tolist(), strict=True)]
    several = int((labelled > 0).sum()) > 1
    found = {
        "accuracy": proportion(int(right.sum()), int(confusion.n.sum()), level),
        "precision": _macro(right, predicted, level),
        "recall": _macro(right, labelled, level),
        "f1": macro_f1(confusion, level),
        "balanced_accuracy": _macro(right, labelled, level) if several else None,
    }
    for name, measures in (("precision", precision), ("recall", recall), ("f1", scores)):
        found |= {f"{name}[{of}]": one for of, one in zip(confusion.names, measures, strict=True)}
    return found


def _macro(right: IntArray, of: IntArray, level: float) -> Measure | None:
    occurs = of > 0
    return mean_of_proportions(right[occurs], of[occurs], level) if occurs.any() else None


def macro_f1(confusion: Confusion, level: float) -> Measure | None:
    """Unweighted mean of the classes' F1, with the delta method's variance; None of no rows.

    Notes
    -----
    F_k = 2·right_k/d_k, d_k = predicted_k + labelled_k. A row (i, j) moves the mean over K classes by
    (2·1{i=j}/d_i − F_i/d_i − F_j/d_j)/K, the mean of which is 0; the variance is the sum of its squares.
    """
    if not len(confusion.n):
        return None
    right, predicted, labelled = confusion.margins()
    d = (predicted + labelled).astype(np.float64)
    each: FloatArray = 2 * right / d
    i, j = confusion.predicted, confusion.label
    influence = (2 * (i == j) / d[i] - each[i] / d[i] - each[j] / d[j]) / len(d)
    variance = float((confusion.n * influence**2).sum())
    return bounded(float(each.mean()), variance, int(confusion.n.sum()), level)


def cost_measures(
    confusion: Confusion, costs: Mapping[tuple[str, str], float], level: float
) -> dict[str, Measure | None]:
    """What predictions cost: ``cost`` in the mean of a labelled one, ``cost_total`` of all that are labelled.

    Parameters
    ----------
    confusion : Confusion
    costs : mapping of (str, str) to float
        Finite cost by (predicted, label), negative for a gain; what is not named costs nothing.
    level : float
        Coverage of the intervals.

    Examples
    --------
    >>> table = Confusion(("no", "yes"), np.array([0, 1]), np.array([1, 1]), np.array([10, 90]))
    >>> found = cost_measures(table, {("no", "yes"): 5.0}, 0.95)
    >>> found["cost"].value, found["cost_total"].value
    (0.5, 50.0)
    """
    n = int(confusion.n.sum())
    if n == 0:
        return {}
    each = np.array([costs.get((a, b), 0.0) for a, b, _ in confusion.pairs()])
    value = float((confusion.n * each).sum()) / n
    variance = float((confusion.n * (each - value) ** 2).sum()) / n**2
    least, most = min(0.0, *costs.values(), 0.0), max(0.0, *costs.values(), 0.0)
    if least == most:
        one = Measure(0.0, 0.0, 0.0, n)
    else:
        one = bounded(value, variance, n, level, least=least, most=most)
    return {"cost": one, "cost_total": one.moved(lambda x: x * n)}
