"""Whose bucket it is: what a limit counts by, written so that no two are the same.

An owner stands in a key as a letter for its kind, a colon and its name. A name that is
long or has unusual characters is hashed, which the letter's ``h`` says; what may be a
secret is hashed always, with a key. So no comma, brace or line end is in it, and
whatever bytes a client sends, a key is read in one way only.
"""

import functools
import hashlib
import ipaddress
import re
from typing import Final

from proxy.core.limit import Part, Per
from proxy.core.message import RawHeaders
from proxy.core.routing import Pattern

_PLAIN: Final = re.compile(r"[A-Za-z0-9._@:-]{1,64}").fullmatch
"""Names that stand in a key as they are: no brace, so the hash tag ends once."""


class Asking:
    """What a request says of itself that limits may count by.

    Attributes:
        subject: the verified subject; "" without a token.
        client: the client's address.
        role: the acting role; "" without a token.
        rule: the id of the rule.
        tenant: whose keys protect what is exchanged; "" for none.
        pattern: the rule's path.
        path: the canonical path.
        headers: every field line as it came.
        length: bytes of the body; None when only its end will tell.
        now_us: epoch microseconds.
        hold: an id that no other request has.
        secret: hashes what may be a secret.
        given: what an operator says of it instead of a request: ``path.id`` and
            ``header.x-version`` to their values; None of a request.
    """

    __slots__ = (
        "client",
        "given",
        "headers",
        "hold",
        "length",
        "now_us",
        "path",
        "pattern",
        "role",
        "rule",
        "secret",
        "subject",
        "tenant",
    )

    def __init__(self, *, subject: str, client: str, role: str = "") -> None:
        self.subject = subject
        self.client = client
        self.role = role
        self.rule = ""
        self.tenant = ""
        self.pattern: Pattern | None = None
        self.path = ""
        self.headers: RawHeaders = []
        self.length: int | None = 0
        self.now_us = 0
        self.hold = ""
        self.secret = b""
        self.given: dict[str, str] | None = None

    def header(self, name: str) -> bytes | None:
        """Return the value of a field, repeated ones joined; None without one."""
        if self.given is not None:
            given = self.given.get(f"header.{name}")
            return None if given is None else given.encode("latin-1", "replace")
        wanted = name.encode("ascii")
        found = [value for lower, _, value in self.headers if lower == wanted]
        return b", ".join(found) if found else None

    def parameter(self, name: str) -> str:
        """Return a parameter of the path as it is forwarded; "" without one."""
        if self.given is not None:
            return self.given.get(f"path.{name}", "")
        place = None if self.pattern is None else places_of(self.pattern).get(name)
        if place is None:
            return ""
        start, rest = place
        segments = self.path.split("/")
        return "/".join(segments[start:]) if rest else segments[start]


@functools.lru_cache(maxsize=1024)
def places_of(pattern: Pattern) -> dict[str, tuple[int, bool]]:
    """Return where each parameter is among a path's segments, and if it is the rest."""
    free = [n for n, one in enumerate(pattern.segments, start=1) if one is None]
    if pattern.rest:
        free.append(len(pattern.segments) + 1)
    last = pattern.params[-1] if pattern.rest else ""
    pairs = zip(pattern.params, free, strict=True)
    return {name: (place, name == last) for name, place in pairs}


def owner_of(per: Per, subject: str, client: str) -> str:
    """Return the owner where it is a subject or a client, not yet quoted."""
    # Without a subject, its limits fall to the client rather than to one common bucket.
    if per is Per.SUBJECT and subject:
        return "s:" + subject
    return "c:" + (client_group(client) if ":" in client else client)


@functools.lru_cache(maxsize=4096)
def client_group(address: str) -> str:
    """Return whom an IPv6 address stands for: its /64, or the IPv4 address in it.

    A site has at least a /64 to itself (RFC 6177), so counting addresses would count
    nothing.
    """
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False).network_address)


def quoted(owner: str) -> str:
    """Return what ``owner_of`` returned as it stands in a key."""
    kind, _, name = owner.partition(":")
    return _written(kind, name)


def owner_of_parts(parts: tuple[Part, ...], asking: Asking) -> tuple[str, str]:
    """Return the owner where it is something else, as it stands in a key.

    Returns:
        The first part, which is the hash tag, and the others, each after a comma.
    """
    written = [_part(part, asking) for part in parts]
    return written[0], "".join([f",{one}" for one in written[1:]])


def _part(part: Part, asking: Asking) -> str:
    per, name = part.per, part.name
    if per in (Per.SUBJECT, Per.CLIENT) or (per is Per.TENANT and not asking.tenant):
        # Without a tenant, too, it is the client who pays.
        return quoted(owner_of(per, asking.subject, asking.client))
    if per is Per.EVERYONE:
        return "*"
    if per is Per.PATH:
        return _written("p", asking.parameter(name), name)
    if per is Per.HEADER:
        return _header(name, asking)
    letter, value = {
        Per.ROLE: ("r", asking.role),
        Per.RULE: ("u", asking.rule),
        Per.TENANT: ("t", asking.tenant),
    }[per]
    return _written(letter, value)


def _header(name: str, asking: Asking) -> str:
    value = asking.header(name)
    if value is None:  # not the same as one that is empty
        return f"x.{name}:"
    return f"xh.{name}:{secret_hash(value, asking.secret)}"


def _written(kind: str, name: str, of: str = "") -> str:
    dotted = f".{of}" if of else ""
    if _PLAIN(name):
        return f"{kind}{dotted}:{name}"
    # surrogatepass: bytes that are not Unicode still make a name.
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{kind}h{dotted}:{digest.hexdigest()}"


def secret_hash(value: bytes, secret: bytes) -> str:
    """Return what stands for a value that may be a secret: a keyed hash of it.

    Args:
        value: of any length.
        secret: up to 64 bytes (RFC 7693 section 2.1); whoever has not got it can try
            no guesses.
    """
    return hashlib.blake2b(value, digest_size=16, key=secret).hexdigest()
