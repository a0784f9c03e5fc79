"""What a rule says of connections that stop speaking HTTP: ``upgrade``."""

import re
from collections.abc import Mapping
from typing import Final

from proxy.core import policy_values as values
from proxy.core.policy import Rule, Upgrade
from proxy.core.policy_keys import UPGRADE, required
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Listing, Node, Scalar, Table

PROTOCOL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:/[A-Za-z0-9.]+)?")
"""A protocol name, and its version (RFC 9110 section 7.8)."""

USUAL_IDLE: Final = 3600.0
"""Seconds; what HAProxy's manual proposes for tunnels, and long enough for a page that
says nothing unless somebody looks at it."""

_CARRIES_REQUESTS: Final = re.compile(r"(?i)(?:h2c?|h3|https?|tls)(?:[/.-].*)?")
_WEBSOCKET: Final = b"websocket"


def read_upgrade(report: Report, node: Node | None) -> Upgrade | None:
    """Read what connections may become; None for nothing but HTTP."""
    if node is None:
        return None
    if isinstance(node, Listing):
        return _upgrade(report, {"protocols": node})
    if isinstance(node, Scalar) and node.text:
        hint = "" if node.hidden else f"write upgrade: [{node.text}]"
        report.error(node.at, "expected a list of protocols, or a mapping", hint)
        return None
    return _upgrade(report, report.entries(node, UPGRADE, required(UPGRADE)))


def _upgrade(report: Report, entries: Mapping[str, Node]) -> Upgrade | None:
    names: dict[bytes, None] = {}
    for item in report.items(entries.get("protocols")):
        name = report.read(item, _protocol, None)
        if name in names:
            report.error(item.at, f"the protocol {name.decode()!r} is listed twice")
        elif name is not None:
            names[name] = None
    idle = report.read(entries.get("idle"), values.positive_duration, USUAL_IDLE)
    expiry = report.read(entries.get("close_on_expiry"), values.yes_or_no, True)
    if not names:
        return None
    return Upgrade(protocols=frozenset(names), idle=idle, close_on_expiry=expiry)


def _protocol(node: Node) -> bytes:
    scalar = values.written(node)
    if not PROTOCOL.fullmatch(scalar.text):
        hint = "such as websocket"
        raise refuse(node, f"{values.quoted(scalar)} is not a protocol", hint)
    if _CARRIES_REQUESTS.fullmatch(scalar.text):
        raise refuse(
            node,
            f"{values.quoted(scalar)} would carry requests past every rule",
            "leave it out: backends are spoken to in HTTP/1.1",
        )
    return scalar.text.lower().encode("ascii")


def find_upgrade_misuse(report: Report, table: Table, rule: Rule) -> None:
    """Report what a rule asks of an upgrade that there is no way to do."""
    if rule.upgrade is None:
        return
    at = table.values["upgrade"].at
    if rule.protects_body or rule.protect_response is not None:
        report.error(
            at,
            "what passes through a tunnel is not protected",
            "give upgrades a rule without protected bodies",
        )
    needs_get = _WEBSOCKET in rule.upgrade.protocols
    if needs_get and rule.methods and "GET" not in rule.methods:
        report.error(at, "a WebSocket begins with GET, which the rule does not match")
    if rule.allow is None and "close_on_expiry" in _keys(table):
        place = _keys(table)["close_on_expiry"].at
        report.error(place, "without a token there is nothing that could expire")


def _keys(table: Table) -> Mapping[str, Node]:
    node = table.values["upgrade"]
    return node.values if isinstance(node, Table) else {}
