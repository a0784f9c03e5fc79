"""Protected parameters of a query or an urlencoded form, and how they are replaced.

``name=value`` pairs joined by ``&`` (WHATWG URL Standard, section 5). Every occurrence
of a protected name is replaced, however its name is encoded; all else stays byte for
byte, and in its order. An empty value stays empty: it hides nothing, and backends take
it for "not asked".

Backends differ in how they read such text, and none may find a protected value where
this file sees none. So what some would read as a protected parameter is refused: its
name in another case, with white space around it, a bracket or NUL behind it, or a dot
for an underscore, or after a ``;`` that old parsers split at; and in its value, bytes
that are no UTF-8 and broken percent-encodings.

Knows nothing of cryptography, roles or HTTP.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote_to_bytes

from proxy.core.errors import Refused
from proxy.core.reasons import Reason

FORM = b"application/x-www-form-urlencoded"

_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UTF8 = (b"charset=utf-8", b'charset="utf-8"')
# PHP writes these into an underscore.
_UNDERSCORES = str.maketrans(". ", "__")


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """The protected names of a query or form, each with its logical field.

    Attributes:
        places: each (name, logical field), as the policy wrote them.
    """

    places: tuple[tuple[str, str], ...]

    @classmethod
    def compile(cls, places: Mapping[str, str]) -> "Parameters":
        """Take {name: logical field}.

        Raises:
            ValueError: a name is empty, or is read by some parsers as another one.
        """
        seen: dict[str, str] = {}
        for name in places:
            if not name or name != name.strip() or "\0" in name:
                raise ValueError(f"{name!r} is not the name of a parameter")
            if seen.setdefault(_like(name), name) != name:
                raise ValueError(f"{name!r} and {seen[_like(name)]!r} are alike")
        return cls(tuple(places.items()))

    @property
    def fields(self) -> frozenset[str]:
        """The logical fields that can be found."""
        return frozenset(field for _, field in self.places)

    def replace(self, text: str, encrypt: Callable[[str, str], str]) -> str:
        """Replace the values of the protected parameters.

        Args:
            text: a query without its "?", or a form.
            encrypt: called with (logical field, decoded value) in the order of the
                text; returns the value to put there.

        Raises:
            Refused: PARAMETER_AMBIGUOUS; nothing was replaced.

        Example:
            >>> Parameters.compile({"email": "user.email"}).replace(
            ...     "a=1&email=ada%40x.org", lambda field, value: value.upper()
            ... )
            'a=1&email=ADA%40X.ORG'
        """
        fields = dict(self.places)
        names = [_like(name) for name in fields]
        # One that ends in [] is a list for some, whose elements may have indexes.
        openings = tuple(
            name[:-1] if name.endswith("[]") else name + "[" for name in names
        )
        pairs = text.split("&")
        found: list[tuple[int, str, str, str]] = []
        for at, pair in enumerate(pairs):
            written, equals, value = pair.partition("=")
            name = _decoded(written)
            if name in fields:
                plain = _decoded(value)
                if plain is None or ";" in value:
                    raise _ambiguous(f"The value of {name} is malformed.")
                if plain:
                    found.append((at, written + equals, fields[name], plain))
            elif any(
                (like := _named_like(part)) in names or like.startswith(openings)
                for part in pair.split(";")
            ):
                raise _ambiguous("A name is spelled in an unusual way.")
        for at, ahead, field, plain in found:
            pairs[at] = ahead + quote(encrypt(field, plain), safe="")
        return "&".join(pairs)


def is_form(content_type: bytes | None) -> bool:
    """Say whether a Content-Type is an urlencoded form in UTF-8."""
    media_type, *parameters = (content_type or b"").lower().split(b";")
    return media_type.strip() == FORM and all(
        parameter.strip() in _UTF8 or not parameter.strip().startswith(b"charset")
        for parameter in parameters
    )


def _decoded(encoded: str) -> str | None:
    """Decode a name or value; None where parsers would disagree about it."""
    if _BROKEN.search(encoded):
        return None
    try:
        return unquote_to_bytes(encoded.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return None


def _named_like(pair: str) -> str:
    """Return what the name of a pair is for somebody who does not care about errors."""
    written = pair.partition("=")[0].replace("+", " ")
    return _like(unquote_to_bytes(written).decode(errors="ignore"))


def _like(name: str) -> str:
    """Return what names have in common that some parser takes for the same."""
    # Some drop a byte order mark, or a question mark that somebody left in front.
    name = name.partition("\0")[0].strip().lstrip("?\ufeff").strip()
    return name.translate(_UNDERSCORES).casefold()


def _ambiguous(detail: str) -> Refused:
    return Refused(Reason.PARAMETER_AMBIGUOUS, detail)
