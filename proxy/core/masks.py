"""What a role sees of a value that it may not see: its shape, and no more.

A mask keeps nothing that identifies, and holds a run of MARKER that no stored value
has, so that a masked value which comes back in a request is recognised and does not
overwrite the real one (``cipher`` refuses it). Values other than strings are masked to
null, which carries no such mark: ``protection`` refuses a null from a role that may
have been shown one for a value.

Knows neither roles nor ciphertext.
"""

import re
from collections.abc import Callable

from proxy.core.leaf import NULL, text_of, write

MARKER = "\N{BULLET}"
"""The character masks are made of, U+2022."""

HIDDEN = MARKER * 3
"""What every mask of a string holds."""

_INITIALS = 3
"""How many words show their initial; the number of further words is hidden, too."""

_LAST = 4
_MIN_LENGTH = 8
"""Of a shorter value the last four characters would be half of it."""

_email = re.compile(r"[^@\s]+@[^@\s]+").fullmatch
_date = re.compile(r"([0-9]{4})-[0-9]{2}(?:-[0-9]{2}(?:[T ].*)?)?", re.DOTALL).fullmatch


def mask(leaf: str) -> str:
    """Return the mask of a JSON text, as JSON text.

    An e-mail address keeps its first character; any other string keeps the initials
    of its first three words; a blank one becomes the bare mark. Every other value,
    null included, is null.

    Example:
        >>> mask('"ada@example.edu"'), mask('"Ada Lovelace"'), mask("1815")
        ('"a•••@•••"', '"A••• L•••"', 'null')
    """
    return _masked(leaf, lambda text: _address(text) or _words(text))


def mask_email(leaf: str) -> str:
    """Keep the first character of an e-mail address, and nothing of what is none."""
    return _masked(leaf, lambda text: _address(text) or HIDDEN)


def mask_initials(leaf: str) -> str:
    """Keep the initials of the first three words, whatever they are."""
    return _masked(leaf, _words)


def mask_last4(leaf: str) -> str:
    """Keep the last four characters, if there are eight or more.

    Example:
        >>> mask_last4('"DE89370400440532013000"'), mask_last4('"1234"')
        ('"•••3000"', '"•••"')
    """
    return _masked(
        leaf,
        lambda text: HIDDEN + (text[-_LAST:] if len(text) >= _MIN_LENGTH else ""),
    )


def mask_year(leaf: str) -> str:
    """Keep the year of a date or time as RFC 3339 writes it, and nothing of others.

    Example:
        >>> mask_year('"1815-12-10"'), mask_year('"10.12.1815"')
        ('"1815•••"', '"•••"')
    """
    return _masked(
        leaf, lambda text: (found[1] if (found := _date(text)) else "") + HIDDEN
    )


def mask_fixed(leaf: str) -> str:
    """Keep nothing, not even the type; only null stays null."""
    return leaf if leaf == NULL else write(HIDDEN)


def looks_masked(text: str) -> bool:
    """Tell whether a decoded string holds the mark that every mask of a string has."""
    return HIDDEN in text


def _masked(leaf: str, hide: Callable[[str], str]) -> str:
    text = text_of(leaf)
    return NULL if text is None else write(hide(text))


def _address(text: str) -> str:
    return f"{text[0]}{HIDDEN}@{HIDDEN}" if _email(text) else ""


def _words(text: str) -> str:
    words = text.split(maxsplit=_INITIALS)[:_INITIALS]
    return " ".join(word[0] + HIDDEN for word in words) or HIDDEN
