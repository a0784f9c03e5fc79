"""The section ``issuers`` of a policy: whom tokens are trusted from.

The key of an algorithm decides how it is written: a shared secret for HMAC, a public
key for everything else. Mixing them up is the oldest attack on tokens (RFC 8725 section
2.1), so it is refused here, before there is a token.
"""

import re
from collections.abc import Mapping

from proxy.core import policy_values as values
from proxy.core.issuer import Issuer, RemoteKeys, VerificationKey, allowed_url
from proxy.core.jws import FAMILIES
from proxy.core.policy_keys import ISSUER, KEY, required
from proxy.core.policy_sections import Section, named
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Node, Scalar

MAX_LEEWAY_SECONDS = 300.0

_REMOTE = frozenset({"jwks", "discovery"})
KEY_SOURCES = ("secret", "public_key", "keys", "jwks", "discovery")
_TYPE = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,63}")
_FAMILY_OF = {word: kind for kind, words in FAMILIES.items() for word in sorted(words)}
CLAIM_PATH = re.compile(r"\$(?:\.[A-Za-z0-9_-]+|\['[^']+'\])+")
_CLAIM_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\['([^']+)'\]")


def read_issuers(report: Report, section: Section) -> dict[str, Issuer | None]:
    """Read whom tokens are trusted from; the keys are the names in the policy."""
    issuers = named(report, section, _issuer)
    seen: dict[str, str] = {}
    for name, issuer in issuers.items():
        if issuer and issuer.issuer in seen:
            at = section[name][1].at
            report.error(at, f"the same issuer as {seen[issuer.issuer]!r}")
        elif issuer:
            seen[issuer.issuer] = name
    return issuers


def _issuer(report: Report, name: str, node: Node) -> Issuer | None:
    entries = report.entries(node, ISSUER, required(ISSUER))
    issuer = report.read(entries.get("issuer"), values.string, None)
    audience = report.read(entries.get("audience"), values.strings, None)
    algorithms = _algorithms(report, entries.get("algorithms"))
    roles = report.read(entries.get("roles"), claim_path, None)
    leeway = report.read(entries.get("leeway"), _leeway, 0.0)
    lifetime = report.read(entries.get("max_lifetime"), values.positive_duration, None)
    types = report.read(entries.get("types"), _types, None)
    keys, remote = _sources(report, node, entries, algorithms)
    if not (issuer and audience and algorithms and roles and (keys or remote)):
        return None
    return Issuer(
        id=name,
        issuer=issuer,
        audience=audience,
        algorithms=algorithms,
        keys=keys,
        roles=roles,
        leeway=leeway,
        remote=remote,
        types=types,
        max_lifetime=lifetime,
        required=report.read(entries.get("require"), values.strings, ()),
    )


def _sources(
    report: Report,
    node: Node,
    entries: Mapping[str, Node],
    algorithms: tuple[str, ...],
) -> tuple[tuple[VerificationKey, ...], RemoteKeys | None]:
    """Read the keys, or where they are; (() and None) when neither can be read."""
    given = [key for key in KEY_SOURCES if key in entries]
    if entries and len(given) != 1:
        choice = f"{', '.join(KEY_SOURCES[:-1])} and {KEY_SOURCES[-1]}"
        report.error(node.at, f"needs exactly one of {choice}")
        return (), None
    for key in ("refresh", "keep"):
        if key in entries and not _REMOTE.intersection(given):
            message = f"{key} is for keys that are fetched"
            report.error(entries[key].at, message, "remove it")
    if given == ["keys"]:
        return _keys(report, entries["keys"], algorithms), None
    if _REMOTE.intersection(given):
        return (), _remote(report, given[0], entries, algorithms)
    return _key(report, given[0], entries, algorithms) if given else (), None


def _remote(
    report: Report,
    kind: str,
    entries: Mapping[str, Node],
    algorithms: tuple[str, ...],
) -> RemoteKeys | None:
    """Read where keys are fetched from."""
    if algorithms and _FAMILY_OF[algorithms[0]] == "HMAC":
        hint = "a shared secret stays in secret or keys"
        report.error(entries[kind].at, f"{algorithms[0]} has no public keys", hint)
        return None
    discovery = kind == "discovery"
    url = report.read(
        entries[kind], lambda node: remote_url(node, files=not discovery), None
    )
    usual = RemoteKeys(url="")
    refresh, keep = (
        report.read(entries.get(name), values.positive_duration, default)
        for name, default in (("refresh", usual.refresh), ("keep", usual.keep))
    )
    if keep < refresh:
        at = entries.get("keep", entries.get("refresh", entries[kind])).at
        report.error(at, "keys would be dropped before they are looked at again")
    if url is None:
        return None
    return RemoteKeys(url=url, discovery=discovery, refresh=refresh, keep=keep)


