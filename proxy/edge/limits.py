"""How much one peer may make this process hold, and for how long: defaults, reasons.

Bytes are ints, seconds floats.
"""

import dataclasses
from typing import Final

from proxy.core.errors import Refused
from proxy.core.message import Request
from proxy.core.reasons import Reason

_NOT_HTTP: Final = frozenset(
    (
        *("ANNOUNCE", "DESCRIBE", "FLUSH", "GET_PARAMETER", "PAUSE", "PLAY", "PRI"),
        *("RECORD", "REDIRECT", "SETUP", "SET_PARAMETER", "SOURCE", "TEARDOWN"),
    )
)
"""What llhttp reads of RTSP (RFC 2326), ICE and HTTP/2 (RFC 9113 section 3.4)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """Limits of one connection from downstream.

    Attributes:
        head_bytes: request line and field lines together (nginx: 8 KiB lines, 32 KiB
            in all; Envoy: 60 KiB).
        target_bytes: of the request target (nginx: 8 KiB).
        header_lines: number of field lines (Envoy and Apache: 100).
        body_bytes: largest request body where the rule says nothing (nginx: 1 MiB;
            an LMS takes uploads).
        buffered_bytes: largest body that is held to encrypt or decrypt fields.
        pipelined: requests taken ahead of the one being answered.
        head_seconds: from a request's first byte to its last field line.
        idle_seconds: between two requests on a connection (nginx: 75 s).
        body_seconds: between two reads of a request body that is waited for.
        body_rate: bytes a second that a body comes at in the long run, while it is
            waited for; ``body_seconds`` is how far behind it may be. 0 for no rate
            (Apache's reqtimeout module: 500).
        write_seconds: for a client to take what was written to it.
        half_close_seconds: for an answer to a client that has closed its sending side,
            which is what most clients that left look like.
        linger_seconds: for a client to notice an early refusal of its upload.
    """

    head_bytes: int = 32 * 1024
    target_bytes: int = 8 * 1024
    header_lines: int = 100
    body_bytes: int = 16 * 1024 * 1024
    buffered_bytes: int = 1024 * 1024
    pipelined: int = 64
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    body_seconds: float = 60.0
    body_rate: int = 500
    write_seconds: float = 60.0
    half_close_seconds: float = 10.0
    linger_seconds: float = 2.0

    def refusal(self, request: Request, arrived: int) -> Refused | None:
        """Return why a request is not read further; None when it is.

        Args:
            request: its head is complete.
            arrived: bytes since the head began, so at least as many as it has.
        """
        if request.method in _NOT_HTTP:
            return Refused(Reason.MALFORMED, "This is a method of another protocol.")
        if request.version not in ("1.1", "1.0"):
            return Refused(Reason.MALFORMED, "Only HTTP/1.1 and HTTP/1.0 are spoken.")
        if len(request.target) > self.target_bytes:
            return Refused(Reason.URI_TOO_LONG)
        lines = request.headers
        if len(lines) > self.header_lines or (
            arrived > self.head_bytes
            and sum(len(name) + len(value) for _, name, value in lines)
            > self.head_bytes
        ):
            return Refused(Reason.HEADERS_TOO_LARGE)
        return None
