"""As much of the WebSocket protocol as ending one takes (RFC 6455).

A Close frame may only stand between two frames, so whoever wants to put one into a
stream has to know where frames end. What is in them is nobody's business here.
"""

from typing import Final

GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008
"""Status codes of Close frames (section 7.4.1)."""

_CLOSE: Final = 0x88
"""FIN and the opcode of a Close frame."""
_OPCODE: Final = 0x8F
"""FIN and opcode, without the bits that extensions use."""
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_LONGEST_HEAD: Final = 14


def close_frame(code: int, mask: bytes = b"") -> bytes:
    """Return a Close frame without a text.

    Args:
        code: why, see the constants.
        mask: four random bytes in a frame to a server, which takes no other (section
            5.1); none in a frame to a client, which takes none with them.
    """
    payload = code.to_bytes(2, "big")
    if not mask:
        return bytes((_CLOSE, len(payload))) + payload
    masked = bytes(one ^ other for one, other in zip(payload, mask, strict=False))
    return bytes((_CLOSE, _MASKED | len(payload))) + mask + masked


class FrameCursor:
    """Where in a stream of frames the last byte was (section 5.2).

    Attributes:
        closed: whether a Close frame has begun; none may follow.
    """

    __slots__ = ("_head", "_left", "closed")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.closed = False

    @property
    def between_frames(self) -> bool:
        """Whether the last byte was the last one of a frame, or none has come."""
        return not self._head and not self._left

    def advance(self, data: bytes) -> int:
        """Move on over ``data``; return how many frames ended or went on there."""
        at = frames = 0
        while at < len(data):
            if not self._left and not self._head:
                at, short = self._skip(data, at)
                frames += short
            if at < len(data):
                at = self.step(data, at)
                frames += 1
        return frames

    def _skip(self, data: bytes, at: int) -> tuple[int, int]:
        """Move on over short frames that are whole; return where to, and how many.

        As ``step`` does it, without a look at each: there may be very many of them.
        """
        size, frames = len(data), 0
        while at + 1 < size:
            second = data[at + 1]
            length = second & _LENGTH
            end = at + 2 + length + (4 if second & _MASKED else 0)
            if length >= _TWO_BYTES or end > size:
                break
            if data[at] & _OPCODE == _CLOSE:
                self.closed = True
            at = end
            frames += 1
        return at, frames

    def step(self, data: bytes, at: int = 0) -> int:
        """Move on to where a frame ends, or the data; return that place.

        Args:
            data: what came next in the stream.
            at: the first byte of it that was not stepped over yet.
        """
        if not self._left:
            known = len(self._head)
            head = self._head + data[at : at + _LONGEST_HEAD - known]
            size = _head_bytes(head)
            if len(head) < size:
                self._head = head
                return len(data)
            self._head = b""
            self._left = _payload_bytes(head)
            self.closed = self.closed or head[0] & _OPCODE == _CLOSE
            at += size - known
        taken = min(self._left, len(data) - at)
        self._left -= taken
        return at + taken


def _head_bytes(head: bytes) -> int:
    """Return how long the head is that begins so."""
    size = 2
    if len(head) < size:
        return size
    if head[1] & _MASKED:
        size += 4
    length = head[1] & _LENGTH
    if length == _TWO_BYTES:
        size += 2
    elif length == _EIGHT_BYTES:
        size += 8
    return size


def _payload_bytes(head: bytes) -> int:
    """Return the length of the payload behind a head that is complete."""
    length = head[1] & _LENGTH
    if length == _TWO_BYTES:
        return int.from_bytes(head[2:4], "big")
    if length == _EIGHT_BYTES:
        return int.from_bytes(head[2:10], "big")
    return length
