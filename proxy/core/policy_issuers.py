"""The section ``issuers`` of a policy: whom tokens are trusted from.

The key of an algorithm decides how it is written: a shared secret for HMAC, a public
key for everything else. Mixing them up is the oldest attack on tokens (RFC 8725 section
2.1), so it is refused here, before there is a token.
"""

import re
from collections.abc import Mapping

from proxy.core import policy_values as values
from proxy.core.authn import FAMILIES, Issuer, VerificationKey
from proxy.core.policy_keys import ISSUER, KEY, required
from proxy.core.policy_sections import Section, named
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Node, Scalar

MAX_LEEWAY_SECONDS = 300.0

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
    keys = ("secret", "public_key", "keys")
    entries = report.entries(node, ISSUER, required(ISSUER))
    issuer = report.read(entries.get("issuer"), values.string, None)
    audience = report.read(entries.get("audience"), values.strings, None)
    algorithms = _algorithms(report, entries.get("algorithms"))
    roles = report.read(entries.get("roles"), _claim_path, None)
    leeway = report.read(entries.get("leeway"), _leeway, 0.0)
    loaded: tuple[VerificationKey, ...] = ()
    given = [key for key in keys if key in entries]
    if entries and len(given) != 1:
        report.error(node.at, "needs exactly one of secret, public_key and keys")
    elif given == ["keys"]:
        loaded = _keys(report, entries["keys"], algorithms)
    elif given:
        loaded = _key(report, given[0], entries, algorithms)
    if not (issuer and audience and algorithms and roles and loaded):
        return None
    return Issuer(
        id=name,
        issuer=issuer,
        audience=audience,
        algorithms=algorithms,
        keys=loaded,
        roles=roles,
        leeway=leeway,
    )


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


def _claim_path(node: Node) -> tuple[str, ...]:
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
