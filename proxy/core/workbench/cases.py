"""Test cases of a policy: from YAML to requests and what is expected of them.

    version: 1
    cases:
      - request: POST /api/users
        as: [teacher, admin]
        expect: {rule: user-create, limits: [api]}

They are read like a policy, with the same findings: a case that names a rule which does
not exist is a mistake and not a test. Several requests, or several roles, in one case
make one test each.
"""

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from proxy.core import policy_values as values
from proxy.core.errors import Finding
from proxy.core.listeners import DEFAULT_LISTENER
from proxy.core.policy import ANYONE, Policy
from proxy.core.policy_keys import required
from proxy.core.policy_limits import read_rate
from proxy.core.policy_values import Report, refuse
from proxy.core.reasons import Reason
from proxy.core.workbench.case_keys import CASE, CASES, EXPECT
from proxy.core.workbench.decision import (
    Facts,
    Identify,
    with_claims,
    with_roles,
    without_token,
)
from proxy.core.workbench.wording import rate_text
from proxy.core.yaml_source import Listing, Node, Place, Scalar, Table, read_yaml

VERSION = "1"

ALLOWED, REFUSED = "allowed", "refused"

CLIENT = "192.0.2.1"
"""Whose address a case has that names none (RFC 5737: of nobody)."""

_FACTS = ("client", "headers", "time")

_REQUEST = re.compile(r"([!-~]+) (\S+)")
_RELATIVE = re.compile(r"(-?)(.+)")
_TIMES = ("exp", "nbf", "iat")
_SLUGS = {reason.slug: reason for reason in Reason}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a case says must come out; None is what it says nothing about.

    Attributes:
        allowed: whether the request is allowed.
        reason: why it is refused.
        rule: the id of the rule.
        role: the acting role.
        backend: where it goes.
        limits: the limits it takes from, each with its rate in words, "" for any.
        encrypted: the fields of its body that are encrypted.
        plain: the fields of the answer that are decrypted.
        masked: the fields of the answer that are masked.
    """

    allowed: bool
    reason: Reason | None = None
    rule: str | None = None
    role: str | None = None
    backend: str | None = None
    limits: Mapping[str, str] | None = None
    encrypted: frozenset[str] | None = None
    plain: frozenset[str] | None = None
    masked: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and what is expected of it.

    Attributes:
        at: where it is written.
        name: what the case is about; "" when it does not say.
        asking: who asks, in words: ``as student``.
        listener: the port that the request comes to.
        facts: what the rule may ask about beside the token; None takes for granted
            that it is as the rule wants it.
    """

    at: Place
    name: str
    method: str
    path: str
    asking: str
    identify: Identify
    expect: Expectation
    facts: Facts | None = None
    listener: str = DEFAULT_LISTENER


def read_cases(
    policy: Policy,
    file: str,
    text: str,
    environment: Mapping[str, str],
    now: float,
) -> tuple[list[Case], tuple[Finding, ...]]:
    """Return the cases of one file, and everything that is wrong with them.

    Args:
        policy: that the cases are about.
        file: the name that findings carry.
        text: the whole file.
        environment: what ``${NAME}`` stands for.
        now: epoch seconds that times of claims are relative to.
    """
    report = Report()
    root, findings = read_yaml(file, text, environment)
    report.findings.extend(findings)
    if root is None and not findings:
        report.error(Place(file), "the file is empty", "begin with version: 1")
    entries = report.entries(root, CASES, required(CASES))
    report.read(entries.get("version"), _version, None)
    reader = _Reader(policy, report, now)
    cases = [
        case
        for item in report.items(entries.get("cases"))
        for case in reader.cases(item)
    ]
    return cases, tuple(sorted(report.findings))


def _version(node: Node) -> None:
    scalar = values.as_scalar(node)
    if scalar.text != VERSION:
        message = f"version {values.quoted(scalar)} is not known"
        raise refuse(node, message, f"this version of the proxy reads {VERSION}")


