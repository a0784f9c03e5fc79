"""The sections of a policy that rules refer to: from nodes to frozen objects.

Every function reads one section. Its result has a key for every name that was written,
with None for what could not be read: so a rule that names it is not told that it does
not exist.

Nothing here knows a rule.
"""

import enum
import fnmatch
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from proxy.core import policy_values as values
from proxy.core.policy import ANYONE, View
from proxy.core.policy_values import Report
from proxy.core.yaml_source import Node, Scalar

E = TypeVar("E", bound=enum.Enum)
T = TypeVar("T")

Section = Mapping[str, tuple[Scalar, Node]]
"""The entries of a section over all files: name to (key, value)."""

GLOB = re.compile(r"[A-Za-z0-9_.*-]{1,64}")


def named(
    report: Report, section: Section, read: Callable[[Report, str, Node], T]
) -> dict[str, T]:
    """Read every entry of a section whose keys are names."""
    for key, _ in section.values():
        report.read(key, values.name, None)
    return {name: read(report, name, node) for name, (_, node) in section.items()}


def read_word(report: Report, node: Node | None, what: str, usual: E) -> E | None:
    """Read one of the words of ``usual``'s class; None when it is another one."""
    if node is None:
        return usual
    words = type(usual)
    known = [word.value for word in words]
    return report.read(node, lambda n: words(values.choice(n, what, known)), None)


def read_views(
    report: Report, section: Section, roles: Collection[str], fields: Collection[str]
) -> dict[str, dict[str, View]]:
    """Read what each role sees of each field, globs spread over the fields."""
    known = (*roles, ANYONE)
    for name, (key, _) in section.items():
        if name not in known:
            report.error(key.at, *values.unknown("role", key, known))
    return {name: _view(report, node, fields) for name, (_, node) in section.items()}


def _view(report: Report, node: Node, fields: Collection[str]) -> dict[str, View]:
    """Read one role's view: an exact name beats a glob, a longer glob a shorter."""
    table = report.read(node, values.as_table, None)
    entries = table.values if table else {}
    keys = {name: table.key(name) for name in entries} if table else {}
    words = [view.value for view in View]
    views: dict[str, View] = {}
    decided_by: dict[str, str] = {}
    # The weakest first, so that the stronger overwrite.
    for glob in sorted(entries, key=lambda glob: ("*" not in glob, len(glob), glob)):
        view = report.read(
            entries[glob], lambda n: View(values.choice(n, "view", words)), View.MASK
        )
        matched = _matched(glob, fields)
        if not matched:
            report.error(keys[glob].at, *values.unknown("field", keys[glob], fields))
        for field in matched:
            rival = decided_by.get(field, "")
            if len(rival) == len(glob) and "*" in glob and views[field] is not view:
                message = f"{rival!r} and {glob!r} disagree about {field!r}"
                report.error(keys[glob].at, message, f"name {field!r} itself")
            views[field], decided_by[field] = view, glob
    return views


def _matched(glob: str, fields: Collection[str]) -> list[str]:
    """Return the fields that a name or a glob with ``*`` stands for."""
    if not GLOB.fullmatch(glob):
        return []
    return [field for field in fields if fnmatch.fnmatchcase(field, glob)]
