"""XAES-256-GCM: AES-256-GCM with a nonce long enough to be drawn at random for ever.

Specified by C2SP (c2sp.org/XAES-256-GCM). From the key and the first half of the nonce
a key of its own is derived, with the KDF in counter mode of NIST SP 800-108 over CMAC;
the second half is the nonce of AES-256-GCM under it. 2^80 messages under one key with
random nonces collide with probability 2^-32.

It does not commit to its key: one ciphertext may open under two keys. So the caller
selects the key, and never tries several.
"""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 24

_HALF = 12
_COUNTERS = (b"\x00\x01X\x00", b"\x00\x02X\x00")
_CMAC_POLYNOMIAL = 0x87
"""NIST SP 800-38B section 5.3, for blocks of 128 bits."""


class XAES256GCM:
    """Encrypts and decrypts under one key (RFC 5116's interface).

    Args:
        key: 32 bytes.

    Raises:
        ValueError: a key of another length.
    """

    __slots__ = ("_encrypt_blocks", "_subkey_mask")

    def __init__(self, key: bytes) -> None:
        # Not AES(key): XAES has no variant for shorter keys.
        ecb = modes.ECB()  # noqa: S305 - the block cipher, for blocks of a MAC
        aes = Cipher(algorithms.AES256(key), ecb)
        self._encrypt_blocks = aes.encryptor().update
        zero = int.from_bytes(self._encrypt_blocks(bytes(16)), "big")  # L
        doubled = (zero << 1) ^ (zero >> 127) * ((1 << 128) | _CMAC_POLYNOMIAL)  # K1
        self._subkey_mask = (doubled << 128) | doubled

    def encrypt(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return ciphertext and tag, 16 bytes longer than the plaintext.

        Args:
            nonce: 24 bytes, never the same twice under this key.
            plaintext: what is encrypted.
            associated_data: what is authenticated and not part of the result.

        Raises:
            ValueError: the nonce has another length.
        """
        gcm = self._derive(nonce)
        return gcm.encrypt(nonce[_HALF:], plaintext, associated_data)

    def decrypt(self, nonce: bytes, sealed: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            cryptography.exceptions.InvalidTag: anything is not as it was encrypted.
            ValueError: the nonce has another length.
        """
        gcm = self._derive(nonce)
        return gcm.decrypt(nonce[_HALF:], sealed, associated_data)

    def _derive(self, nonce: bytes) -> AESGCM:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce is {NONCE_BYTES} bytes")
        half = nonce[:_HALF]
        blocks = b"".join(counter + half for counter in _COUNTERS)  # M1 || M2
        masked = int.from_bytes(blocks, "big") ^ self._subkey_mask
        return AESGCM(self._encrypt_blocks(masked.to_bytes(32, "big")))
