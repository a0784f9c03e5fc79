"""Every lint of the workbench, run over one policy."""

import ipaddress
from collections.abc import Collection, Iterator
from fractions import Fraction
from typing import cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from proxy.core.authn import FAMILIES
from proxy.core.backends import Verify
from proxy.core.bucket import MICROSECONDS, RateLimit
from proxy.core.limit import Limit
from proxy.core.policy import Policy, Rule
from proxy.core.policy_lint import Draft
from proxy.core.policy_parser import DEFAULT_DEPLOYMENT
from proxy.core.workbench.lints import (
    Found,
    Lint,
    Risk,
    is_door,
    lint_paths,
    lint_protection,
    where,
    writes,
)
from proxy.core.workbench.wording import quota_text
from proxy.core.yaml_source import Listing, Node, Scalar, Table

MOST_GUESSES = RateLimit.of(30, 60 * MICROSECONDS)
"""A person who mistypes a password stays far below; a machine does not."""

LONG_LEEWAY_SECONDS = 60.0
LEAST_RSA_BITS = 3072
"""NIST SP 800-57 part 1, table 2: what 2048 bits give is not enough after 2030."""

LEAST_CHARACTERS = 10
"""Different ones: 32 random bytes in hex or base64 have more, but for one in 10^5."""

_FOR_ALL = frozenset({"*", "all", "any", "everybody", "everyone"})


def audit(
    policy: Policy, draft: Draft, ignored: Collection[Lint] = ()
) -> tuple[Risk, ...]:
    """Return what every lint finds, in the order of the files.

    Args:
        policy: to look at.
        draft: where each part of it stands.
        ignored: lints to leave out.
    """
    lints = (lint_paths, lint_protection, _limits, _issuers, _rest)
    found = (
        Risk(lint=lint, at=node.at, message=message)
        for look in lints
        for lint, node, message in look(policy, draft)
        if lint not in ignored
    )
    return tuple(sorted(found, key=lambda risk: risk.finding))


def _limits(policy: Policy, draft: Draft) -> Found:
    """Look at what anyone may do how often."""
    del policy
    first: dict[str, Rule] = {}
    doors: list[tuple[Table, Rule]] = []
    for table, rule in draft.rules:
        if rule.allow is not None or not writes(rule):
            continue
        at = where(table, "limits", "allow")
        limited = [limit for limit in rule.limits if limit.rate_for(None)]
        if not limited:
            yield Lint.UNLIMITED_WRITE, at, f"anyone may use {rule.id} without a limit"
        if rule.max_body_bytes is None:
            message = f"{rule.id} has no max_body"
            yield Lint.LARGE_ANONYMOUS_BODY, table.values["match"], message
        if is_door(rule) and limited:
            yield from _guesses(rule, at, limited)
            doors.append((table, rule))
    for table, rule in doors:
        if first and not any(limit.id in first for limit in rule.limits):
            other = next(iter(first.values()))
            message = f"{rule.id} and {other.id} do not share a limit"
            yield Lint.SECOND_DOOR, where(table, "limits", "allow"), message
        first.update({limit.id: rule for limit in rule.limits})


def _guesses(rule: Rule, at: Node, limits: list[Limit]) -> Found:
    rates = [rate for limit in limits if (rate := limit.rate_for(None))]
    slowest = min(rates, key=_speed)
    if _speed(slowest) > _speed(MOST_GUESSES):
        message = f"{rule.id} may be tried {quota_text(slowest)}"
        yield Lint.GENEROUS_LOGIN, at, message


def _speed(rate: RateLimit) -> Fraction:
    return Fraction(rate.count, rate.period_us)


def _issuers(policy: Policy, draft: Draft) -> Found:
    """Look at how tokens are verified."""
    known = {issuer.id: issuer for issuer in policy.issuers.values()}
    for name, (_, node) in draft.sections["issuers"].items():
        issuer, table = known[name], cast(Table, node)
        symmetric = FAMILIES["HMAC"].intersection(issuer.algorithms)
        if symmetric:
            message = f"{name} signs with {min(symmetric)}"
            yield Lint.SHARED_SECRET, table.values["algorithms"], message
        for secret in _secrets(table):
            if not secret.hidden:
                yield Lint.SECRET_IN_FILE, secret, f"the secret of {name} is written"
            if len(set(secret.text)) < LEAST_CHARACTERS:
                message = f"the secret of {name} has few different characters"
                yield Lint.GUESSABLE_SECRET, secret, message
        for key in issuer.keys:
            if isinstance(key.key, RSAPublicKey) and key.key.key_size < LEAST_RSA_BITS:
                message = f"a key of {name} has {key.key.key_size} bits"
                yield Lint.SHORT_KEY, table, message
        if issuer.leeway > LONG_LEEWAY_SECONDS:
            message = f"{name} forgives {issuer.leeway:g}s"
            yield Lint.LONG_LEEWAY, table.values["leeway"], message


def _secrets(table: Table) -> Iterator[Scalar]:
    keys = table.values.get("keys")
    tables = [table]
    if isinstance(keys, Listing):
        tables += [item for item in keys.items if isinstance(item, Table)]
    for one in tables:
        secret = one.values.get("secret")
        if isinstance(secret, Scalar):
            yield secret


def _rest(policy: Policy, draft: Draft) -> Found:
    """Look at roles, backends, listeners and the deployment."""
    for node, role in zip(draft.roles, policy.roles, strict=True):
        if role.lower() in _FOR_ALL:
            yield Lint.WORD_FOR_ALL, node, f"{role!r} is the name of a role"
    for name, backend in policy.backends.items():
        table = cast(Table, draft.sections["backends"][name][1])
        for server in backend.servers:
            if not (server.tls or server.path or _is_here(server.host)):
                message = f"{name} is asked at {server.host} over http"
                yield Lint.BACKEND_IN_CLEAR, table.values["servers"], message
        if backend.tls.verify is not Verify.FULL:
            what = "only the chain" if backend.tls.verify is Verify.CHAIN else "nothing"
            message = f"{what} of the certificates of {name} is checked"
            yield Lint.BACKEND_UNVERIFIED, table.values["tls"], message
    for name, listener in policy.listeners.items():
        host = listener.address.host if listener.address else ""
        if host and not listener.tls and not _is_here(host):
            table = cast(Table, draft.sections["listeners"][name][1])
            message = f"{name} listens at {listener.address} without TLS"
            yield Lint.LISTENER_IN_CLEAR, table.values["listen"], message
    for table, rule in draft.rules:
        if rule.shadow:
            message = f"{rule.id} is in shadow mode"
            yield Lint.NOT_ENFORCED, where(table, "mode", "id"), message
    if policy.fields and policy.deployment == DEFAULT_DEPLOYMENT:
        key, _ = next(iter(draft.sections["fields"].values()))
        yield Lint.DEFAULT_DEPLOYMENT, key, "the deployment has no name of its own"


def _is_here(host: str) -> bool:
    """Say whether only this machine can be meant."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
