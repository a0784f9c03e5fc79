"""Which leaves of a JSON body are protected. (Interface; the owner fills it in.)"""

import dataclasses
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """Compiled JSONPaths, each with the logical field found there."""

    places: tuple[tuple[str, str], ...]

    @classmethod
    def compile(cls, places: Mapping[str, str]) -> "Selection":
        """Compile {JSONPath: logical field}; ValueError names the path and why."""
        raise NotImplementedError

    @property
    def fields(self) -> frozenset[str]:
        """The logical fields that can be found."""
        return frozenset(field for _, field in self.places)


def splice(
    body: bytes, selection: Selection, replace: Callable[[str, str], str | None]
) -> bytes:
    """Replace selected leaves; every other byte stays.

    Args:
        body: the bytes of one JSON text in UTF-8.
        selection: what is protected.
        replace: called with (logical field, JSON text of the leaf); returns the JSON
            text to put there, or None to leave the leaf as it is.

    Raises:
        Refused: BODY_NOT_JSON with a sentence.
    """
    raise NotImplementedError
