"""What backends answer: bytes to a head and the pieces of a body, one at a time.

The parsing half of a connection to a backend, over llhttp. What breaks the rules is
only noted here, in ``_violated``; the other half, ``upstream``, acts on it.
"""

from typing import Final

import httptools

from proxy.core.framing import UNKNOWN, framing_of
from proxy.core.message import RawHeaders
from proxy.edge.body import BodyStream

HEAD_BYTES: Final = 64 * 1024
"""The largest head of an answer; twice what is taken from clients (cookies)."""
FIRST_FINAL: Final = 200
LAST_STATUS: Final = 599
INTERIM: Final = 16
"""How many 1xx answers may precede an answer."""


class AnswerReader:
    """A connection to a backend, as far as it parses."""

    __slots__ = (
        "_body",
        "_chunks",
        "_complete",
        "_framing",
        "_head_bytes",
        "_headers",
        "_interim",
        "_method",
        "_parser",
        "_phrase",
        "_status",
        "_violated",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # The answer under way: its head, and its body once that is being read.
        self._method = ""
        self._status = 0
        self._phrase = b""
        self._headers: RawHeaders = []
        self._framing = UNKNOWN
        self._chunks: list[bytes] = []
        self._body: BodyStream | None = None
        self._complete = False
        self._head_bytes = 0
        self._interim = 0
        self._violated = False

    # -- what llhttp calls

    def on_message_begin(self) -> None:
        """Begin an answer; a second one that nobody asked for is a violation."""
        if self._status:
            self._violated = True
        else:
            self._headers = []
            self._phrase = b""

    def on_status(self, phrase: bytes) -> None:
        """Note the reason phrase."""
        if not self._status:
            self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field line; trailers are dropped."""
        if not self._status:
            self._headers.append((name.lower(), name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is known: keep it, unless it is an interim one."""
        status = self._parser.get_status_code()
        if self._status or self._violated:
            self._violated = True
            return
        if status < FIRST_FINAL:
            self._interim += 1
            if self._interim > INTERIM:
                self._violated = True
            return
        framing = framing_of(
            self._headers,
            bodiless=self._method == "HEAD" or status in (204, 304),
            keep_alive=self._parser.should_keep_alive(),
        )
        if framing is None or status > LAST_STATUS:
            self._violated = True
            return
        head_bytes = sum(len(name) + len(value) for _, name, value in self._headers)
        if self._head_bytes > HEAD_BYTES and head_bytes > HEAD_BYTES:
            self._violated = True
            return
        self._head_bytes = 0  # from here on, bytes since the last one of the body
        self._status = status
        self._framing = framing
        self._complete = framing.bodiless

    def on_body(self, chunk: bytes) -> None:
        """Hand bytes of the body to whoever reads them."""
        self._head_bytes = 0
        if self._complete or not self._status:
            self._violated = True  # A body where there can be none.
        elif self._body is None:
            self._chunks.append(chunk)
        else:
            self._body.feed(chunk)

    def on_message_complete(self) -> None:
        """End the body."""
        if self._status:
            self._complete = True
            if self._body is not None:
                self._body.finish()
