"""Regular expressions of other tools, which cover a part of a text, its start, or all of it."""

from __future__ import annotations

import re

WHOLE, START, PART = "whole", "start", "part"

_FLAGS = re.compile(r"^\(\?[aimsux]+\)")
_ANYTHING = r"[\s\S]*"


def fitting(pattern: str, extent: str) -> str:
    r"""Write a pattern so that it means the same whether texts are searched for it or matched as a whole.

    Parameters
    ----------
    pattern : str
    extent : str
        What it covers where it comes from: ``whole``, ``start`` or ``part`` of a text.

    Examples
    --------
    >>> fitting("^[A-Z]{2}$", "part"), fitting("[A-Z]{2}", "whole")
    ('^[A-Z]{2}$', '^(?:[A-Z]{2})$')
    >>> print(fitting("[A-Z]", "start"), fitting("^[A-Z]", "part"), fitting("a|b", "part"))
    ^(?:[A-Z])[\s\S]*$ ^[A-Z][\s\S]*$ ^[\s\S]*(?:a|b)[\s\S]*$
    """
    found = _FLAGS.match(pattern)
    flags = found[0] if found else ""
    plain = pattern[len(flags) :]
    is_one = not _has_alternatives(plain)
    begins, ends = is_one and plain.startswith("^"), is_one and _ends(plain)
    if begins and ends:
        return pattern
    if extent == WHOLE:
        return f"{flags}^(?:{plain})$"
    inner = plain if begins or ends else f"(?:{plain})"
    before = "" if begins else "^" if extent == START else f"^{_ANYTHING}"
    return f"{flags}{before}{inner}{'' if ends else _ANYTHING + '$'}"


def _ends(pattern: str) -> bool:
    before = pattern[:-1]
    return pattern.endswith("$") and (len(before) - len(before.rstrip("\\"))) % 2 == 0


def _has_alternatives(pattern: str) -> bool:
    """Whether there is a ``|`` outside of groups and sets."""
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "", pattern, flags=re.DOTALL)
    depth = 0
    for sign in bare:
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and depth == 0:
            return True
    return False
