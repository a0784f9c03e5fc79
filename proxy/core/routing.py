"""Method and path to exactly one rule. (Interface; the owner fills in the bodies.)"""

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar


class Ambiguity(enum.Enum):
    """A way in which a path can be read in two ways."""

    ENCODED_SLASH = "encoded-slash"
    EMPTY_SEGMENT = "empty-segment"
    BACKSLASH = "backslash"
    SEMICOLON = "semicolon"
    DOUBLE_ENCODING = "double-encoding"
    DOT_SEGMENT = "dot-segment"
    CONTROL = "control-character"


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled path pattern.

    Attributes:
        text: as written, such as ``/api/users/{id}`` or ``/files/{path...}``.
        segments: canonical literal segments; a parameter is None.
        params: the names of the parameters in order, the rest parameter last.
        rest: whether the last parameter is ``{name...}`` (not in ``segments``).
    """

    text: str
    segments: tuple[str | None, ...]
    params: tuple[str, ...]
    rest: bool

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Compile ``text``; ValueError with a sentence for people."""
        raise NotImplementedError


class Routable(Protocol):
    """What the router needs to know of a rule."""

    @property
    def id(self) -> str: ...
    @property
    def methods(self) -> frozenset[str]: ...
    @property
    def pattern(self) -> Pattern: ...
    @property
    def tolerate(self) -> frozenset[Ambiguity]: ...


R = TypeVar("R", bound=Routable)


@dataclasses.dataclass(frozen=True, slots=True)
class Match(Generic[R]):
    """One rule, the canonical path that is forwarded, and the parameters."""

    rule: R
    path: str
    params: Mapping[str, str]


class Router(Generic[R]):
    """All rules, compiled to a tree of segments."""

    def __init__(self, rules: Iterable[R]) -> None:
        """Compile ``rules``; ValueError when two rules tie (see ``ties``)."""
        raise NotImplementedError

    @staticmethod
    def ties(rules: Iterable[R]) -> list[tuple[R, R]]:
        """Return every pair of rules that match the same requests equally well."""
        raise NotImplementedError

    def match(self, method: str, path: str) -> Match[R]:
        """Return the one rule, or raise Refused (see Reason)."""
        raise NotImplementedError
