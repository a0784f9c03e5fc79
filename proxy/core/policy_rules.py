"""The rules of a policy: from nodes to frozen objects.

A rule is read against the sections it refers to, which were read before it. What can
only be said of all rules together is in ``policy_lint``.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from proxy.core import policy_values as values
from proxy.core.backends import Backend
from proxy.core.field import Field
from proxy.core.fields import Selection
from proxy.core.guard import Guard
from proxy.core.hardening import Hardening
from proxy.core.limit import Limit, Login
from proxy.core.listeners import DEFAULT_LISTENER, Listener
from proxy.core.observing import USUAL, Logging
from proxy.core.parameters import Parameters
from proxy.core.policy import ANYONE, Rule
from proxy.core.policy_backends import read_rule_timeouts
from proxy.core.policy_bindings import read_binds
from proxy.core.policy_guards import Context, Networks, read_guard, read_shadow
from proxy.core.policy_keys import PROTECT, RULE, required
from proxy.core.policy_limits import everywhere, read_limit, with_older
from proxy.core.policy_observing import read_observed
from proxy.core.policy_responses import read_rule_responses
from proxy.core.policy_upgrade import read_upgrade
from proxy.core.policy_values import Report, refuse
from proxy.core.responses import Responses
from proxy.core.routing import Ambiguity, Pattern
from proxy.core.yaml_source import Listing, Node, Scalar, Table

# RFC 9110 section 9.3 and the WebDAV methods that a service may speak (RFC 4918,
# 3253, 4791). CONNECT and TRACE are never forwarded.
METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT"),
)

NEVER_TOLERATED = frozenset({Ambiguity.DOT_SEGMENT, Ambiguity.CONTROL})
"""Ambiguities that no rule may let pass, for no service reads them in one way."""

RULE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
COUNTER = re.compile(r"lumina_[a-z0-9_]{1,80}_total")
OWN_METRICS = (
    "lumina_active_",
    "lumina_audit_",
    "lumina_aborted_",
    "lumina_build_",
    "lumina_cipher_",
    "lumina_decisions_",
    "lumina_downstream_",
    "lumina_internal_",
    "lumina_jwks_",
    "lumina_key_",
    "lumina_keystore_",
    "lumina_limiter_",
    "lumina_listener_",
    "lumina_limits_",
    "lumina_log_",
    "lumina_overhead_",
    "lumina_policy_",
    "lumina_request_",
    "lumina_revocations",
    "lumina_shadow_",
    "lumina_stage_",
    "lumina_system_",
    "lumina_tunnels_",
    "lumina_upstream_",
    "lumina_worker",
)
"""How the names of the proxy's own families begin; a policy's counters do not."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The sections that a rule refers to; None is what could not be read.

    Attributes:
        heirs: to each role those that may what it may, itself among them.
        addresses: lists of addresses, by name.
        texts: the text of each file, by its name.
        backend_limits: the limits that rules have because of their backend.
        older: whether clients are told of limits with the older fields, too.
        shadow: whether the policy as a whole enforces nothing.
        logging: what is logged where a rule does not say.
        responses: what the policy says of every answer; None for nothing.
        hardenings: what was compiled before of what rules say of answers.
        selections: what was compiled before, by what was written: many rules protect
            the same places, and one compiled form serves them all.
    """

    backends: Mapping[str, Backend | None]
    roles: tuple[str, ...]
    limits: Mapping[str, Limit | None]
    logins: Mapping[str, Login | None]
    fields: Mapping[str, Field]
    heirs: Mapping[str, frozenset[str]]
    addresses: Mapping[str, Networks | None]
    texts: Mapping[str, str]
    backend_limits: Mapping[str, tuple[Limit, ...]]
    older: bool = False
    shadow: bool = False
    listeners: Mapping[str, Listener | None] = dataclasses.field(default_factory=dict)
    logging: Logging = USUAL
    responses: Responses | None = None
    hardenings: dict[Responses, Hardening] = dataclasses.field(default_factory=dict)
    selections: dict[tuple[tuple[str, str], ...], Selection] = dataclasses.field(
        default_factory=dict
    )


def read_rule(report: Report, node: Node, known: Known) -> Rule | None:
    """Read one rule; None when it cannot be built at all."""
    entries = report.entries(node, RULE, required(RULE))
    rule_id = report.read(entries.get("id"), _rule_id, None)
    match = report.read(entries.get("match"), _match, None)
    allow = report.read(entries.get("allow"), lambda n: _allow(report, n, known), None)
    backend = _backend(report, node, entries, known)
    listener = _listener(report, entries.get("listener"), known)
    protected = _protected(report, entries.get("protect"), known)
    plain = _plain(report, entries)
    upgrade = read_upgrade(report, entries.get("upgrade"))
    timeouts = read_rule_timeouts(report, entries.get("timeouts"), backend)
    responses = read_rule_responses(report, entries.get("responses"), known.responses)
    shadow = read_shadow(report, entries.get("mode")) or known.shadow
    limits = _limits(report, entries.get("limits"), rule_id or "", known, backend)
    if not (rule_id and match and allow and backend):
        return None
    token = allow != {ANYONE}
    return Rule(
        id=rule_id,
        methods=match[0],
        pattern=match[1],
        backend=backend,
        allow=allow if token else None,
        limits=tuple(_as_in_rule(one, known, shadow=shadow) for one in limits),
        login=_login(report, entries.get("login"), match[0], known),
        **protected,
        **plain,
        **read_binds(report, entries, (match[1], token), known.fields, protected),
        upgrade=upgrade,
        timeouts=timeouts,
        responses=responses,
        hardening=hardening_of(responses, known),
        guard=_guard(report, entries, match[1], token, known),
        shadow=shadow,
        listener=listener,
        observed=read_observed(report, entries, known.logging),
    )


def _login(
    report: Report, node: Node | None, methods: frozenset[str], known: Known
) -> Login | None:
    name = report.read(node, lambda n: values.choice(n, "login", known.logins), None)
    if name is None:
        return None
    if node is not None and methods != {"POST"}:
        report.error(node.at, "people log in with POST, and with nothing else")
    return known.logins[name]


def _plain(report: Report, entries: Mapping[str, Node]) -> dict[str, Any]:
    """Read what stands in a rule alone."""
    return {
        "count": report.read(entries.get("count"), _counter, None),
        "tolerate": _tolerate(report, entries.get("tolerate")),
        "max_body_bytes": report.read(entries.get("max_body"), values.size, None),
    }


def _listener(report: Report, node: Node | None, known: Known) -> str:
    name = report.read(
        node, lambda n: values.choice(n, "listener", known.listeners), None
    )
    return name or DEFAULT_LISTENER


def _guard(
    report: Report,
    entries: Mapping[str, Node],
    pattern: Pattern,
    token: bool,
    known: Known,
) -> Guard | None:
    context = Context(pattern, token, known.addresses, known.texts)
    return read_guard(report, entries, context)


def hardening_of(responses: Responses | None, known: Known) -> Hardening | None:
    """Compile what a rule says of answers, once for all that say the same."""
    if responses is None:
        return None
    if responses not in known.hardenings:
        known.hardenings[responses] = Hardening(responses)
    return known.hardenings[responses]


def _rule_id(node: Node) -> str:
    scalar = values.written(node)
    if not RULE_ID.fullmatch(scalar.text):
        hint = "letters, digits, '_' and '-', 64 at most"
        raise refuse(node, f"{values.quoted(scalar)} is not a rule id", hint)
    return scalar.text


def _match(node: Node) -> tuple[frozenset[str], Pattern]:
    scalar = values.written(node)
    words = scalar.text.split(" ")
    if len(words) != 2:  # noqa: PLR2004 - methods and path
        hint = "such as GET /api/users/{id}, or * /files/{path...}"
        raise refuse(node, "expected methods, one space and a path", hint)
    try:
        pattern = Pattern.parse(words[1])
    except ValueError as error:
        raise refuse(node, str(error)) from None
    return _methods(node, words[0]), pattern


def _methods(node: Node, text: str) -> frozenset[str]:
    if text == "*":
        return frozenset()
    methods = text.split(",")
    for method in methods:
        if method not in METHODS:
            word = Scalar(node.where, method.upper(), method)
            raise refuse(node, *values.unknown("method", word, METHODS))
        if methods.count(method) > 1:
            raise refuse(node, f"the method {method!r} is there twice")
    return frozenset(methods)


def _allow(report: Report, node: Node, known: Known) -> frozenset[str]:
    """Read the roles; {"anyone"} when no token is needed."""
    if isinstance(node, Scalar):
        if node.shown == ANYONE:
            return frozenset({ANYONE})
        hint = f"write allow: [{node.shown}]" if node.shown in known.roles else ""
        raise refuse(node, "expected 'anyone' or a list of roles", hint)
    if isinstance(node, Listing):
        for item in node.items:
            if isinstance(item, Scalar) and item.text == ANYONE:
                raise refuse(item, "'anyone' is not a role", f"write allow: {ANYONE}")
    named = report.choices(node, "role", known.roles)
    return frozenset().union(*(known.heirs[role] for role in named))


def _backend(
    report: Report, node: Node, entries: Mapping[str, Node], known: Known
) -> Backend | None:
    if "backend" in entries:
        name = report.read(
            entries["backend"],
            lambda n: values.choice(n, "backend", known.backends),
            None,
        )
        return known.backends[name] if name else None
    if entries and len(known.backends) > 1:
        hint = f"backend: one of {', '.join(known.backends)}"
        report.error(node.at, "there are several backends: say which", hint)
    return next(iter(known.backends.values()), None)


def _limits(
    report: Report,
    node: Node | None,
    rule_id: str,
    known: Known,
    backend: Backend | None,
) -> tuple[Limit, ...]:
    """Read a rule's limits; with those of its backend, and those of every rule."""
    limits: dict[str, Limit | None] = {}
    for index, item in enumerate(report.items(node)):
        if isinstance(item, Table):
            name = f"{rule_id}#{index}"
            limits[name] = read_limit(report, name, item, known.roles)
            continue
        chosen = report.read(
            item, lambda n: values.choice(n, "limit", known.limits), None
        )
        if chosen in limits:
            report.error(item.at, f"the limit {chosen!r} is listed twice")
        elif chosen:
            limits[chosen] = known.limits[chosen]
    of_backend = known.backend_limits.get(backend.id, ()) if backend else ()
    for limit in (*of_backend, *everywhere(known.limits)):
        limits.setdefault(limit.id, limit)
    return tuple(limit for limit in limits.values() if limit)


