"""Whom tokens are trusted from, and what such tokens must be like.

What the policy says of an issuer, compiled. Where its keys are fetched from is written
here and fetched by an edge; the keys that are in force are in ``authn``.
"""

import dataclasses
import re
from typing import Any, Final

from proxy.core import jws

TYPES: Final = frozenset({"jwt", "at+jwt"})
"""What ``typ`` says of tokens for access, in lower case (RFC 7519 5.1, RFC 9068)."""


_URL: Final = re.compile(
    r"(?:https://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"|http://(?:127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\]|localhost))"
    r"(?::[0-9]{1,5})?(?:/[!-~]*)?"
)
_FILE: Final = re.compile(r"file:(?://)?/[^/\x00-\x1f][^\x00-\x1f]*")


def allowed_url(url: str, *, files: bool = False) -> bool:
    """Say whether what is at an address may be believed: https, or this machine.

    Args:
        url: absolute, without credentials or fragment.
        files: whether ``file:`` and a path will do, too.
    """
    if files and _FILE.fullmatch(url):
        return True
    return _URL.fullmatch(url) is not None and "#" not in url


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One key of an issuer.

    Attributes:
        kid: the only ``kid`` the key answers to; None matches tokens without ``kid``
            and any kid.
        algorithm: the only algorithm it serves, of those of its issuer; None for each
            that it fits.
    """

    kid: str | None
    key: Any = dataclasses.field(repr=False)
    algorithm: str | None = None

    @classmethod
    def load(
        cls, text: str, algorithms: tuple[str, ...], kid: str | None = None
    ) -> "VerificationKey":
        """Prepare a shared secret or PEM public key; ValueError says what is wrong.

        Args:
            text: the secret itself, at least as long as the hash; or a PEM public key.
            algorithms: those of the issuer.
            kid: the only ``kid`` the key answers to, or None for any.
        """
        return cls(kid=kid, key=jws.load_key(text, algorithms))

    def verifies(self, token: jws.Jws) -> bool:
        """Say whether this key signed a token whose algorithm the issuer has."""
        if self.algorithm is not None and self.algorithm != token.algorithm:
            return False
        return jws.verify(token, self.key)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteKeys:
    """Where the keys of an issuer are fetched from.

    Attributes:
        url: of a JWK Set (RFC 7517), or of the issuer's metadata, which names one;
            https or loopback. Or ``file:`` and a path.
        discovery: whether it is of the metadata (OpenID Connect Discovery, RFC 8414).
        refresh: seconds between two looks at it.
        keep: seconds after the last good answer in which the keys stay good.
    """

    url: str
    discovery: bool = False
    refresh: float = 600.0
    keep: float = 86_400.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Whom tokens are trusted from, and what such tokens must say.

    Attributes:
        id: the name in the policy.
        issuer: the exact ``iss`` value.
        audience: the token's ``aud`` must contain one of these; never empty.
        algorithms: pinned; a token's ``alg`` must be one of these, all of one family.
        keys: static keys; empty when they are fetched.
        roles: the claim that holds the role, as a path of names (``$.realm.role`` is
            ("realm", "role")); its value is a string or a list of strings.
        leeway: seconds of clock skew granted to ``exp``, ``nbf`` and ``iat``.
        remote: where keys are fetched from; None for static keys.
        types: what ``typ`` must be, in lower case; None accepts TYPES and none at all.
        max_lifetime: seconds from ``iat``, which is required then, to ``exp`` at the
            most; None for no bound.
        required: claims that must be there, besides the usual ones.
    """

    id: str
    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    keys: tuple[VerificationKey, ...]
    roles: tuple[str, ...]
    leeway: float = 0.0
    remote: RemoteKeys | None = None
    types: frozenset[str] | None = None
    max_lifetime: float | None = None
    required: tuple[str, ...] = ()
