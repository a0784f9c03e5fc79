"""What can only be said of a field and the rules that protect it: misuse, and gaps.

A mode that only reads cannot be written, and one that never comes back cannot be read.
A peppered password must be mapped wherever a password enters, or it matches nowhere.
"""

import re
from collections.abc import Collection, Mapping

from proxy.core.field import Field, Mode
from proxy.core.fields import Selection
from proxy.core.parameters import Parameters
from proxy.core.policy import ANYONE, Rule, View
from proxy.core.policy_values import Report
from proxy.core.yaml_source import Place, Table

_NOT_LOOKED_UP = frozenset({Mode.RANDOM, Mode.PEPPER, Mode.TOKEN})
"""Modes of which a query can hold nothing that the backend would find."""

_WRITES = frozenset({"POST", "PUT", "PATCH"})

# Paths that passwords are usually sent to.
_PASSWORD_PATH = re.compile(
    r"log-?in|sign-?in|sign-?up|register|registration|password|passwd|reset|activate"
)


def protected(rule: Rule) -> dict[str, Selection | Parameters | None]:
    """Return the parts of a request in which a rule encrypts, by their names."""
    return {
        "request": rule.protect_request,
        "query": rule.protect_query,
        "form": rule.protect_form,
    }


def find_misuse(
    report: Report, table: Table, rule: Rule, fields: Mapping[str, Field]
) -> None:
    """Report as errors the fields that a rule asks of what their mode cannot do."""
    for part, places in protected(rule).items():
        for path, field in _of_modes(places, {Mode.FERNET}, fields):
            report.error(
                _place(table, part, path),
                f"{field!r} is read-only: values of mode 'fernet' are never written",
                "mode: random, and reads: [fernet] for what is stored",
            )
    for path, field in _of_modes(rule.protect_response, {Mode.PEPPER}, fields):
        report.error(
            _place(table, "response", path),
            f"{field!r} never comes back: nothing decrypts mode 'pepper'",
            "take it out of the response",
        )
    for path, field in _of_modes(rule.protect_query, _NOT_LOOKED_UP, fields):
        report.error(
            _place(table, "query", path),
            f"no look-up finds {field!r} of mode {fields[field].mode.value!r}",
            "mode: deterministic, or mode: digits",
        )


def warn_of_unmapped_passwords(
    report: Report, table: Table, rule: Rule, fields: Mapping[str, Field]
) -> None:
    """Warn of a rule that looks like a door for passwords and peppers none."""
    peppered = any(field.mode is Mode.PEPPER for field in fields.values())
    writes = not rule.methods or rule.methods & _WRITES
    if not (peppered and writes and _PASSWORD_PATH.search(rule.pattern.text.lower())):
        return
    parts = protected(rule).values()
    if not any(_of_modes(places, {Mode.PEPPER}, fields) for places in parts):
        report.warning(
            table.values["match"].at,
            "passwords may enter here, and none is peppered",
            "an unpeppered password never matches a peppered one",
        )


def warn_of_dropped_members(
    report: Report,
    table: Table,
    rule: Rule,
    views: Mapping[str, Mapping[str, View]],
) -> None:
    """Warn of a role that replaces a whole document of which it sees a part only."""
    if rule.methods and "PUT" not in rule.methods:
        return
    roles = {ANYONE} if rule.allow is None else rule.allow
    for path, field in rule.protect_request.places if rule.protect_request else ():
        dropped = [r for r in sorted(roles) if views.get(r, {}).get(field) is View.DROP]
        for role in dropped:
            report.warning(
                _place(table, "request", path),
                f"{role!r} may replace {field!r} by PUT, and is never shown it",
                "a document sent back without the member may clear it",
            )


def _of_modes(
    places: Selection | Parameters | None,
    modes: Collection[Mode],
    fields: Mapping[str, Field],
) -> list[tuple[str, str]]:
    return [
        (path, name)
        for path, name in (places.places if places else ())
        if name in fields and fields[name].mode in modes
    ]


def _place(table: Table, part: str, path: str) -> Place:
    protect = table.values["protect"]
    places = protect.values[part] if isinstance(protect, Table) else protect
    found = places.values[path] if isinstance(places, Table) else places
    return found.at
