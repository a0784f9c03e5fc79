"""Where the body of an answer ends (RFC 9112 section 6.3).

Asked here and not of llhttp, which does not know that an answer to HEAD has no body.
Nothing is guessed: a header section that says two things says nothing.
"""

from typing import Final

from proxy.core.message import RawHeaders


class Framing:
    """What a header section says of the message's end (RFC 9112 section 6.3).

    Attributes:
        length: of the body in bytes; None when the header section does not say.
        chunked: whether it comes in chunks.
        keep_alive: whether the connection can be used again afterwards.
        bodiless: whether there is no body, whatever the header section says.
    """

    __slots__ = ("bodiless", "chunked", "keep_alive", "length")

    def __init__(
        self, length: int | None, *, chunked: bool, keep_alive: bool, bodiless: bool
    ) -> None:
        self.length = length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.bodiless = bodiless

    @property
    def until_close(self) -> bool:
        """Whether the body ends with the connection."""
        return self.length is None and not self.chunked and not self.bodiless


UNKNOWN: Final = Framing(None, chunked=False, keep_alive=False, bodiless=False)
"""Of an answer whose head has not come."""


def framing_of(
    headers: RawHeaders, *, bodiless: bool, keep_alive: bool
) -> Framing | None:
    """Return what a header section says; None if that is unclear.

    Args:
        headers: every field line.
        bodiless: whether method or status say that there is no body.
        keep_alive: whether version and Connection let the connection be used again.
    """
    length: int | None = None
    chunked = False
    for lower, _, value in headers:
        if lower == b"content-length":
            if length is not None or not value.isdigit():
                return None
            length = int(value)
        elif lower == b"transfer-encoding":
            if chunked or value.lower() != b"chunked":
                return None
            chunked = True
    if chunked and length is not None:
        return None
    if length is None and not chunked and not bodiless:
        keep_alive = False
    return Framing(length, chunked=chunked, keep_alive=keep_alive, bodiless=bodiless)
