"""One form of a path, and every way in which it could be read as another.

Rules of this file:

1. Only what is equivalent for everybody is rewritten: percent-encoded unreserved
   characters are decoded, hex digits upper-cased (RFC 3986, 6.2.2), and characters
   that a path may not hold raw (such as ``|``) encoded.
2. A literal is compared by what it means: ``/jobs%3Arun`` is ``/jobs:run``, since
   backends decode both to the same. The forwarded path keeps its own spelling.
3. What backends are known to read in two ways is found, never repaired.
"""

import enum
import re
import string
from typing import Final


class Ambiguity(enum.Enum):
    """A way in which a path can be read in two ways.

    A rule may tolerate each of them but the last two, which are always refused.
    CONTROL stands for whatever no well-formed path holds, raw or encoded: control
    characters, spaces, ``?``, ``#``, bytes beyond ASCII, a ``%`` without two hex
    digits, and UTF-8 longer than it need be.
    """

    ENCODED_SLASH = "encoded-slash"
    EMPTY_SEGMENT = "empty-segment"
    BACKSLASH = "backslash"
    SEMICOLON = "semicolon"
    DOUBLE_ENCODING = "double-encoding"
    DOT_SEGMENT = "dot-segment"
    CONTROL = "control-character"


_REWRITABLE: Final = re.compile(r'%[0-9A-Fa-f]{2}|["<>\[\]^`{|}]')
_UNRESERVED: Final = string.ascii_letters + string.digits + "-._~"
_REWRITTEN: Final = {f"%{ord(one):02X}": one for one in _UNRESERVED} | {
    one: f"%{ord(one):02X}" for one in '"<>[]^`{|}'
}
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NESTED: Final = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2})")
# What a segment may hold unencoded beside the unreserved, but for ";" (RFC 3986, 3.3).
_ENCODED_SUB_DELIMITER: Final = re.compile(r"%(?:2[146789ABC]|3[AD]|40)")

_TOLERABLE: Final = (
    (Ambiguity.ENCODED_SLASH, re.compile(r"%2F")),
    (Ambiguity.EMPTY_SEGMENT, re.compile(r"//")),
    (Ambiguity.BACKSLASH, re.compile(r"\\|%5C")),
    (Ambiguity.SEMICOLON, re.compile(r";|%3B")),
    (Ambiguity.DOUBLE_ENCODING, re.compile(r"%25[0-9A-Fa-f]{2}")),
)
_FATAL: Final = (
    # "..;x" is ".." to servers that know path parameters.
    (
        Ambiguity.DOT_SEGMENT,
        re.compile(r"(?:[/\\]|%2F|%5C)\.{1,2}(?![^/\\;%]|%(?!2F|5C|3B))"),
    ),
    (
        Ambiguity.CONTROL,
        re.compile(
            r"[^!-~]|[?#]|%[01]|%7F"
            # Overlong UTF-8, in which "/" and "." were once smuggled (RFC 3629, 10).
            r"|%C[01]|%E0%[89]|%F0%8"
        ),
    ),
)

INTOLERABLE: Final = frozenset(word for word, _ in _FATAL)
"""What no rule can let pass."""


is_plain: Final = re.compile(r"(?:/(?![/.])[A-Za-z0-9\-._~!$&'()*+,=:@]*+)++").fullmatch
"""Say whether a path is canonical and unambiguous, as nearly every one is."""


def canonicalise(path: str) -> tuple[str, frozenset[Ambiguity]]:
    """Return the one form of a raw path, and the ways in which it is ambiguous.

    Args:
        path: as received, without its query; one character per byte.

    Ambiguities are found in the canonical form, so that no encoding of a dot or of a
    percent sign hides one. The intolerable ones are looked for beneath double encoding
    too: a rule that tolerates ``%25`` still meets no ``%252E%252E``.
    """
    canonical = _REWRITABLE.sub(_rewrite, path)
    bare = canonical
    if "%25" in canonical:
        bare = _REWRITABLE.sub(_rewrite, _NESTED.sub("%", canonical))
    found = [word for word, sign in _TOLERABLE if sign.search(canonical)]
    found += [word for word, sign in _FATAL if sign.search(bare)]
    if _BROKEN_ESCAPE.search(path):  # Decoding around one may make a whole one of it.
        found.append(Ambiguity.CONTROL)
    return canonical, frozenset(found)


def _rewrite(found: re.Match[str]) -> str:
    text = found[0].upper()
    return _REWRITTEN.get(text, text)


def comparable(canonical: str) -> str:
    """Return the form in which literals are compared (rule 2 of this file)."""
    return _ENCODED_SUB_DELIMITER.sub(
        lambda found: chr(int(found[0][1:], 16)), canonical
    )
