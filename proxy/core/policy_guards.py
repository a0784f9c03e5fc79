"""What a rule asks beside a role, from nodes to a ``Guard``; and lists of addresses."""

import dataclasses
import ipaddress
import re
from collections.abc import Mapping

from proxy.core import policy_values as values
from proxy.core.addresses import Addresses, AddressSet
from proxy.core.conditions import Condition, ConditionError, Mistake
from proxy.core.forwarding import Network
from proxy.core.guard import Guard
from proxy.core.policy_keys import ADDRESSES, REQUIRE
from proxy.core.policy_sections import Section, named
from proxy.core.policy_values import Report, refuse, unknown
from proxy.core.routing import Pattern
from proxy.core.step_up import StepUp
from proxy.core.yaml_source import Node, Place, Scalar

ENFORCE, SHADOW = MODES = ("enforce", "shadow")

SCOPE = re.compile(r"[!#-\[\]-~]{1,128}")
"""RFC 6749, 3.3: one scope-token."""

NETWORK = re.compile(
    r"[0-9][0-9.]*(?:/[0-9]+)?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:/[0-9]+)?"
)

Networks = tuple[Network, ...]


def read_addresses(report: Report, section: Section) -> dict[str, Networks | None]:
    """Read the lists of addresses that have a name."""
    return named(report, section, lambda r, _, node: _networks(r, node, {}))


def _networks(
    report: Report, node: Node, lists: Mapping[str, Networks | None]
) -> Networks | None:
    """Read networks and names of lists; None when something of it is refused."""
    networks: dict[Network, None] = {}
    before = len(report.findings)
    for item in report.items(node):
        for one in report.read(item, lambda n: _network_or_list(n, lists), ()):
            if one in networks and isinstance(item, Scalar):
                report.error(item.at, f"{one} is listed twice")
            networks[one] = None
    return tuple(networks) if len(report.findings) == before else None


