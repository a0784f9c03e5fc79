"""What a role sees of a value that it may not see: its shape, and no more.

A mask keeps nothing that identifies, and holds a run of MARKER that no stored value
has, so that a masked value which comes back in a request is recognised and does not
overwrite the real one (``cipher`` refuses it). Values other than strings are masked to
null, which carries no such mark: a null that comes back cannot be told from a wish to
clear the value.

Knows neither roles nor ciphertext.
"""

import json
import re

MARKER = "\N{BULLET}"
"""The character masks are made of, U+2022."""

_HIDDEN = MARKER * 3
_INITIALS = 3
"""How many words show their initial; the number of further words is hidden, too."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")

_write = json.JSONEncoder(ensure_ascii=False).encode


def mask(leaf: str) -> str:
    """Return the mask of a JSON text, as JSON text.

    An e-mail address keeps its first character; any other string keeps the initials
    of its first three words; a blank one becomes the bare mark. Every other value,
    null included, is null.

    Example:
        >>> mask('"ada@example.edu"'), mask('"Ada Lovelace"'), mask("1815")
        ('"a•••@•••"', '"A••• L•••"', 'null')
    """
    if not leaf.startswith('"'):
        return "null"
    text: str = json.loads(leaf)
    if _EMAIL.fullmatch(text):
        return _write(f"{text[0]}{_HIDDEN}@{_HIDDEN}")
    words = text.split(maxsplit=_INITIALS)[:_INITIALS]
    return _write(" ".join(word[0] + _HIDDEN for word in words) or _HIDDEN)


def looks_masked(text: str) -> bool:
    """Tell whether a decoded string holds the mark that every mask of a string has."""
    return _HIDDEN in text
