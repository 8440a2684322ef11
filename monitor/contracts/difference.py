"""What changed from one contract to another, and whether what suited the old one still suits the new one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from monitor.config.values import read_duration
from monitor.contracts.contract import DEFAULTS, Contract, Options
from monitor.contracts.yaml_text import flow
from schemas.policy import Limit, read_limit


@dataclass(frozen=True)
class Change:
    """One change.

    Parameters
    ----------
    place : str
        Column and option: ``columns.temp.max``; or what is said of the model.
    breaking : bool
        Whether values that suited the old contract may violate the new one.
    summary : str
        What changed, in words.
    """

    place: str
    breaking: bool
    summary: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def changes(old: Contract, new: Contract) -> list[Change]:
    """List what changed, breaking changes first.

    Examples
    --------
    >>> old = Contract({"temp": {"min": 0, "max": 9}})
    >>> [(one.place, one.breaking, one.summary) for one in changes(old, Contract({"temp": {"max": 5}}))]
    [('columns.temp.max', True, '9 → 5'), ('columns.temp.min', False, '0 → any')]
    """
    found = [*_model(old, new)]
    for name in dict.fromkeys((*old.columns, *new.columns)):
        place = f"columns.{name}"
        if name not in new.columns:
            found.append(Change(place, True, "removed"))
        elif name not in old.columns:
            found.append(_added(place, new.columns[name]))
        else:
            found += _column(place, old.columns[name], new.columns[name])
    return sorted(found, key=lambda change: not change.breaking)


def is_compatible(found: list[Change]) -> bool:
    """Whether none of the changes is breaking."""
    return not any(change.breaking for change in found)


def _model(old: Contract, new: Contract) -> Iterator[Change]:
    for name in ("task", "positive_label"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield Change(name, before is not None, _words(before, after, "inferred"))
    for name in dict.fromkeys((*old.rules, *new.rules)):
        yield from _condition(f"rules.{name}", old.rules.get(name), new.rules.get(name))
    if old.freshness != new.freshness:
        yield Change("freshness", False, _words(old.freshness, new.freshness, "as the reference"))
    if old.segments != new.segments:
        yield Change("segments", False, _words(list(old.segments), list(new.segments), "none"))


def _condition(place: str, old: Options | None, new: Options | None) -> Iterator[Change]:
    """Conditions about several columns: whether a changed one is wider cannot be told."""
    if old is None or new is None:
        if old is not new:
            yield Change(place, new is not None, "removed" if new is None else f"added: {new['expression']}")
        return
    for option in dict.fromkeys((*old, *new)):
        if old.get(option) != new.get(option):
            is_stricter = option == "expression" or _is_stricter(option, old, new, {}, {})
            yield Change(
                f"{place}.{option}", is_stricter, _words(old.get(option), new.get(option), "default")
            )


def _added(place: str, said: Options) -> Change:
    is_required = said.get("required", True)
    return Change(place, is_required, f"added, {'required' if is_required else 'optional'}")


def _column(place: str, old: Options, new: Options) -> Iterator[Change]:
    yield from _kind(f"{place}.kind", old.get("kind"), new.get("kind"))
    for name, sign in (("min", 1), ("max", -1)):
        before, after = old.get(name), new.get(name)
        if before != after:
            narrower = after is not None and (before is None or sign * (after - before) > 0)
            yield Change(f"{place}.{name}", narrower, _words(before, after, "any"))
    yield from _values(f"{place}.values", old.get("values"), new.get("values"))
    if old.get("pattern") != new.get("pattern"):
        words = _words(old.get("pattern"), new.get("pattern"), "any")
        yield Change(f"{place}.pattern", "pattern" in new, words)
    for name in ("nullable", "required", "unique"):
        before, after = _of(old, name), _of(new, name)
        if before != after:
            is_stricter = after is (name != "nullable")
            yield Change(f"{place}.{name}", is_stricter, _words(before, after, ""))
    yield from _shares(place, old, new)
    yield from _single_rules(place, old, new)
    yield from _freshness(f"{place}.freshness", old.get("freshness"), new.get("freshness"))
    for name in ("severity", "personal", "tolerance_psi"):
        if _of(old, name) != _of(new, name):
            yield Change(f"{place}.{name}", False, _words(_of(old, name), _of(new, name), "the model's"))


def _kind(place: str, before: Any, after: Any) -> Iterator[Change]:
    if before != after:
        yield Change(place, after is not None, _words(before, after, "inferred"))


def _freshness(place: str, before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    is_stricter = after is not None and (before is None or read_duration(after) < read_duration(before))
    yield Change(place, is_stricter, _words(before, after, "any"))


def _values(place: str, before: Any, after: Any) -> Iterator[Change]:
    if before is None or after is None:
        if before is not after:
            yield Change(place, after is not None, "any → a list" if before is None else "a list → any")
        return
    old, new = ({repr(value): value for value in values} for values in (before, after))
    gone = [value for key, value in old.items() if key not in new]
    more = [value for key, value in new.items() if key not in old]
    if gone:
        yield Change(place, True, f"fewer: without {_some(gone)}")
    if more:
        yield Change(place, False, f"more: {_some(more)}")


def _shares(place: str, old: Options, new: Options) -> Iterator[Change]:
    """Limits; without its own one, missing values are limited by `limit` where they are not allowed."""
    before, after = _of(old, "limit"), _of(new, "limit")
    if before != after:
        yield Change(f"{place}.limit", _is_lower(after, before), _words(before, after, ""))
    before, after = old.get("max_missing"), new.get("max_missing")
    if before != after:
        is_lower = _is_lower(_most_missing(new), _most_missing(old))
        yield Change(f"{place}.max_missing", is_lower, _words(before, after, "default"))


def _most_missing(said: Options) -> Any:
    limit = said.get("max_missing")
    if limit is not None:
        return limit
    return 1.0 if _of(said, "nullable") else _of(said, "limit")


def _is_lower(after: Any, before: Any) -> bool:
    """Whether a limit may allow less than another: shares and numbers of rows cannot be compared."""
    new, old = read_limit(after), read_limit(before)
    if (new.rows is None) != (old.rows is None):
        return old != Limit()  # where nothing was allowed, nothing less can be
    return new.share < old.share if new.rows is None or old.rows is None else new.rows < old.rows


def _single_rules(place: str, old: Options, new: Options) -> Iterator[Change]:
    """What follows of single rules: breaking where less may break them, or what breaks them is kept out."""
    before, after = old.get("rules", {}), new.get("rules", {})
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name, {}), after.get(name, {})
        for option in dict.fromkeys((*was, *now)):
            if was.get(option) == now.get(option):
                continue
            words = _words(was.get(option), now.get(option), "the column's")
            yield Change(f"{place}.rules.{name}.{option}", _is_stricter(option, was, now, old, new), words)


def _is_stricter(option: str, was: Options, now: Options, old: Options, new: Options) -> bool:
    if option == "limit":
        return _is_lower(now.get("limit", _of(new, "limit")), was.get("limit", _of(old, "limit")))
    return option == "action" and "action" in now


def _of(said: Options, name: str) -> Any:
    return said.get(name, DEFAULTS.get(name))


def _words(before: Any, after: Any, nothing: str) -> str:
    return " → ".join(nothing if value in (None, []) else flow(value) for value in (before, after))


def _some(values: list[Any]) -> str:
    shown = flow(values[:8])[1:-1]
    return shown if len(values) <= 8 else f"{shown} and {len(values) - 8} more"
