"""What rules bind values to, and tenants: read, and seen that requests can say it."""

import re
from collections.abc import Iterable, Mapping

from proxy.core import policy_values as values
from proxy.core.belonging import BoundField, bound_field
from proxy.core.field import Bind, Field, Source
from proxy.core.fields import Selection
from proxy.core.parameters import Parameters
from proxy.core.policy import Rule
from proxy.core.policy_values import Report, refuse
from proxy.core.routing import Pattern
from proxy.core.yaml_source import Node, Table

BIND = re.compile(r"(?:claim|path)\([A-Za-z0-9_.:/-]{1,128}\)")
_PARTS = re.compile(r"(\w+)\((.+)\)")


def read_bind(node: Node) -> Bind:
    """Read ``claim(name)`` or ``path(name)``."""
    scalar = values.written(node)
    if not BIND.fullmatch(scalar.text):
        hint = "claim(sub) for whoever asks, or path(id) for a parameter of the path"
        raise refuse(node, f"{values.quoted(scalar)} is nothing to bind to", hint)
    source, name = _PARTS.findall(scalar.text)[0]
    return Bind(Source(source), name)


def read_binds(
    report: Report,
    entries: Mapping[str, Node],
    rule: tuple[Pattern, bool],
    fields: Mapping[str, Field],
    places: Iterable[Selection | Parameters | None],
) -> tuple[BoundField, ...]:
    """Return how a rule binds what it protects.

    Args:
        report: gets what no request could say.
        entries: of the rule.
        rule: its path, and whether it needs a token.
        fields: every field.
        places: what it protects.
    """
    node, (pattern, token) = entries.get("protect"), rule
    names = {name for part in places if part is not None for name in part.fields}
    found = []
    for field in (fields[name] for name in sorted(names) if name in fields):
        try:
            one = bound_field(field, pattern)
        except KeyError:
            _refuse(report, node, field, "the path has no such parameter")
            continue
        if one is not None and one.bind.source is Source.CLAIM and not token:
            _refuse(report, node, field, "the rule asks for no token")
        elif one is not None:
            found.append(one)
    return tuple(found)


def _refuse(report: Report, node: Node | None, field: Field, why: str) -> None:
    if node is not None:
        message = f"{field.id!r} is bound to {field.bind}, and {why}"
        hint = "what is bound has to be written and read alike"
        report.error(node.at, message, hint)


def warn_of_tenants(
    report: Report, table: Table, rule: Rule, fields: Mapping[str, Field]
) -> None:
    """Warn of a look-up without a token, which asks under the keys of no tenant."""
    if rule.allow is not None:
        return
    parts = (rule.protect_request, rule.protect_query, rule.protect_form)
    names = {name for part in parts if part is not None for name in part.fields}
    for field in (fields[name] for name in sorted(names)):
        if field.mode.keeps_equality and not field.shared:
            report.warning(
                table.values["protect"].at,
                f"without a token there is no tenant: {field.id!r} is looked up here "
                "under other keys than with one",
                f"shared: true at the field {field.id!r}",
            )