class _Reader:
    """Reads cases against a policy."""

    def __init__(self, policy: Policy, report: Report, now: float) -> None:
        self._policy = policy
        self._report = report
        self._now = now
        self._rules = {rule.id: rule for rule in policy.rules}
        limits = {limit.id for rule in policy.rules for limit in rule.limits}
        self._limits = limits | set(policy.limits)

    def cases(self, node: Node) -> list[Case]:
        """Return one case for each request and each who asks it."""
        report = self._report
        entries = report.entries(node, CASE, required(CASE))
        if not entries:
            return []
        name = report.read(entries.get("name"), values.string, "")
        requests = [
            report.read(item, _request, None)
            for item in self._one_or_many(entries.get("request"))
        ]
        asking = self._asking(node, entries)
        expect = self._expectation(entries.get("expect"))
        facts = self._facts(entries)
        listener = self._word(
            entries.get("listener"), "listener", self._policy.listeners
        )
        return [
            Case(
                at=node.at,
                name=name,
                method=request[0],
                path=request[1],
                asking=who,
                identify=identify,
                expect=expect,
                facts=facts,
                listener=listener or DEFAULT_LISTENER,
            )
            for request in requests
            if request and expect
            for who, identify in asking
        ]

    def _facts(self, entries: Mapping[str, Node]) -> Facts | None:
        """Return what the rule may ask about; None when nothing of it is said."""
        if not {"claims", *_FACTS} & entries.keys():
            return None
        read = self._report.read
        headers = read(entries.get("headers"), values.as_table, None)
        fields = headers.values.items() if headers else ()
        return Facts(
            client=read(entries.get("client"), values.string, CLIENT),
            headers={name: read(value, values.string, "") for name, value in fields},
            now=read(entries.get("time"), _time, self._now),
        )

    def _one_or_many(self, node: Node | None) -> tuple[Node, ...]:
        if isinstance(node, Listing):
            return self._report.items(node)
        return (node,) if node else ()

    def _asking(
        self, node: Node, entries: Mapping[str, Node]
    ) -> list[tuple[str, Identify]]:
        """Return who asks, in words and as the proxy would know them."""
        if ("as" in entries) == ("claims" in entries):
            self._report.error(node.at, "needs exactly one of as and claims")
            return []
        if "claims" in entries:
            return self._claimed(node, entries)
        if "issuer" in entries:
            message = "an issuer belongs to claims, and here are none"
            self._report.error(entries["issuer"].at, message, "remove it")
        known = (*self._policy.roles, ANYONE)
        asking: list[tuple[str, Identify]] = []
        for item in self._one_or_many(entries["as"]):
            role = self._word(item, "role", known)
            if role == ANYONE:
                asking.append((f"as {role}", without_token(self._policy, self._now)))
            elif role is not None:
                asking.append((f"as {role}", with_roles(role)))
        return asking

    def _claimed(
        self, node: Node, entries: Mapping[str, Node]
    ) -> list[tuple[str, Identify]]:
        issuers = {one.id: one for one in self._policy.issuers.values()}
        name = self._word(entries.get("issuer"), "issuer", issuers)
        if not issuers:
            at = entries["claims"].at
            self._report.error(at, "the policy trusts no issuer of tokens", "use as")
        elif "issuer" not in entries and len(issuers) == 1:
            name = next(iter(issuers))
        elif "issuer" not in entries:
            hint = f"issuer: one of {', '.join(issuers)}"
            self._report.error(node.at, "say which issuer makes the token", hint)
        claims = self._report.read(entries["claims"], values.as_table, None)
        if name is None or claims is None:
            return []
        read = {
            claim: self._report.read(value, self._claim_reader(claim), None)
            for claim, value in claims.values.items()
        }
        identify = with_claims(issuers[name], read, self._now)
        return [("with these claims", identify)]

    def _claim_reader(self, claim: str) -> Callable[[Node], Any]:
        return self._instant if claim in _TIMES else _claim

    def _instant(self, node: Node) -> float:
        """Read a time claim: a duration from now, with a minus for the past."""
        scalar = values.as_scalar(node)
        match = _RELATIVE.fullmatch(scalar.text)
        length = values.microseconds(match[2]) if match else None
        if match is None or length is None:
            raise refuse(
                node,
                f"{values.quoted(scalar)} is not a time from now",
                "such as 5m, or -1s for a second ago",
            )
        return self._now + (-length if match[1] else length) / 1_000_000

    def _word(self, node: Node | None, what: str, known: Collection[str]) -> str | None:
        return self._report.read(node, lambda n: values.choice(n, what, known), None)

    def _expectation(self, node: Node | None) -> Expectation | None:
        entries = self._report.entries(node, EXPECT)
        if not entries:
            return None
        slug = self._word(entries.get("reason"), "reason", _SLUGS)
        outcome = self._word(entries.get("outcome"), "outcome", (ALLOWED, REFUSED))
        if outcome == ALLOWED and "reason" in entries:
            at = entries["reason"].at
            self._report.error(at, "an allowed request has no reason", "remove one")
        fields = self._policy.fields
        return Expectation(
            allowed=outcome != REFUSED and "reason" not in entries,
            reason=_SLUGS[slug] if slug else None,
            rule=self._word(entries.get("rule"), "rule", self._rules),
            role=self._word(entries.get("role"), "role", self._policy.roles),
            backend=self._word(
                entries.get("backend"), "backend", self._policy.backends
            ),
            limits=self._expected_limits(entries.get("limits")),
            encrypted=self._set(entries.get("encrypted"), "field", fields),
            plain=self._set(entries.get("plain"), "field", fields),
            masked=self._set(entries.get("masked"), "field", fields),
        )

    def _expected_limits(self, node: Node | None) -> Mapping[str, str] | None:
        if not isinstance(node, Table):
            names = self._set(node, "limit", self._limits)
            return None if names is None else dict.fromkeys(names, "")
        return {
            name: self._report.read(rate, lambda n: rate_text(read_rate(n, None)), "")
            for name, rate in self._report.entries(node, self._limits).items()
        }

    def _set(
        self, node: Node | None, what: str, known: Collection[str]
    ) -> frozenset[str] | None:
        """Read a list of words that may be empty; None when nothing is written."""
        if isinstance(node, Listing) and not node.items:
            return frozenset()
        if node is None:
            return None
        return frozenset(self._report.choices(node, what, known))


