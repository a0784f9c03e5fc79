r"""Bytes that look like an e-mail address, for backends that insist on one.

Frozen by ``tests/vectors/cipher_modes.json``::

    address    = local part "@" { label "." } mail domain
    characters = "a" || base32(bytes), lower case, RFC 4648 section 6, no padding
                 the local part is the first 64 of them, each label the next 63
    bytes        0          4                 20              n
                 +----------+-----------------+---------------+
                 | key id   | synthetic IV    | ciphertext    |
                 +----------+-----------------+---------------+
                   u32 BE     16 bytes          as long as the value

The "a" is the format; an address begins with a letter, which some checks want. Letters
and digits only, in one case: backends lower-case addresses, and some compare them in
any case. The mail domain belongs to the deployer and to nothing else, so that every
address below it is recognised, and no ciphertext is ever somebody's real address.
Limits: RFC 5321 section 4.5.3.1 (local part 64, all of it 254), RFC 1035 section 2.3.4
(label 63).

Knows nothing of keys.
"""

import base64
import re

MAX_LENGTH = 254
"""RFC 5321 section 4.5.3.1.3: a path of 256 characters less its two brackets."""

_FORMAT = "a"
_MAX_LOCAL = 64
_MAX_LABEL = 63
_OVERHEAD_BYTES = 20

_encoded = re.compile(r"[a-z2-7]+").fullmatch
_TO_DIGITS = str.maketrans(
    "abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv"
)

# A dot-atom of RFC 5322 section 3.2.3, and of RFC 6531 where it is not ASCII. Quoted
# local parts and address literals are refused by nearly every backend.
_ATOM = r"[^\s@\x00-\x20\x7f\"(),.:;<>\[\]\\]+"
_LABEL = r"[^\W_](?:(?:[^\W_]|-)*[^\W_])?"
_address = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}").fullmatch

# What email-validator refuses although it is well-formed: special-use top-level
# domains (RFC 6761, 7686, 9476), under which nobody has an address.
_SPECIAL_USE = frozenset({"arpa", "invalid", "local", "localhost", "onion", "test"})
_DOMAIN_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_domain = re.compile(rf"(?:{_DOMAIN_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")


def is_address(text: str) -> bool:
    """Tell whether a string is an e-mail address, as far as syntax says.

    Since backends see ciphertexts only, it is the proxy's to refuse what is none.
    """
    return len(text) <= MAX_LENGTH and _address(text) is not None


def complaint_about(domain: str) -> str:
    """Say what is wrong with a mail domain; "" when addresses at it pass checks."""
    if not _domain.fullmatch(domain):
        return "is not a domain of two or more labels in lower case"
    if domain.startswith("xn--") or ".xn--" in domain:
        return "is internationalised, and some checks would store it spelled out"
    if domain.rpartition(".")[2] in _SPECIAL_USE:
        return "is below a special-use domain, where many checks refuse addresses"
    if capacity(domain, MAX_LENGTH) < 0:
        return "is too long to hold a ciphertext before it"
    return ""


def write(key_id: int, sealed: bytes, domain: str) -> str:
    """Return the address of a synthetic IV and ciphertext."""
    message = key_id.to_bytes(4, "big") + sealed
    encoded = base64.b32encode(message).decode().rstrip("=").lower()
    return _spread(_FORMAT + encoded, domain)


def _spread(characters: str, domain: str) -> str:
    local, rest = characters[:_MAX_LOCAL], characters[_MAX_LOCAL:]
    if not rest:
        return f"{local}@{domain}"
    labels = [rest[at : at + _MAX_LABEL] for at in range(0, len(rest), _MAX_LABEL)]
    return f"{local}@{'.'.join(labels)}.{domain}"


def is_below(text: str, domain: str) -> bool:
    """Tell whether a string claims to be an address at or below a mail domain."""
    host = text.strip().lower().rpartition("@")[2]
    return host == domain or host.endswith("." + domain)


def read(text: str, domain: str) -> tuple[int, bytes]:
    """Return key id, and synthetic IV with ciphertext; letters may have any case.

    Raises:
        ValueError: it is not what ``write`` returns for this domain.
    """
    text = text.lower()
    local, _, host = text.partition("@")
    characters = local + host.removesuffix(domain).replace(".", "")
    encoded = characters[len(_FORMAT) :]
    if not _encoded(encoded) or _spread(_FORMAT + encoded, domain) != text:
        raise ValueError("not the one spelling of its bytes")
    # base64.b32decode takes five times as long, and does not mind bits to spare.
    number = int(encoded.translate(_TO_DIGITS), 32)
    size, spare = divmod(5 * len(encoded), 8)
    # A character has five bits, so that many are never to spare.
    if spare > 4 or number & ((1 << spare) - 1) or size < _OVERHEAD_BYTES:  # noqa: PLR2004
        raise ValueError("not the one spelling of its bytes")
    message = (number >> spare).to_bytes(size, "big")
    return int.from_bytes(message[:4], "big"), message[4:]


def length(value_bytes: int, domain: str) -> int:
    """Return how many characters the address of a value has.

    Example:
        >>> length(15, "enc.lms.example"), length(30, "enc.lms.example")
        (73, 98)
    """
    characters = len(_FORMAT) + -(-(value_bytes + _OVERHEAD_BYTES) * 8 // 5)
    labels = -(-max(0, characters - _MAX_LOCAL) // _MAX_LABEL)
    return characters + 1 + labels + len(domain)


def capacity(domain: str, characters: int) -> int:
    """Return the most bytes of a value whose address fits; -1 for not even none."""
    fitting = [n for n in range(characters) if length(n, domain) <= characters]
    return max(fitting, default=-1)
