"""Counts values by the key that they name, in any text that holds them.

A dump, a backup, a table, a log: ciphertexts are found by how they begin, wherever they
stand. What only looks like one is counted as well, for a key that is kept too long does
no harm, and one that is destroyed too early destroys values.

Not found: values of the modes ``digits`` and ``pepper``, which name no key, and what is
compressed or encrypted once more.
"""

import base64
import re
from collections import Counter
from collections.abc import Iterable

from proxy.core.ciphertext import HEADER_BYTES

_REACH = 512
"""No ciphertext is recognised by more bytes than these: an address has 254 at most."""

# Version 0xE1 makes two characters, the suite and the key id the other six.
_TEXT = rb"lm1[rd](4Q[A-Za-z0-9_-]{6})"
# The local part begins with the key id: 32 bits in seven characters of base32.
_ADDRESS = rb"(?<![a-z0-9])a([a-z2-7]{7})[a-z2-7]{20,}@(?:[a-z2-7]{1,63}\.)*(?:%b)"


class Counting:
    """Counts in text that comes in pieces.

    Args:
        mail_domains: those below which ciphertexts are addresses.

    Attributes:
        values: how many values name each key so far.
    """

    def __init__(self, mail_domains: Iterable[str] = ()) -> None:
        domains = b"|".join(re.escape(one.encode()) for one in sorted(mail_domains))
        self._patterns = [(re.compile(_TEXT), _text_key)]
        if domains:
            address = re.compile(_ADDRESS % domains, re.IGNORECASE)
            self._patterns.append((address, _address_key))
        self._rest = b""
        self._done = 0
        self.values: Counter[int] = Counter()

    def add(self, piece: bytes, *, last: bool = False) -> None:
        """Count in a further piece; ``last`` says that none follows."""
        text = self._rest + piece
        # What begins near the end may go on in the next piece.
        end = len(text) if last else max(0, len(text) - _REACH)
        for pattern, key_of in self._patterns:
            for found in pattern.finditer(text):
                if self._done <= found.start() < end:
                    self.values[key_of(found[1])] += 1
        # One byte more, for what may not stand before an address.
        keep = max(0, end - 1)
        self._rest, self._done = text[keep:], end - keep


def _text_key(beginning: bytes) -> int:
    header = base64.urlsafe_b64decode(beginning)
    return int.from_bytes(header[2:HEADER_BYTES], "big")


def _address_key(beginning: bytes) -> int:
    return int.from_bytes(base64.b32decode(beginning.upper() + b"A")[:4], "big")
