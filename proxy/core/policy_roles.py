"""The roles of a policy, and which of them may what others may.

``{teacher: [student]}`` says that a teacher may whatever a student may, and whatever a
role may that a student inherits from. What is inherited is permission and nothing else:
a teacher acts as a teacher, with the rates and views of one.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from proxy.core import policy_values as values
from proxy.core.policy import ANYONE
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Node, Table

DEFAULT = "default"
"""The key of a role map that stands for every role without a key of its own."""

ROLE = re.compile(r"[!-~]{1,128}")


@dataclasses.dataclass(frozen=True, slots=True)
class Roles:
    """Every role.

    Attributes:
        names: in the order of the policy.
        heirs: to each role those that may what it may, itself among them.
    """

    names: tuple[str, ...]
    heirs: Mapping[str, frozenset[str]]


def read_roles(report: Report, items: Sequence[Node]) -> Roles:
    """Read every role, and what it inherits."""
    inherits: dict[str, Node | None] = {}
    for item in items:
        name, node = _written(report, item)
        role = report.read(name, _role, None)
        if role in inherits:
            report.error(item.at, f"the role {role!r} is listed twice")
        elif role is not None:
            inherits[role] = node
    names = tuple(inherits)
    parents = {role: _parents(report, node, names) for role, node in inherits.items()}
    for role, node in inherits.items():
        if node is not None and role in _above(role, parents):
            report.error(node.at, f"the role {role!r} inherits from itself")
    above = {role: _above(role, parents) for role in names}
    heirs = {
        one: frozenset({one, *(role for role in names if one in above[role])})
        for one in names
    }
    return Roles(names, heirs)


def _written(report: Report, item: Node) -> tuple[Node, Node | None]:
    """Return the node of a role's name, and of what it inherits."""
    if not isinstance(item, Table):
        return item, None
    if len(item.values) != 1:
        report.error(item.at, "expected one role", "such as {teacher: [student]}")
        return Node(item.where), None
    [(name, node)] = item.values.items()
    return item.key(name), node


def _role(node: Node) -> str:
    scalar = values.written(node)
    if scalar.text in (ANYONE, DEFAULT):
        raise refuse(node, f"{values.quoted(scalar)} is a reserved word, not a role")
    if not ROLE.fullmatch(scalar.text):
        raise refuse(
            node,
            f"{values.quoted(scalar)} is not a role",
            "printable ASCII without spaces",
        )
    return scalar.text


def _parents(
    report: Report, node: Node | None, names: tuple[str, ...]
) -> tuple[str, ...]:
    return () if node is None else report.choices(node, "role", names)


def _above(role: str, parents: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return every role that ``role`` inherits from, near or far."""
    found: set[str] = set()
    waiting = [*parents[role]]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += parents[one]
    return found