def _network_or_list(node: Node, lists: Mapping[str, Networks | None]) -> Networks:
    scalar = values.as_scalar(node)
    text = scalar.text
    if not NETWORK.fullmatch(text):
        name = values.written(node)
        if name.text not in lists:
            message, hint = unknown("list of addresses", name, lists)
            raise refuse(node, message, hint or "an address or a network: 10.0.0.0/8")
        return lists[name.text] or ()
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        told = "this" if scalar.hidden else str(error)
        message = f"{told} is not a network" if scalar.hidden else told
        raise refuse(node, message) from None
    if not network.prefixlen:
        raise refuse(node, f"{text} is every address", "leave the key out")
    return (network,)


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What the guard of a rule is read against.

    Attributes:
        pattern: the path of the rule.
        token: whether the rule asks for a token.
        addresses: the lists that have a name.
        texts: the text of each file, by its name.
    """

    pattern: Pattern
    token: bool
    addresses: Mapping[str, Networks | None]
    texts: Mapping[str, str]


def read_guard(
    report: Report, entries: Mapping[str, Node], context: Context
) -> Guard | None:
    """Read what a rule asks beside a role; None when that is nothing."""
    if not context.token:
        for key in ("require", "scopes", "owner"):
            if key in entries:
                message = f"{key!r} needs a token, and this rule asks for none"
                report.error(entries[key].at, message, "let roles use it, not anyone")
    return Guard.of(
        context.pattern,
        addresses=_addresses(report, entries.get("addresses"), context),
        scopes=_scopes(report, entries.get("scopes")),
        owner=report.read(entries.get("owner"), lambda n: _owner(n, context), None),
        condition=_condition(report, entries.get("when"), context),
        step_up=_step_up(report, entries.get("require")),
    )


def read_shadow(report: Report, node: Node | None) -> bool:
    """Say whether a mode is that of the shadow."""
    return report.read(node, lambda n: values.choice(n, "mode", MODES), "") == SHADOW


def _addresses(report: Report, node: Node | None, context: Context) -> Addresses | None:
    entries = report.entries(node, ADDRESSES)
    sets = {
        key: AddressSet.of(networks)
        for key in ADDRESSES
        if key in entries
        and (networks := _networks(report, entries[key], context.addresses))
    }
    if not sets:
        return None
    return Addresses(allow=sets.get("allow"), deny=sets.get("deny"))


def _step_up(report: Report, node: Node | None) -> StepUp | None:
    entries = report.entries(node, REQUIRE)
    if not entries:
        return None
    return StepUp(
        acr=report.read(entries.get("acr"), _login_words, ()),
        amr=report.read(entries.get("amr"), _login_words, ()),
        max_age=report.read(entries.get("max_age"), values.positive_duration, None),
    )


def _login_words(node: Node) -> tuple[str, ...]:
    words = values.strings(node)
    for word in words:
        if not SCOPE.fullmatch(word):
            hint = "printable ASCII without spaces and quotes"
            raise refuse(node, "this cannot be said in a challenge", hint)
    return words


def _scopes(report: Report, node: Node | None) -> tuple[str, ...]:
    scopes: dict[str, None] = {}
    for item in report.items(node):
        scope = report.read(item, _scope, None)
        if scope in scopes:
            report.error(item.at, f"the scope {scope!r} is listed twice")
        elif scope is not None:
            scopes[scope] = None
    return tuple(scopes)


def _scope(node: Node) -> str:
    scalar = values.written(node)
    if not SCOPE.fullmatch(scalar.text):
        hint = "printable ASCII without spaces and quotes"
        raise refuse(node, f"{values.quoted(scalar)} is not a scope", hint)
    return scalar.text


def _owner(node: Node, context: Context) -> str:
    pattern = context.pattern
    single = pattern.params[:-1] if pattern.rest else pattern.params
    return values.choice(node, "parameter of the path", single)


def _condition(report: Report, node: Node | None, context: Context) -> Condition | None:
    scalar = report.read(node, values.written, None)
    if scalar is None:
        return None
    try:
        return Condition.compile(
            scalar.text, context.pattern.params, token=context.token
        )
    except ConditionError as error:
        for mistake in error.mistakes:
            place, where = _place(scalar, mistake, context.texts)
            report.error(place, f"{where}{mistake.message}", _hint(mistake, context))
    return None


def _hint(mistake: Mistake, context: Context) -> str:
    """Return what was probably meant."""
    found = re.search(r"undeclared reference to '([^']*)'", mistake.message)
    if found is None:
        anything = "something else" in mistake.message
        return "compare it: claims.x == 'y'" if anything else ""
    name, _, _ = found[1].partition(".")
    if name in ("claims", "role"):
        return "this rule asks for no token"
    if name == "path":
        known = [f"path.{one}" for one in context.pattern.params]
        return values.guess(found[1], known) or "the path has no parameters"
    known = ["claims", "role", "path", "method", "headers", "client", "now"]
    return values.guess(name, known)


def _place(
    scalar: Scalar, mistake: Mistake, texts: Mapping[str, str]
) -> tuple[Place, str]:
    """Return where a mistake in an expression is in its file.

    Where the file writes the expression otherwise than it reads (with escapes, or
    folded into one line) the place is the expression's own, and words say where in it.
    """
    at = scalar.at
    lines = texts.get(at.file, "").split("\n")
    written = scalar.text.split("\n")
    for line, column in _beginnings(lines, at):
        row = line + mistake.line - 1
        if row > len(lines) or not lines[row - 1][column - 1 :].startswith(
            written[mistake.line - 1]
        ):
            continue
        place = dataclasses.replace(at, line=row, column=column + mistake.column - 1)
        return place, ""
    return at, f"at {mistake.line}:{mistake.column} of the expression: "


def _beginnings(lines: list[str], at: Place) -> list[tuple[int, int]]:
    """Return where the text of a scalar may begin: plain, quoted, or as a block."""
    beginnings = [(at.line, at.column), (at.line, at.column + 1)]
    for number, text in enumerate(lines[at.line :], at.line + 1):
        if text.strip():
            beginnings.append((number, len(text) - len(text.lstrip(" ")) + 1))
            break
    return beginnings
