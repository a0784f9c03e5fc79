r"""JSON that can be read in one way only, or a refusal that says where it cannot.

The standard library's C scanner does the reading. Refused besides what it refuses:
invalid UTF-8, a byte order mark, a member named twice (however its name is spelled),
NaN and Infinity, text after the value, and nesting deeper than 64, for two parsers
could disagree on them (RFC 8259 sections 4, 8.1 and 9). Numbers are kept as text:
``int`` would lose time on long ones, and ``float`` digits.

A refusal says what is wrong and at which byte, never what the body holds. Knows
nothing of what is protected.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, cast

from proxy.core.errors import Refused
from proxy.core.reasons import Reason

MAX_DEPTH = 64
"""How many arrays and objects may lie inside each other."""

Matcher = Callable[[str, int], re.Match[str]]
"""The ``match`` of a pattern that matches nothing at all, too: it is never None."""

_blank = cast(Matcher, re.compile(r"[ \t\n\r]*+").match)

_TOKEN = re.compile(
    r'("[^"\\]*+(?:\\.[^"\\]*+)*+")(?:[ \t\n\r]*+(:))?+|[\[{]|[\]}]|NaN|-?Infinity'
)


class _TwoReadingsError(ValueError):
    """Something that the scanner would take and another parser might not."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _TwoReadingsError
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise _TwoReadingsError


_decode = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=str,
    parse_float=str,
    parse_constant=_refuse_constant,
).raw_decode


def read(body: bytes) -> tuple[str, int, Any]:
    """Read a body.

    Returns:
        Its text, where in it the value starts, and the value; numbers are strings.

    Raises:
        Refused: BODY_NOT_JSON with a sentence.
    """
    text = _text(body)
    start = _blank(text, 0).end()
    try:
        value, end = _decode(text, start)
    except json.JSONDecodeError as error:
        raise refusal(text, error.pos, "The body is not JSON") from None
    except (_TwoReadingsError, RecursionError):
        raise refusal(text, *next(_faults(text))) from None
    after = _blank(text, end).end()
    if after != len(text):
        raise refusal(text, after, "The body goes on after its JSON value")
    # So few brackets cannot lie too deep; most bodies need no closer look.
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(value):
        raise refusal(text, *next(_faults(text)))
    return text, start, value


def refuse_half_characters(text: str, start: int, end: int, value: Any) -> None:
    r"""Refuse the value ``text[start:end]`` if it holds, say, ``\ud800`` alone.

    Such text has no UTF-8, so nobody could say what it would become.

    Raises:
        Refused: BODY_NOT_JSON with a sentence.
    """
    if text.find("\\u", start, end) < 0:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        what = "A protected value holds half of a surrogate pair"
        raise refusal(text, start, what) from None


def refusal(text: str, position: int, what: str) -> Refused:
    """Return the refusal of a body for what is wrong at a character of its text."""
    at = len(text[:position].encode())
    return Refused(Reason.BODY_NOT_JSON, f"{what}, at byte {at}.")


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        what = f"The body is not UTF-8, at byte {error.start}."
        raise Refused(Reason.BODY_NOT_JSON, what) from None
    if text.startswith("\ufeff"):
        raise refusal(text, 0, "The body starts with a byte order mark")
    return text


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
    return bool(level)


def _faults(text: str) -> Iterator[tuple[int, str]]:
    """Say where and why ``text`` has two readings; it is JSON up to the first one."""
    names: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        string, is_name = token.groups()
        if is_name:
            name = json.loads(string)
            if name in names[-1]:
                yield token.start(), "A member is named twice in one object"
            names[-1].add(name)
        elif token[0] in {"{", "["}:
            names.append(set())
            if len(names) > MAX_DEPTH:
                yield token.start(), f"The body is nested deeper than {MAX_DEPTH}"
        elif token[0] in {"}", "]"}:
            names.pop()
        elif not string:
            yield token.start(), "NaN and Infinity are not JSON"