def _as_in_rule(limit: Limit, known: Known, *, shadow: bool) -> Limit:
    limit = with_older(limit, older=known.older)
    return dataclasses.replace(limit, shadow=True) if shadow else limit


def _protected(report: Report, node: Node | None, known: Known) -> dict[str, Any]:
    """Read what is protected, by the names that a rule has for it."""
    entries = report.entries(node, PROTECT)
    return {
        "protect_request": _selection(report, entries.get("request"), known),
        "protect_response": _selection(report, entries.get("response"), known),
        "protect_query": _parameters(report, entries.get("query"), known),
        "protect_form": _parameters(report, entries.get("form"), known),
    }


def _selection(report: Report, node: Node | None, known: Known) -> Selection | None:
    """Compile the protected places of one body; None when there are none."""
    places = _places(report, node, known)
    written = tuple(places.items())
    if node is None or not places:
        return None
    if written not in known.selections:
        try:
            known.selections[written] = Selection.compile(places)
        except ValueError:
            _report_places(report, node, Selection.compile)
            return None
    return known.selections[written]


def _parameters(report: Report, node: Node | None, known: Known) -> Parameters | None:
    """Compile the protected parameters of a query or form; None without any."""
    places = _places(report, node, known)
    if node is None or not places:
        return None
    try:
        return Parameters.compile(places)
    except ValueError:
        _report_places(report, node, Parameters.compile)
        return None


