r"""The text of a ciphertext, for every mode whose results need no shape.

Frozen by ``tests/vectors/cipher_v1.json`` and ``cipher_modes.json``::

    text  = "lm1r" || base64url(bytes)     every time another, "r" for random
          | "lm1d" || base64url(bytes)     equal for equal values, "d" for deterministic
            RFC 4648 section 5, no padding

    bytes    0      1       2          6                  n
             +------+-------+----------+------------------+
             | 0xE1 | suite | key id   | body             |
             +------+-------+----------+------------------+
               |      |       u32 BE     as the suite says
               |      0x01 ``mode_random``: AES-256-GCM in chunks, committing
               |      0x02 ``mode_random``: XAES-256-GCM, compact
               |      0x03 ``mode_deterministic``: AES-256-SIV
               |      0x04 ``mode_random``: AES-256-GCM, read and no longer written
               version 1

Suites 0x05 (``mail_address``) and 0x06 (``mode_digits``) have shapes of their own, and
their numbers are in their contexts only.

A text has one spelling: what is not canonical base64url does not decode.
"""

import binascii
import functools
from collections.abc import Callable

RANDOM = "lm1r"
DETERMINISTIC = "lm1d"
"""How ciphertexts start: lumina, format 1, and whether equal values have equal ones."""

HEADER_BYTES = 6

_VERSION = 0xE1
_NAMED = 1 + len(RANDOM) + HEADER_BYTES * 4 // 3
"""The characters of a leaf up to the end of the key id."""
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def looks_sealed(text: str) -> bool:
    """Tell by the first characters whether a string claims to be a ciphertext."""
    return text.startswith((RANDOM, DETERMINISTIC))


def header(suite: int, key_id: int) -> bytes:
    """Return the first six bytes."""
    return bytes((_VERSION, suite)) + key_id.to_bytes(4, "big")


def write(prefix: str, message: bytes) -> str:
    """Return the text of a message."""
    encoded = binascii.b2a_base64(message, newline=False)
    return prefix + encoded.translate(_TO_URL).rstrip(b"=").decode()


def read(prefix: str, text: str) -> tuple[int, int, bytes]:
    """Return suite, key id and message of a text that starts with ``prefix``.

    Raises:
        ValueError: it is not the one spelling of a message of version 1.
    """
    encoded = text[len(prefix) :]
    padded = encoded.encode().translate(_FROM_URL) + b"=" * (-len(encoded) % 4)
    message = binascii.a2b_base64(padded)
    if write(prefix, message) != text:
        raise ValueError("not canonical base64url")
    if len(message) < HEADER_BYTES or message[0] != _VERSION:
        raise ValueError("not version 1")
    return message[1], int.from_bytes(message[2:HEADER_BYTES], "big"), message


def key_name(leaf: str) -> str | None:
    """Return the id of the key that a ciphertext names, in eight hex digits.

    Args:
        leaf: the JSON text of a string, or of anything.

    Returns:
        None for what names no key, or is no ciphertext.
    """
    return _key_name(leaf[1:_NAMED]) if looks_sealed(leaf[1:]) else None


@functools.lru_cache(maxsize=1024)
def _key_name(beginning: str) -> str | None:
    try:
        # Eight characters are the six bytes of a header.
        message = binascii.a2b_base64(
            beginning[len(RANDOM) :].encode().translate(_FROM_URL)
        )
    except ValueError:
        return None
    return message[2:].hex() if len(message) == HEADER_BYTES else None


def length(message_bytes: int) -> int:
    """Return how many characters the text of a message has."""
    return len(RANDOM) + -(-message_bytes * 4 // 3)


def longest(length_of: Callable[[int], int], characters: int) -> int:
    """Return the most bytes of a value whose ciphertext fits.

    Args:
        length_of: the length of the ciphertext of so many bytes; never falls.
        characters: how many there is room for.

    Returns:
        -1 when not even an empty value fits.

    Example:
        >>> longest(lambda n: 10 + 2 * n, 15), longest(lambda n: 10, 9)
        (2, -1)
    """
    low, high = -1, characters  # a ciphertext is never shorter than its value
    while low < high:
        middle = (low + high + 1) // 2
        if length_of(middle) <= characters:
            low = middle
        else:
            high = middle - 1
    return low
