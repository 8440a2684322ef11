"""Bytes for people: a dump in hexadecimal with what can be printed beside it."""

from __future__ import annotations

WIDTH = 16


def hex_dump(data: bytes) -> str:
    r"""Write bytes as lines of an offset, sixteen bytes, and their printable ASCII signs.

    Examples
    --------
    >>> print(hex_dump(b'{"a": 1}\n' + bytes(9)))
    00000000  7b 22 61 22 3a 20 31 7d  0a 00 00 00 00 00 00 00  {"a": 1}........
    00000010  00 00                                             ..
    """
    return "\n".join(_line(at, data[at : at + WIDTH]) for at in range(0, len(data), WIDTH))


def printable(data: bytes, most: int) -> str:
    r"""Write the beginning of bytes on one line: as text if they are UTF-8, else in hexadecimal.

    Examples
    --------
    >>> printable(b'{"a":\n 1}', 6), printable(b"\xff\x00abc", 9), printable(b"", 5)
    ('{"a":␤…', 'ff 00 61…', '')
    """
    beginning = data[: most + 3]
    text = text_of(beginning, is_cut=len(data) > len(beginning))
    if text is None:
        first = data[: max(most // 3, 1)]
        return first.hex(" ") + ("…" if len(data) > len(first) else "")
    shown = "".join(_sign(sign) for sign in text[:most])
    return shown + ("…" if len(text) > most or len(data) > len(beginning) else "")


def text_of(data: bytes, *, is_cut: bool = False) -> str | None:
    """Read UTF-8; None if it is none. A cut may go through the last character."""
    for end in range(len(data), max(len(data) - 4, -1) if is_cut else len(data) - 1, -1):
        try:
            return data[:end].decode()
        except UnicodeDecodeError:
            continue
    return None


def visible(text: str) -> str:
    r"""Write what cannot be seen, or turns the order of what is around it, as its code point.

    Lines and tabs stay.

    Examples
    --------
    >>> visible("a\u202eb\x1b[2J\ufeffc\n")
    'a⟨U+202E⟩b⟨U+001B⟩[2J⟨U+FEFF⟩c\n'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else f"⟨U+{ord(sign):04X}⟩" for sign in text)


def _line(at: int, part: bytes) -> str:
    left, right = part[:8].hex(" "), part[8:].hex(" ")
    signs = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"{at:08x}  {left:<23}  {right:<23}  {signs}"


def _sign(sign: str) -> str:
    if sign.isprintable():
        return sign
    return chr(0x2400 + ord(sign)) if ord(sign) < 32 and sign != "\n" else "␤" if sign == "\n" else "�"
