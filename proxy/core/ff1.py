"""FF1 for decimal digits: a permutation of all strings of one length.

NIST SP 800-38G, section 5.1 and algorithms 7 and 8, with radix 10. Revision 1 asks for
at least a million values, so the shortest string has six digits; FF3 and FF3-1 are
withdrawn there. The names of the standard are in the comments.

It promises that without the key nobody learns more of the digits than how many there
are and which are equal. It has no integrity: any digits decrypt to some digits.
"""

from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MIN_DIGITS = 6
"""SP 800-38G Revision 1, section 5.1: radix ** minlen >= 1,000,000."""

_ROUNDS = 10
_RADIX = 10
_BLOCK_BYTES = 16
_NO_IV = modes.CBC(bytes(_BLOCK_BYTES))


class FF1:
    """Encrypts and decrypts digits under one AES key.

    Args:
        key: 16, 24 or 32 bytes.

    Raises:
        ValueError: a key of another length.

    Example:
        >>> FF1(bytes(32)).decrypt(FF1(bytes(32)).encrypt("0123456", b""), b"")
        '0123456'
    """

    __slots__ = ("_chain", "_encrypt_block")

    def __init__(self, key: bytes) -> None:
        aes = algorithms.AES(key)
        self._chain = Cipher(aes, _NO_IV).encryptor
        # The block cipher itself, which the standard calls CIPH.
        ecb = modes.ECB()  # noqa: S305 - single blocks, each other than the last
        self._encrypt_block = Cipher(aes, ecb).encryptor().update

    def encrypt(self, digits: str, tweak: bytes) -> str:
        """Return other digits, as many.

        Args:
            digits: at least six ASCII digits.
            tweak: whatever the result shall depend on, besides key and digits.

        Raises:
            ValueError: it is something else.
        """
        u, v = _halves(digits)
        a, b = int(digits[:u]), int(digits[u:])
        prf = self._prf(u, v, tweak)
        for i in range(_ROUNDS):
            a, b = b, (a + prf(i, b)) % _RADIX ** (v if i % 2 else u)
        return f"{a:0{u}d}{b:0{v}d}"

    def decrypt(self, digits: str, tweak: bytes) -> str:
        """Return the digits that ``encrypt`` was given.

        Raises:
            ValueError: they are not at least six ASCII digits.
        """
        u, v = _halves(digits)
        a, b = int(digits[:u]), int(digits[u:])
        prf = self._prf(u, v, tweak)
        for i in reversed(range(_ROUNDS)):
            a, b = (b - prf(i, a)) % _RADIX ** (v if i % 2 else u), a
        return f"{a:0{u}d}{b:0{v}d}"

    def _prf(self, u: int, v: int, tweak: bytes) -> Callable[[int, int], int]:
        """Return the function of round and half that is added to the other half."""
        number_bytes = -(-(_RADIX**v).bit_length() // 8)  # b
        wanted = 4 * -(-number_bytes // 4) + 4  # d
        fixed = (
            b"\x01\x02\x01"
            + _RADIX.to_bytes(3, "big")
            + bytes((_ROUNDS, u % 256))
            + (u + v).to_bytes(4, "big")
            + len(tweak).to_bytes(4, "big")  # P
            + tweak
            + bytes((-len(tweak) - number_bytes - 1) % _BLOCK_BYTES)
        )

        def prf(i: int, number: int) -> int:
            # CBC-MAC over P || Q; no two messages of one tweak differ in length.
            q = i.to_bytes(1, "big") + number.to_bytes(number_bytes, "big")
            mac = self._chain().update(fixed + q)[-_BLOCK_BYTES:]  # R
            stream = mac  # S
            while len(stream) < wanted:
                counter = len(stream) // _BLOCK_BYTES
                block = int.from_bytes(mac, "big") ^ counter
                stream += self._encrypt_block(block.to_bytes(_BLOCK_BYTES, "big"))
            return int.from_bytes(stream[:wanted], "big")  # y

        return prf


def _halves(digits: str) -> tuple[int, int]:
    if len(digits) < MIN_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"FF1 takes {MIN_DIGITS} or more decimal digits")
    return len(digits) // 2, len(digits) - len(digits) // 2
