"""What rules bind values to, and tenants: read, and seen that requests can say it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from proxy.core import policy_values as values
from proxy.core.belonging import BoundField, bound_field
from proxy.core.field import Bind, Field, Mode, Source
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
    protected: Mapping[str, Selection | Parameters | None],
) -> dict[str, Any]:
    """Return how a rule binds what it protects, by the names that a rule has for it.

    Args:
        report: gets what no request could say.
        entries: of the rule.
        rule: its path, and whether it needs a token.
        fields: every field.
        protected: what it protects.
    """
    written = {part: protected[part] for part in ("protect_request", "protect_form")}
    every, some = _of(protected, fields), _of(written, fields)
    binds = [(one.id, one.bind) for one in every if one.bind]
    subjects = [(one.id, one.subject) for one in some if one.subject]
    return {
        "binds": tuple(_bound(report, entries, rule, binds)),
        "subjects": tuple(_bound(report, entries, rule, subjects)),
        "vaulted": any(one.mode is Mode.TOKEN or one.subject for one in every),
    }


def _of(
    parts: Mapping[str, Selection | Parameters | None], fields: Mapping[str, Field]
) -> list[Field]:
    """Return the fields that are protected in some parts."""
    names = {name for part in parts.values() if part for name in part.fields}
    return [fields[name] for name in sorted(names) if name in fields]


def _bound(
    report: Report,
    entries: Mapping[str, Node],
    rule: tuple[Pattern, bool],
    fields: Iterable[tuple[str, Bind]],
) -> Iterator[BoundField]:
    pattern, token = rule
    for field, bind in fields:
        try:
            one = bound_field(field, bind, pattern)
        except KeyError:
            why = "the path has no such parameter"
            _refuse(report, entries["protect"], field, bind, why)
            continue
        if bind.source is Source.CLAIM and not token:
            why = "the rule asks for no token"
            _refuse(report, entries["protect"], field, bind, why)
        else:
            yield one


def _refuse(report: Report, node: Node, field: str, bind: Bind, why: str) -> None:
    message = f"{field!r} is bound to {bind}, and {why}"
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
