"""The limits of a policy, named or inline: from nodes to frozen objects.

A limit says one of three things: a rate, of a bucket that fills all the time; a quota,
of a window that begins anew by the calendar; or how many requests there may be at a
time. What is impossible is refused here, so that no request has to find it out.
"""

import dataclasses
import re
import zoneinfo
from collections.abc import Callable, Collection, Mapping
from typing import Final

from proxy.core import policy_values as values
from proxy.core.bucket import BUCKET, RateLimit
from proxy.core.limit import (
    ONE_TOKEN,
    Cost,
    CostOf,
    Limit,
    OnStoreFailure,
    Part,
    Per,
    Precision,
)
from proxy.core.policy_guards import read_shadow
from proxy.core.policy_limit_keys import COST, LIMIT
from proxy.core.policy_roles import DEFAULT
from proxy.core.policy_sections import Section, named, read_word
from proxy.core.policy_values import Report, refuse
from proxy.core.windows import WINDOWS
from proxy.core.yaml_source import Listing, Node, Scalar

UNLIMITED: Final = "unlimited"
PERIODS: Final = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}
KINDS: Final = ("rate", "quota", "concurrent")
MAX_PARTS: Final = 4
LIMIT_HEADERS: Final = ("draft", "both")

FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
"""RFC 9110 section 5.1: a token."""
PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_RATE = re.compile(r"([0-9]{1,15}) ?/ ?([A-Za-z0-9]+)")
_NAMED = (Per.HEADER, Per.PATH)
PLAIN_PARTS: Final = tuple(per.value for per in Per if per not in _NAMED)
PART = re.compile(
    f"{'|'.join(PLAIN_PARTS)}|header\\.{FIELD_NAME.pattern}|path\\.{PARAMETER.pattern}"
)
_SECRETS = frozenset(("authorization", "cookie", "proxy-authorization"))

Read = Callable[[Node], RateLimit | None]
Rates = dict[str | None, RateLimit | None]


def read_limits(
    report: Report, section: Section, roles: Collection[str]
) -> dict[str, Limit | None]:
    """Read the rate limits that have a name."""
    return named(
        report, section, lambda r, name, node: read_limit(r, name, node, roles)
    )


def read_limit(
    report: Report, name: str, node: Node, roles: Collection[str]
) -> Limit | None:
    """Read one rate limit, named or inline."""
    before = len(report.findings)
    entries = report.entries(node, LIMIT)
    parts = _parts(report, entries.get("per"))
    lost = entries.get("on_store_failure")
    on_store_failure = read_word(report, lost, "way", OnStoreFailure.LOCAL)
    precise = entries.get("precision")
    precision = read_word(report, precise, "precision", Precision.EXACT)
    shadow = read_shadow(report, entries.get("mode"))
    everywhere = _everywhere(report, entries.get("everywhere"), name)
    rates = _rates(report, node, entries, roles)
    zone = report.read(entries.get("zone"), _zone, zoneinfo.ZoneInfo("UTC"))
    cost = _cost(report, entries.get("cost"), rates)
    if len(report.findings) > before or on_store_failure is None or precision is None:
        return None
    if not rates:  # could not be read, which is told already
        return None
    limit = Limit(
        id=name,
        per=parts[0].per,
        parts=() if parts in _PLAIN else parts,
        rates=rates,
        on_store_failure=on_store_failure,
        precision=precision,
        shadow=shadow,
        cost=cost,
        zone=zone if "quota" in entries else None,
        everywhere=everywhere,
    )
    return _possible(report, entries, limit)


_PLAIN = ((Part(Per.SUBJECT),), (Part(Per.CLIENT),))


def _parts(report: Report, node: Node | None) -> tuple[Part, ...]:
    """Read what has a bucket of its own."""
    if not isinstance(node, Listing):
        return (report.read(node, _part, Part(Per.SUBJECT)),)
    parts: dict[Part, None] = {}
    for item in report.items(node):
        part = report.read(item, _part, None)
        if part in parts:
            report.error(item.at, f"{part.text!r} is listed twice")
        elif part is not None:
            parts[part] = None
    if len(parts) > MAX_PARTS:
        report.error(node.at, f"a bucket is told apart by {MAX_PARTS} things at most")
    if len(parts) > 1 and Part(Per.EVERYONE) in parts:
        report.error(node.at, "'everyone' is everyone, and no part of something else")
    return tuple(parts) or (Part(Per.SUBJECT),)


