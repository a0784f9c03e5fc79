"""JSON Web Key Sets: which of the keys that an issuer publishes may verify its tokens.

Rules of this file:

1. A set comes from the network, so it is believed about public keys and nothing else:
   a private or symmetric key in it is known to everybody, and verifies nothing.
2. The policy pins the algorithms. A key that names another one, or another use, is not
   for tokens of ours (RFC 7517, 4.2 to 4.4; RFC 8725, 3.1).
3. A key that cannot be used does not spoil the others: providers publish keys for
   other purposes, and of kinds that are newer than this program.

The keys are read by pyjwt and cryptography.
"""

import json
import re
from typing import Any, Final, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm

from proxy.core import jws
from proxy.core.issuer import VerificationKey

MAX_SET_BYTES: Final = 262_144
MAX_KEYS: Final = 32
"""Usable keys of one set; real ones have two to ten."""

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
"""Members of secret halves (RFC 7518, 6), and of what is secret as a whole."""
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z ]+-----[^-]*-----END [A-Z ]+-----", re.DOTALL
)
_FAMILIES: Final = {"RSA": "RSA", "EC": "EC", "OKP": "EdDSA"}


class KeySet(NamedTuple):
    """What a JWK Set has for us.

    Attributes:
        keys: usable ones, in the order of the set.
        unused: why each of the others is not, in words without any key.
    """

    keys: tuple[VerificationKey, ...]
    unused: tuple[str, ...]


def read_key_set(text: bytes, algorithms: tuple[str, ...]) -> KeySet:
    """Read a JWK Set.

    Args:
        text: the document.
        algorithms: that are pinned for the issuer.

    Raises:
        ValueError: it is none, or is out of all proportion; a sentence for people.
    """
    if len(text) > MAX_SET_BYTES:
        raise ValueError(f"the key set is longer than {MAX_SET_BYTES} bytes")
    try:
        document = json.loads(text.decode())
    except (ValueError, RecursionError):
        document = None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError("this is no JWK Set: an object with the list keys")  # noqa: TRY004 - of a document
    keys: list[VerificationKey] = []
    unused: list[str] = []
    for place, member in enumerate(members):
        try:
            keys.append(read_key(member, algorithms))
        except ValueError as error:
            unused.append(f"keys[{place}]: {error}")
    if len(keys) > MAX_KEYS:
        raise ValueError(f"the key set has {len(keys)} keys; {MAX_KEYS} are the most")
    return KeySet(tuple(keys), tuple(unused))


def read_pem(text: bytes, algorithms: tuple[str, ...]) -> KeySet:
    """Read public keys in PEM, one after the other; they have no kid.

    Raises:
        ValueError: one of them is not usable, or there is none.
    """
    blocks = _PEM.findall(text.decode("ascii", "replace"))
    if not 0 < len(blocks) <= MAX_KEYS:
        raise ValueError(f"there are {len(blocks)} keys in PEM; 1 to {MAX_KEYS} may be")
    return KeySet(tuple(VerificationKey.load(one, algorithms) for one in blocks), ())


def read_key(member: object, algorithms: tuple[str, ...]) -> VerificationKey:
    """Read one public key of a set.

    Raises:
        ValueError: it may not, or cannot, verify tokens; a sentence without the key.
    """
    if not isinstance(member, dict):
        raise ValueError("a key is an object")  # noqa: TRY004 - of a document
    if _PRIVATE & member.keys():
        raise ValueError("a private or symmetric key is no secret here")
    kid, algorithm = member.get("kid"), member.get("alg")
    if kid is not None and not isinstance(kid, str):
        raise ValueError("its kid is not a string")
    if algorithm is not None and algorithm not in algorithms:
        raise ValueError("it is for an algorithm that is not pinned")
    if member.get("use", "sig") != "sig" or not _may_verify(member.get("key_ops")):
        raise ValueError("it is not for signatures")
    fitting = (algorithm,) if algorithm else algorithms
    return VerificationKey(
        kid=kid, key=_public_key(member, fitting), algorithm=algorithm
    )


def _may_verify(operations: object) -> bool:
    return operations is None or (
        isinstance(operations, list) and "verify" in operations
    )


def _public_key(member: dict[str, Any], algorithms: tuple[str, ...]) -> object:
    family = _FAMILIES.get(str(member.get("kty")))
    ours = tuple(
        name for name in algorithms if name in jws.FAMILIES.get(family or "", ())
    )
    if not ours:
        raise ValueError("its kind is not that of the pinned algorithms")
    try:
        key = jwt.get_algorithm_by_name(ours[0]).from_jwk(member)
    except (jwt.InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        key = None  # the error would quote the key
    if key is None:
        raise ValueError("it cannot be read")
    jws.check_key(key, ours)
    return key
