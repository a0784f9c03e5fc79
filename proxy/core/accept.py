"""What a client would rather have: a page or a document (RFC 9110 section 12.5.1)."""

import re
from typing import Final

_WEIGHT: Final = re.compile(rb"\s*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*")
_JSON: Final = (b"application/problem+json", b"application/json")


def prefers_html(accept: bytes) -> bool:
    """Say whether an Accept asks for HTML by name, and for no JSON as much.

    Browsers do when they open a page; programs, and pages' own scripts, do not.

    Args:
        accept: every value of the field, with commas between; b"" for none. What is in
            there and makes no sense is passed over.
    """
    if b"text/html" not in accept.lower():
        return False
    weights: dict[bytes, float] = {}
    for element in accept.lower().split(b","):
        media_range, *parameters = element.split(b";")
        weight = 1.0
        for parameter in parameters:
            if found := _WEIGHT.fullmatch(parameter):
                weight = float(found[1])
        weights.setdefault(media_range.strip(), weight)
    html = weights.get(b"text/html", 0.0)
    return html > max(_weight(weights, name) for name in _JSON)


def _weight(weights: dict[bytes, float], media_type: bytes) -> float:
    """Return the weight of a media type: that of the closest range."""
    family = media_type.split(b"/")[0] + b"/*"
    for media_range in (media_type, family, b"*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0