def _part(node: Node) -> Part:
    scalar = values.written(node)
    word, dot, name = scalar.text.partition(".")
    known = [f"{per.value}.…" if per in _NAMED else per.value for per in Per]
    if not dot:
        if word in {per.value for per in _NAMED}:
            hint = "header.X-Api-Version, or path.id" if word == "header" else "path.id"
            raise refuse(node, f"{word!r} of what name?", hint)
        return Part(Per(values.choice(node, "bucket", known)))
    per = next((per for per in _NAMED if per.value == word), None)
    if per is None:
        raise refuse(node, *values.unknown("bucket", scalar, known))
    if per is Per.PATH:
        if not PARAMETER.fullmatch(name):
            raise refuse(node, f"{name!r} is not the name of a parameter", "path.id")
        return Part(per, name)
    return Part(per, _field_name(node, name))


def _field_name(node: Node, name: str) -> str:
    if not FIELD_NAME.fullmatch(name):
        raise refuse(node, f"{name!r} is not the name of a header", "X-Api-Version")
    lower = name.lower()
    if lower in _SECRETS:
        what = "tells who is asking, and is never looked at here"
        raise refuse(node, f"{name} {what}", "subject, client or role")
    return lower


def _everywhere(report: Report, node: Node | None, name: str) -> bool:
    everywhere = report.read(node, values.yes_or_no, default=False)
    if everywhere and node is not None and "#" in name:
        report.error(node.at, "only a limit with a name can be everywhere")
    return everywhere


def _rates(
    report: Report, node: Node, entries: Mapping[str, Node], roles: Collection[str]
) -> Rates:
    """Read the rate, quota or number of each role."""
    kinds = [kind for kind in KINDS if kind in entries]
    if len(kinds) != 1:
        if len(kinds) > 1:
            what = f"{' and '.join(kinds)} are limits of their own"
            report.error(entries[kinds[1]].at, what, "write two limits")
        elif entries:
            report.error(node.at, "'rate' is missing", "or quota, or concurrent")
        return {}
    [kind] = kinds
    burst = report.read(entries.get("burst"), values.integer, None)
    read: Read = lambda n: read_rate(n, burst)  # noqa: E731 - one of three
    if kind == "quota":
        read = read_quota
    elif kind == "concurrent":
        read = _concurrent
    written = entries[kind]
    rates: Rates = {}
    if isinstance(written, Scalar):
        rates[None] = report.read(written, read, None)
        return rates
    for role, each in report.entries(written, (*roles, DEFAULT)).items():
        rates[None if role == DEFAULT else role] = report.read(each, read, None)
    return rates


def read_rate(node: Node, burst: int | None) -> RateLimit | None:
    """Read a rate; None means unlimited."""
    scalar = values.as_scalar(node)
    if scalar.text == UNLIMITED:
        return None
    match = _RATE.fullmatch(scalar.text)
    period = match and values.microseconds(PERIODS.get(match[2], match[2]))
    if not match or period is None:
        hint = "such as 5/minute, 100/hour, 10/30s or unlimited"
        raise refuse(node, f"{values.quoted(scalar)} is not a rate", hint)
    try:
        return RateLimit.of(int(match[1]), period, burst)
    except ValueError as error:
        raise refuse(node, str(error)) from None


def read_quota(node: Node) -> RateLimit | None:
    """Read a quota; None means unlimited."""
    scalar = values.as_scalar(node)
    if scalar.text == UNLIMITED:
        return None
    match = _RATE.fullmatch(scalar.text)
    if not match or match[2] not in WINDOWS or not int(match[1]):
        hint = "such as 5000/day, or an hour, week or month; or unlimited"
        raise refuse(node, f"{values.quoted(scalar)} is not a quota", hint)
    return RateLimit.window(int(match[1]), WINDOWS[match[2]])


