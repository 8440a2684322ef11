"""Cuts the text of an expression into words, signs, numbers and texts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.errors import UsageError

LONGEST = 1_000
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?(?![A-Za-z_0-9.]))
  | (?P<word>[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_0-9]+)*)
  | (?P<name>`[^`]+`)
  | (?P<text>'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*")
  | (?P<sign>==|!=|<=|>=|[-+*/%<>()\[\],])
    )""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(['\"\\])")


@dataclass(frozen=True)
class Token:
    """One piece of an expression; `kind` is number, word, name, text, sign or end."""

    kind: str
    text: str
    at: int


def tokens_of(source: str) -> list[Token]:
    """Cut an expression into pieces; the last one is its end.

    Raises
    ------
    UsageError
        If it is too long, or holds something that belongs to no expression.

    Examples
    --------
    >>> [token.text for token in tokens_of("a.b <= `odd name` + 1.5e3")]
    ['a.b', '<=', 'odd name', '+', '1.5e3', '']
    """
    if len(source) > LONGEST:
        msg = f"is too long (use at most {LONGEST} characters)"
        raise UsageError(msg)
    found: list[Token] = []
    at, end = 0, len(source.rstrip())
    while at < end:
        match = _TOKEN.match(source, at, end)
        if match is None or match.lastgroup is None:
            start = at + len(source[at:]) - len(source[at:].lstrip())
            raise UsageError(_strange(source, start))
        kind, text = match.lastgroup, match.group(match.lastgroup)
        if kind == "name":
            text = text[1:-1]
        elif kind == "text":
            text = _ESCAPED.sub(r"\1", text[1:-1])
        found.append(Token(kind, text, match.start(match.lastgroup) + 1))
        at = match.end()
    return [*found, Token("end", "", end + 1)]


def _strange(source: str, start: int) -> str:
    sign = source[start]
    advice = {
        "=": "use == to compare",
        "!": "use != to compare, or not",
        "&": "use and",
        "|": "use or",
        "'": "the text does not end",
        '"': "the text does not end",
        "`": "the name does not end",
    }.get(sign, "use columns, numbers, texts, + - * / %, == != < <= > >=, and, or, not, in, is null")
    return f"{sign!r} at character {start + 1} cannot be read ({advice})"
