"""What a single YAML value of a policy can be, and the report of what it is not.

A reader takes a node and returns a value, or raises ``Unreadable``. ``Report.read``
turns that into a finding and a stand-in, so that one mistake never hides the next. A
stand-in does no harm: a report with an error in it refuses the whole policy.

Nothing here knows the sections of a policy.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from proxy.core.errors import Finding
from proxy.core.yaml_source import Listing, Node, Place, Scalar, Table

T = TypeVar("T")
D = TypeVar("D")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_MICROSECONDS = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
SIZE = re.compile(r"([0-9]{1,12}) ?(|B|[kKMG]B|[KMG]iB)")
_BYTES = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
YES_OR_NO = ("true", "false")
_SHOWN = 60
"""How many characters of a value a finding quotes."""


class Unreadable(Exception):
    """A node is not what its reader wants; None when that was reported before."""

    def __init__(self, finding: Finding | None = None) -> None:
        super().__init__()
        self.finding = finding


class Report:
    """Collects findings, in the order in which they are found."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    @property
    def failed(self) -> bool:
        """Whether any finding refuses the policy."""
        return any(finding.severity == "error" for finding in self.findings)

    def error(self, at: Place, message: str, hint: str = "") -> None:
        """Report what refuses the policy."""
        self.findings.append(at.finding(message, hint))

    def warning(self, at: Place, message: str, hint: str = "") -> None:
        """Report what is probably not meant."""
        self.findings.append(at.finding(message, hint, "warning"))

    def read(self, node: Node | None, reader: Callable[[Node], T], default: D) -> T | D:
        """Return what ``reader`` makes of ``node``, or ``default``."""
        if node is None:
            return default
        try:
            return reader(node)
        except Unreadable as error:
            if error.finding:
                self.findings.append(error.finding)
            return default

    def items(self, node: Node | None) -> tuple[Node, ...]:
        """Return the items of a list that must not be empty; () when it is not one."""
        return self.read(node, _items, ())

    def entries(
        self,
        node: Node | None,
        known: Collection[str] = (),
        required: Iterable[str] = (),
    ) -> Mapping[str, Node]:
        """Return the values of a mapping; {} when it is not one.

        Args:
            node: the mapping, or None for {}.
            known: the keys that may be there, for a mapping with fixed keys.
            required: the keys that must be there.
        """
        table = self.read(node, as_table, None)
        if table is None:
            return {}
        for name in table.values if known else ():
            if name not in known:
                key = table.key(name)
                self.error(key.at, *unknown("key", key, known))
        for name in required:
            if name not in table.values:
                self.error(table.at, f"{name!r} is missing")
        return table.values

    def choices(
        self, node: Node | None, what: str, known: Collection[str]
    ) -> tuple[str, ...]:
        """Return the items of a list of words, each of ``known`` and there once."""
        chosen: dict[str, None] = {}
        for item in self.items(node):
            word = self.read(item, lambda item: choice(item, what, known), None)
            if word in chosen:
                self.error(item.at, f"the {what} {word!r} is listed twice")
            if word is not None:
                chosen[word] = None
        return tuple(chosen)


def refuse(node: Node, message: str, hint: str = "") -> Unreadable:
    """Return the error to raise about ``node``."""
    return Unreadable(node.at.finding(message, hint))


def quoted(scalar: Scalar) -> str:
    """Return what a finding may say of a value: short, and nothing secret."""
    text = scalar.shown
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def unknown(what: str, word: Scalar, known: Collection[str]) -> tuple[str, str]:
    """Return message and hint about a word that is not one of ``known``."""
    # A guess at a value from the environment would tell what the value is like.
    hint = guess("" if word.hidden else word.text, known)
    return f"unknown {what} {quoted(word)}", hint


def guess(word: str, known: Collection[str]) -> str:
    """Return what was probably meant by ``word``, or else everything that is known."""
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(sorted(known))}" if known else ""