def remote_url(node: Node, *, files: bool = False) -> str:
    """Read the address of what is believed because of where it is."""
    text = values.string(node)
    if not allowed_url(text, files=files):
        what = "https://host/path" + (", or file:/path" if files else "")
        hint = "http only to this machine: 127.0.0.1, [::1] or localhost"
        raise refuse(node, f"the address is not {what}", hint)
    return text


def _types(node: Node) -> frozenset[str]:
    kinds = frozenset(
        one.lower().removeprefix("application/") for one in values.strings(node)
    )
    for kind in sorted(kinds):
        if not _TYPE.fullmatch(kind):
            raise refuse(node, "this is not the type of a token", "such as at+jwt")
    return kinds


def _algorithms(report: Report, node: Node | None) -> tuple[str, ...]:
    """Read pinned algorithms; () when they are not of one family (RFC 8725 3.1)."""
    items = report.items(node)
    if any(isinstance(i, Scalar) and i.text.lower() == "none" for i in items):
        report.error(items[0].at, "'none' is not a signature", "RFC 8725 section 3.2")
        return ()
    algorithms = report.choices(node, "algorithm", _FAMILY_OF)
    families = {_FAMILY_OF[algorithm]: algorithm for algorithm in algorithms}
    if node and len(families) > 1:
        mixed = " and ".join(families.values())
        report.error(node.at, f"{mixed} are of different families", "RFC 8725 3.1")
        return ()
    return algorithms


def claim_path(node: Node) -> tuple[str, ...]:
    """Read the path of a claim as the names that lead to it."""
    scalar = values.as_scalar(node)
    if not CLAIM_PATH.fullmatch(scalar.text):
        hint = "such as $.role, $.realm_access.roles or $['https://lms.example/role']"
        raise refuse(node, f"{values.quoted(scalar)} is not the path of a claim", hint)
    return tuple(dot or quoted for dot, quoted in _CLAIM_STEP.findall(scalar.text))


def _leeway(node: Node) -> float:
    seconds = values.duration(node)
    if seconds > MAX_LEEWAY_SECONDS:
        raise refuse(node, "the leeway is above 5m", "set the clocks instead")
    return seconds


def _keys(
    report: Report, node: Node, algorithms: tuple[str, ...]
) -> tuple[VerificationKey, ...]:
    """Read keys with an id each."""
    loaded: list[VerificationKey] = []
    seen: set[str] = set()
    for item in report.items(node):
        entries = report.entries(item, KEY, required(KEY))
        kid = report.read(entries.get("kid"), lambda n: values.written(n).text, None)
        if kid in seen:
            report.error(entries["kid"].at, f"the key id {kid!r} is there twice")
        seen.update([kid] if kid else [])
        given = [key for key in ("secret", "public_key") if key in entries]
        if len(given) == 1:
            loaded.extend(_key(report, given[0], entries, algorithms, kid))
        elif entries:
            report.error(item.at, "needs exactly one of secret and public_key")
    return tuple(loaded)


def _key(
    report: Report,
    kind: str,
    entries: Mapping[str, Node],
    algorithms: tuple[str, ...],
    kid: str | None = None,
) -> tuple[VerificationKey, ...]:
    """Load one key of the given kind; () when it is not one or does not fit."""
    if not algorithms:
        return ()
    symmetric = _FAMILY_OF[algorithms[0]] == "HMAC"
    if symmetric != (kind == "secret"):
        wanted = "secret" if symmetric else "public_key"
        hint = f"write {wanted}"
        report.error(entries[kind].at, f"{algorithms[0]} does not use a {kind}", hint)
        return ()

    def load(node: Node) -> tuple[VerificationKey, ...]:
        text = values.string(node)
        try:
            return (VerificationKey.load(text, algorithms, kid),)
        except ValueError as error:
            # The message is about the kind of key; it never quotes one.
            raise refuse(node, str(error)) from None

    return report.read(entries[kind], load, ())
