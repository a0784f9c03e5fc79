"""Reads every stored format from its description, with nothing of the proxy's.

AES, its modes SIV and GCM, CMAC and HMAC are a library's; what the proxy builds of them
is built here a second time: HKDF (RFC 5869), XAES-256-GCM and chunked encryption
(C2SP), FF1 (NIST SP 800-38G), and the formats.
"""

import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.cmac import CMAC


def expand(digest: str, key: bytes, info: bytes, size: int) -> bytes:
    """HKDF-Expand."""
    block, okm = b"", b""
    for n in range(1, 1 - -size // 64 + 1):
        block = hmac.digest(key, block + info + bytes((n,)), digest)
        okm += block
    return okm[:size]


def lp(*parts: bytes) -> bytes:
    """Put the length before each part."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC."""
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def chunked(key: bytes, context: bytes, body: bytes) -> bytes:
    """C2SP chunked encryption with SHA-512 and AES-256-GCM."""
    salt, commitment, chunks = body[:24], body[24:56], body[56:]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    okm = expand("sha512", key, info, 76)
    assert okm[44:] == commitment
    base, size, plain = int.from_bytes(okm[32:44], "big"), 16 * 1024 + 16, b""
    for n in range(len(chunks) // size + 1):
        nonce = (base ^ n).to_bytes(12, "big")
        chunk = chunks[n * size : (n + 1) * size]
        plain += AESGCM(okm[:32]).decrypt(nonce, chunk, b"")
    return plain


def xaes(key: bytes, context: bytes, body: bytes) -> bytes:
    """XAES-256-GCM."""
    half = b"X\0" + body[:12]
    subkey = cmac(key, b"\0\1" + half) + cmac(key, b"\0\2" + half)
    return AESGCM(subkey).decrypt(body[12:24], body[24:], context)


def ff1(key: bytes, tweak: bytes, digits: str) -> str:
    """FF1, radix 10."""
    u = len(digits) // 2
    v = len(digits) - u
    b = -(-(10**v - 1).bit_length() // 8)
    p = b"\1\2\1\0\0\x0a\x0a" + bytes((u,)) + len(digits).to_bytes(4, "big")
    p += len(tweak).to_bytes(4, "big") + tweak + bytes(-(len(tweak) + b + 1) % 16)
    left, right = int(digits[:u]), int(digits[u:])
    for i in range(9, -1, -1):
        q = p + bytes((i,)) + left.to_bytes(b, "big")
        cbc = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
        r = int.from_bytes(cbc.update(q)[-16:], "big")
        block = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update  # noqa: S305
        s = r.to_bytes(16, "big")
        s += b"".join(block((r ^ n).to_bytes(16, "big")) for n in range(1, 9))
        y = int.from_bytes(s[: 4 * -(-b // 4) + 4], "big")
        left, right = (right - y) % 10 ** (v if i % 2 else u), left
    return f"{left:0{u}d}{right:0{v}d}"


class Reader:
    """Decrypts what one field of one deployment and tenant holds."""

    def __init__(self, root: bytes, deployment: str, tenant: str, field: str) -> None:
        self.key_id = expand(
            "sha256", hmac.digest(bytes(32), root, "sha256"), b"lumina key id v1", 4
        )
        self._prk = hmac.digest(bytes(64), root, "sha512")
        self._names = deployment.encode(), tenant.encode(), field.encode()

    def key(self, purpose: str, size: int = 32) -> bytes:
        """Derive a key of the field."""
        return expand("sha512", self._prk, lp(purpose.encode(), self._names[2]), size)

    def context(self, suite: int) -> bytes:
        """Return what a ciphertext of a suite is bound to."""
        return b"lumina-ctx-2" + lp(bytes((suite,)), self.key_id, *self._names, b"")

    def text(self, stored: str) -> str:
        """Decrypt a text that begins with lm1r or lm1d, to the JSON of its value."""
        assert stored[:4] in {"lm1r", "lm1d"}
        message = base64.urlsafe_b64decode(stored[4:] + "=" * (-len(stored[4:]) % 4))
        assert message[:1] + message[2:6] == b"\xe1" + self.key_id
        suite, body = message[1], message[6:]
        context = self.context(suite)
        if suite == 0x01:
            plain = chunked(self.key("lumina chunked v1"), context, body)
        elif suite == 0x02:
            plain = xaes(self.key("lumina xaes v1"), context, body)
        elif suite == 0x03:
            plain = AESSIV(self.key("lumina siv v1", 64)).decrypt(body, [context])
        else:
            assert suite == 0x04
            bound = lp(b"\4", self.key_id, self._names[0], self._names[2])
            gcm = AESGCM(self.key("lumina field v1"))
            plain = gcm.decrypt(body[:12], body[12:], b"lumina-ctx-1" + bound)
        kind, value = plain[:1], plain[1:].decode()
        assert kind in {b"s", b"j"}
        return json.dumps(value) if kind == b"s" else value

    def address(self, stored: str, domain: str) -> str:
        """Decrypt a ciphertext of shape e-mail to the address."""
        local, _, host = stored.lower().partition("@")
        characters = local + host[: -len(domain)].replace(".", "")
        assert characters[0] == "a"
        encoded = characters[1:].upper()
        message = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
        assert message[:4] == self.key_id
        siv = AESSIV(self.key("lumina mail v1", 64))
        return siv.decrypt(message[4:], [self.context(5)]).decode()

    def digits(self, stored: str) -> str:
        """Decrypt the digits of a string, in place."""
        tweak = hashlib.sha256(self.context(6)).digest()[:16]
        found = "".join(one for one in stored if one.isdigit())
        plain = iter(ff1(self.key("lumina ff1 v1"), tweak, found))
        return "".join(next(plain) if one.isdigit() else one for one in stored)

    def pepper(self, password: str) -> str:
        """Compute what a password became; nothing decrypts it."""
        key, message = self.key("lumina pepper v1", 48), self.context(7)
        mac = hmac.digest(key, message + password.encode(), "sha384")
        return "Aa1!" + base64.urlsafe_b64encode(mac).decode()