def _time(node: Node) -> float:
    scalar = values.as_scalar(node)
    try:
        instant = dt.datetime.fromisoformat(scalar.text)
    except ValueError:
        instant = dt.datetime.min  # noqa: DTZ901 - as bad as one without a zone
    if instant.tzinfo is None:
        hint = "such as 2026-03-01T08:30:00Z"
        raise refuse(node, f"{values.quoted(scalar)} is not a time", hint)
    return instant.timestamp()


def _request(node: Node) -> tuple[str, str]:
    scalar = values.as_scalar(node)
    match = _REQUEST.fullmatch(scalar.text)
    if not match:
        hint = "such as GET /api/users/7"
        raise refuse(node, "expected a method, one space and a path", hint)
    if match[1] != match[1].upper():
        hint = f"did you mean {match[1].upper()!r}?"
        raise refuse(node, f"the method {match[1]!r} is not in upper case", hint)
    return match[1], match[2]


def _claim(node: Node) -> Any:
    """Read a claim: a string, a list of claims, or a mapping of claims."""
    if isinstance(node, Table):
        return {name: _claim(value) for name, value in node.values.items()}
    if isinstance(node, Listing):
        return [_claim(item) for item in node.items]
    if isinstance(node, Scalar):
        return node.text
    return None  # refused already