def _concurrent(node: Node) -> RateLimit | None:
    if values.as_scalar(node).text == UNLIMITED:
        return None
    return RateLimit.holds(values.integer(node))


def _zone(node: Node) -> zoneinfo.ZoneInfo:
    scalar = values.as_scalar(node)
    try:
        # The names and rules of time zones are the system's, and read once.
        return zoneinfo.ZoneInfo(scalar.text)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        message = f"{values.quoted(scalar)} is not a time zone"
        raise refuse(node, message, "such as UTC or Europe/Berlin") from None


def _cost(report: Report, node: Node | None, rates: Rates) -> Cost:
    """Read what a request costs."""
    # What costs more than the smallest burst could never be paid by everybody.
    burst = min((rate.burst for rate in rates.values() if rate), default=0)
    if node is None:
        return ONE_TOKEN
    if isinstance(node, Scalar):
        cost = Cost(tokens=report.read(node, values.integer, 1))
        if cost.tokens > burst > 0:
            hint = f"the smallest holds {burst}: give it a larger burst"
            report.error(node.at, "no bucket holds what this costs", hint)
        return cost
    entries = report.entries(node, COST)
    kinds = [kind for kind in CostOf if kind.value in entries]
    if len(kinds) != 1:
        words = ", ".join(kind.value for kind in CostOf if kind is not CostOf.FIXED)
        report.error(node.at, "what a request costs is said by one thing", words)
        return ONE_TOKEN
    [kind] = kinds
    said = entries[kind.value]
    if kind is CostOf.BODY:
        for key in ("most", "usual"):
            if key in entries:
                report.error(entries[key].at, f"a cost by the body has no {key!r}")
        unit = report.read(said, values.size, 1)
        if not unit:
            report.error(said.at, "a token is for one byte or more", "64KiB")
        return Cost(of=kind, unit=unit or 1)
    name = report.read(said, lambda n: _field_name(n, values.written(n).text), "")
    most = report.read(entries.get("most"), values.integer, burst or 1)
    usual = report.read(entries.get("usual"), values.integer, 1)
    for key, number in (("most", most), ("usual", usual)):
        if number > burst > 0:
            hint = f"the smallest holds {burst}"
            report.error(entries.get(key, node).at, f"no bucket holds {number}", hint)
    return Cost(of=kind, name=name, most=most, tokens=usual)


def _possible(
    report: Report, entries: Mapping[str, Node], limit: Limit
) -> Limit | None:
    """Refuse what does not go together."""
    before = len(report.findings)

    def only(key: str, kinds: str, why: str) -> None:
        if key in entries and kinds not in entries:
            report.error(entries[key].at, why, f"with {kinds}")

    only("burst", "rate", "only a rate has a burst")
    only("zone", "quota", "only a quota has a time zone")
    if "concurrent" in entries and "cost" in entries:
        report.error(entries["cost"].at, "a request is one request, whatever it costs")
    if limit.precision is Precision.LEASED:
        rates = [rate for rate in limit.rates.values() if rate]
        if any(rate.kind != BUCKET for rate in rates) or limit.cost != ONE_TOKEN:
            what = "only a rate of which each request costs one token can be leased"
            report.error(entries["precision"].at, what)
    return limit if len(report.findings) == before else None


def everywhere(limits: Mapping[str, Limit | None]) -> tuple[Limit, ...]:
    """Return the limits that every rule has."""
    return tuple(limit for limit in limits.values() if limit and limit.everywhere)


def read_backend_limits(
    report: Report, section: Section, limits: Mapping[str, Limit | None]
) -> dict[str, tuple[Limit, ...]]:
    """Return the limits of each backend, which every rule has that uses it."""
    found: dict[str, tuple[Limit, ...]] = {}
    for name, (_, node) in section.items():
        written = getattr(node, "values", {}).get("limits")
        chosen = report.choices(written, "limit", limits)
        found[name] = tuple(limit for one in chosen if (limit := limits[one]))
    return found


def with_older(limit: Limit, *, older: bool) -> Limit:
    """Return a limit that clients are told of with the older fields, too, or not."""
    return dataclasses.replace(limit, older=older) if older else limit
