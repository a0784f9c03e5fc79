"""What can only be said of a field and the rules that protect it: misuse, and gaps.

A mode that only reads cannot be written, and one that never comes back cannot be read.
A peppered password must be mapped wherever a password enters, or it matches nowhere.
"""

import re
from collections.abc import Mapping

from proxy.core.field import Field, Mode
from proxy.core.fields import Selection
from proxy.core.policy import ANYONE, Rule, View
from proxy.core.policy_values import Report
from proxy.core.yaml_source import Place, Table

_WRITES = frozenset({"POST", "PUT", "PATCH"})

# Paths that passwords are usually sent to.
_PASSWORD_PATH = re.compile(
    r"log-?in|sign-?in|sign-?up|register|registration|password|passwd|reset|activate"
)


def find_misuse(
    report: Report, table: Table, rule: Rule, fields: Mapping[str, Field]
) -> None:
    """Report as errors the fields that a rule asks of what their mode cannot do."""
    for path, field in _of_mode(rule.protect_request, Mode.FERNET, fields):
        report.error(
            _place(table, "request", path),
            f"{field!r} is read-only: values of mode 'fernet' are never written",
            "mode: random, and reads: [fernet] for what is stored",
        )
    for path, field in _of_mode(rule.protect_response, Mode.PEPPER, fields):
        report.error(
            _place(table, "response", path),
            f"{field!r} never comes back: nothing decrypts mode 'pepper'",
            "take it out of the response",
        )


def warn_of_unmapped_passwords(
    report: Report, table: Table, rule: Rule, fields: Mapping[str, Field]
) -> None:
    """Warn of a rule that looks like a door for passwords and peppers none."""
    peppered = any(field.mode is Mode.PEPPER for field in fields.values())
    writes = not rule.methods or rule.methods & _WRITES
    if not (peppered and writes and _PASSWORD_PATH.search(rule.pattern.text.lower())):
        return
    if not _of_mode(rule.protect_request, Mode.PEPPER, fields):
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


def _of_mode(
    selection: Selection | None, mode: Mode, fields: Mapping[str, Field]
) -> list[tuple[str, str]]:
    places = selection.places if selection else ()
    return [
        (path, name)
        for path, name in places
        if name in fields and fields[name].mode is mode
    ]


def _place(table: Table, side: str, path: str) -> Place:
    protect = table.values["protect"]
    places = protect.values[side] if isinstance(protect, Table) else protect
    found = places.values[path] if isinstance(places, Table) else places
    return found.at