def _wanted(node: Node, wanted: str) -> Unreadable:
    """Return the error about a node of another kind; a bare Node was reported."""
    if type(node) is Node:
        return Unreadable()
    if isinstance(node, Scalar):
        found = "nothing" if node.blank else "a single value"
    else:
        found = "a list" if isinstance(node, Listing) else "a mapping"
    return refuse(node, f"expected {wanted}, found {found}")


def _items(node: Node) -> tuple[Node, ...]:
    if not isinstance(node, Listing):
        raise _wanted(node, "a list")
    if not node.items:
        raise refuse(node, "the list is empty")
    return node.items


def as_table(node: Node) -> Table:
    """Read a mapping that is not empty."""
    if not isinstance(node, Table):
        raise _wanted(node, "a mapping")
    if not node.values:
        raise refuse(node, "the mapping is empty")
    return node


def as_scalar(node: Node) -> Scalar:
    """Read a string that is not empty, with what is known about it."""
    if not isinstance(node, Scalar) or node.blank:
        raise _wanted(node, "a single value")
    if not node.text:
        raise refuse(node, "the value is empty")
    return node


def string(node: Node) -> str:
    """Read a string that is not empty."""
    return as_scalar(node).text


def strings(node: Node) -> tuple[str, ...]:
    """Read one string or a list of strings."""
    if isinstance(node, Listing):
        return tuple(string(item) for item in _items(node))
    return (string(node),)


def written(node: Node) -> Scalar:
    """Read a string that does not come from the environment.

    Names and rules are shown in findings, logs and metrics, and must read the same on
    every machine.
    """
    scalar = as_scalar(node)
    if scalar.hidden:
        raise refuse(node, "this cannot come from the environment", "write it out")
    return scalar


def name(node: Node) -> str:
    """Read the name of something of the policy."""
    scalar = written(node)
    if not NAME.fullmatch(scalar.text):
        raise refuse(
            node,
            f"{quoted(scalar)} is not a name",
            "letters, digits, '_', '.' and '-', 64 at most",
        )
    return scalar.text


def choice(node: Node, what: str, known: Collection[str]) -> str:
    """Read one word of ``known``."""
    scalar = written(node)
    if scalar.text not in known:
        raise refuse(node, *unknown(what, scalar, known))
    return scalar.text


def yes_or_no(node: Node) -> bool:
    """Read one of the words true and false."""
    return choice(node, "word", YES_OR_NO) == "true"


def integer(node: Node) -> int:
    """Read a whole number that is at least 1."""
    scalar = as_scalar(node)
    if not re.fullmatch(r"[1-9][0-9]{0,14}", scalar.text):
        raise refuse(node, f"{quoted(scalar)} is not a whole number above 0")
    return int(scalar.text)


def microseconds(text: str) -> int | None:
    """Return the length of a duration such as ``250ms``; None if it is not one."""
    match = DURATION.fullmatch(text)
    return int(match[1]) * _MICROSECONDS[match[2]] if match else None


def duration(node: Node) -> float:
    """Read a duration with its unit, in seconds; 0.0 is possible."""
    scalar = as_scalar(node)
    length = microseconds(scalar.text)
    if length is None:
        raise refuse(
            node,
            f"{quoted(scalar)} is not a duration",
            "a whole number and a unit: 250ms, 2s, 1m, 1h",
        )
    return length / _MICROSECONDS["s"]


def positive_duration(node: Node) -> float:
    """Read a duration above zero, in seconds."""
    seconds = duration(node)
    if not seconds:
        raise refuse(node, "the duration must be above 0")
    return seconds


def size(node: Node) -> int:
    """Read a number of bytes, such as ``512KiB`` or ``10MB``; 0 is possible."""
    scalar = as_scalar(node)
    match = SIZE.fullmatch(scalar.text)
    if not match:
        raise refuse(
            node,
            f"{quoted(scalar)} is not a size",
            "a whole number and a unit: 512KiB, 10MB, 1GiB",
        )
    return int(match[1]) * _BYTES[match[2]]