def _places(report: Report, node: Node | None, known: Known) -> dict[str, str]:
    """Read the field of each place."""
    places: dict[str, str] = {}
    for place, field in report.entries(node).items():
        name = report.read(
            field, lambda n: values.choice(n, "field", known.fields), None
        )
        places[place] = name or ""
    return places


def _report_places(
    report: Report, node: Node, compiled: Callable[[Mapping[str, str]], object]
) -> None:
    """Report each place that cannot be compiled, and what the others cannot share."""
    sound: dict[str, str] = {}
    for place, field in values.as_table(node).values.items():
        try:
            compiled({place: place})
        except ValueError as error:
            report.error(field.at, str(error))
        else:
            sound[place] = place
    try:
        compiled(sound)
    except ValueError as error:
        report.error(node.at, str(error))


def _counter(node: Node) -> str:
    scalar = values.written(node)
    taken = next((one for one in OWN_METRICS if scalar.text.startswith(one)), None)
    if taken is not None:
        message = f"names that begin with {taken} are the proxy's own metrics"
        raise refuse(node, message, "choose another name")
    if not COUNTER.fullmatch(scalar.text):
        hint = "lumina_…_total, in lower case"
        raise refuse(node, f"{values.quoted(scalar)} is not a counter", hint)
    return scalar.text


def _tolerate(report: Report, node: Node | None) -> frozenset[Ambiguity]:
    words = report.choices(node, "ambiguity", [kind.value for kind in Ambiguity])
    kinds = frozenset(Ambiguity(word) for word in words)
    if node and (never := sorted(kind.value for kind in kinds & NEVER_TOLERATED)):
        report.error(node.at, f"{' and '.join(never)} can never be tolerated")
    return kinds
