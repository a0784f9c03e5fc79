"""What a policy says about logs: which keys, how many lines, and what is audited."""

import re
from collections.abc import Mapping
from typing import Final

from proxy.core import policy_values as values
from proxy.core.access_line import KEYS, USUAL_KEYS
from proxy.core.observing import Audit, Logging, Observed
from proxy.core.policy_keys import LOG
from proxy.core.policy_values import Report, refuse
from proxy.core.yaml_source import Node, Scalar

ALL: Final = "all"
NONE: Final = "none"
PERCENT: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,4})?|100)%")


def read_logging(report: Report, section: Mapping[str, tuple[Scalar, Node]]) -> Logging:
    """Read the section ``log``."""
    nodes: dict[str, Node] = {}
    for name, (key, node) in section.items():
        if name not in LOG:
            report.error(key.at, *values.unknown("key", key, LOG))
        nodes[name] = node
    keys = USUAL_KEYS
    if "keys" in nodes:
        chosen = report.choices(nodes["keys"], "key", KEYS)
        keys = tuple(key for key in KEYS if key in chosen)
    return Logging(keys, read_share(report, nodes.get("sample"), 1.0))


def read_share(report: Report, node: Node | None, usual: float) -> float:
    """Read what share of requests is logged, from 0 to 1."""
    return report.read(node, _share, usual)


def read_observed(
    report: Report, entries: Mapping[str, Node], logging: Logging
) -> Observed:
    """Read what a rule says of logs."""
    word = report.read(
        entries.get("audit"),
        lambda one: values.choice(one, "kind", [kind.value for kind in Audit]),
        None,
    )
    return Observed(
        read_share(report, entries.get("log"), logging.share),
        None if word is None else Audit(word),
    )


def _share(node: Node) -> float:
    scalar = values.as_scalar(node)
    if scalar.text in {ALL, NONE}:
        return float(scalar.text == ALL)
    percent = PERCENT.fullmatch(scalar.text)
    if percent is None:
        hint = f"such as 10%, {ALL} or {NONE}"
        raise refuse(node, f"{values.quoted(scalar)} is no share", hint)
    return float(percent[1]) / 100
