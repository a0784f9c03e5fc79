"""How failed log-ins are counted, from nodes to a ``Login``."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Final

from proxy.core import policy_values as values
from proxy.core.bucket import MAX_FAILURES, MICROSECONDS, RateLimit
from proxy.core.fields import Selection
from proxy.core.limit import Login
from proxy.core.parameters import Parameters
from proxy.core.policy_keys import required
from proxy.core.policy_login_keys import ACCOUNT, BACKOFF, LOGIN
from proxy.core.policy_sections import Section, named
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Listing, Node

_MINUTE: Final = 60 * MICROSECONDS
_DAY: Final = 24 * 60 * _MINUTE
_UNAUTHORISED: Final = 401
_LONGEST: Final = 366 * _DAY

STATUS = re.compile(r"[2-4][0-9][0-9]")
"""A verdict of the backend: what is an error of its own, 5xx, is none."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Usual:
    """A back-off that is not written; times in microseconds."""

    free: int
    wait: int
    most: int
    forget: int = _DAY


_USUAL: Final = {
    "per_account": _Usual(10, _MINUTE, 60 * _MINUTE),
    "per_client": _Usual(50, 10 * MICROSECONDS, 15 * _MINUTE),
    "per_known": _Usual(10, 30 * MICROSECONDS, 15 * _MINUTE),
}


def read_logins(report: Report, section: Section) -> dict[str, Login | None]:
    """Read how failed log-ins are counted, by name."""
    return named(report, section, _login)


def _login(report: Report, name: str, node: Node) -> Login | None:
    before = len(report.findings)
    entries = report.entries(node, LOGIN, required(LOGIN))
    account = report.entries(entries.get("account"), ACCOUNT)
    failed = _statuses(report, entries.get("failed"))
    backoffs = {
        key: _backoff(report, entries.get(key), usual) for key, usual in _USUAL.items()
    }
    known = report.read(entries.get("known_for"), _microseconds, 30 * _DAY)
    login = Login(
        id=name,
        json=report.read(account.get("json"), _path, None),
        form=report.read(account.get("form"), _parameter, None),
        failed=failed,
        known_us=known,
        **backoffs,
    )
    return login if len(report.findings) == before else None


def _path(node: Node) -> Selection:
    text = values.written(node).text
    if "*" in text:
        raise refuse(node, "a log-in is for one account", "a path without *")
    try:
        return Selection.compile({text: "account"})
    except ValueError as error:
        raise refuse(node, str(error)) from None


def _parameter(node: Node) -> Parameters:
    try:
        return Parameters.compile({values.written(node).text: "account"})
    except ValueError as error:
        raise refuse(node, str(error)) from None


def _statuses(report: Report, node: Node | None) -> frozenset[int]:
    if node is None:
        return frozenset({_UNAUTHORISED})
    items = report.items(node) if isinstance(node, Listing) else (node,)
    return frozenset(report.read(item, _status, _UNAUTHORISED) for item in items)


def _status(node: Node) -> int:
    scalar = values.as_scalar(node)
    if not STATUS.fullmatch(scalar.text):
        raise refuse(node, f"{values.quoted(scalar)} is no verdict", "such as 401")
    return int(scalar.text)


def _backoff(report: Report, node: Node | None, usual: _Usual) -> RateLimit:
    entries: Mapping[str, Node] = report.entries(node, BACKOFF)
    free = report.read(entries.get("free"), values.integer, usual.free)
    wait = report.read(entries.get("wait"), _microseconds, usual.wait)
    most = report.read(entries.get("most"), _microseconds, max(usual.most, wait))
    forget = report.read(entries.get("forget"), _microseconds, max(usual.forget, most))
    if node is not None and free > MAX_FAILURES:
        report.error(node.at, f"at most {MAX_FAILURES} failures are counted")
    if node is not None and not wait <= most <= forget:
        hint = "wait is the shortest, forget the longest"
        report.error(node.at, "these times contradict each other", hint)
    return RateLimit.backoff(free, wait, most, forget)


def _microseconds(node: Node) -> int:
    seconds = values.positive_duration(node)
    if seconds * MICROSECONDS > _LONGEST:
        raise refuse(node, "this is longer than a year")
    return round(seconds * MICROSECONDS)
