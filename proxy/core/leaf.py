"""A JSON value on its way into a ciphertext and back, with its type.

A leaf is the JSON text of a value. As a plaintext it is::

    "s" || the string, decoded, in UTF-8
    "j" || the JSON text of any other value, byte for byte

The first byte is encrypted and authenticated with the rest, so a value comes back as
what it was: nobody can turn the number 42 into the string "42", or see which it is.
"""

import json
from collections.abc import Callable

TYPE_BYTES = 1

NULL = "null"

write: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode
"""Return the JSON text of a string, with the fewest escapes."""

_RESTORE: dict[bytes, Callable[[str], str]] = {b"s": write, b"j": str}


def text_of(leaf: str) -> str | None:
    """Return the value of a leaf that is a string; None for any other."""
    if not leaf.startswith('"'):
        return None
    if "\\" not in leaf:
        return leaf[1:-1]
    text: str = json.loads(leaf)
    return text


def pack(leaf: str, text: str | None) -> bytes:
    """Return the plaintext of a leaf.

    Args:
        leaf: the JSON text.
        text: the string to encrypt in its place, or None for a leaf of another type.

    Raises:
        UnicodeEncodeError: the string holds half of a surrogate pair.
    """
    return b"j" + leaf.encode() if text is None else b"s" + text.encode()


def unpack(plaintext: bytes) -> str:
    """Return the leaf of a plaintext.

    Raises:
        KeyError: its type is unknown.
        UnicodeDecodeError: it is not UTF-8.
    """
    return _RESTORE[plaintext[:TYPE_BYTES]](plaintext[TYPE_BYTES:].decode())
