"""Answers on their way to the client: the backend's, and our own refusals.

The last stage of ``Pipeline.handle``. How bytes are framed is the downstream's; what
the head says is decided here.
"""

from collections.abc import Callable
from typing import Final

from proxy.core.accept import prefers_html
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.headers import response_lines
from proxy.core.message import Response
from proxy.core.problem import PHRASES, problem_body, problem_lines
from proxy.core.problem_page import page_body, page_lines
from proxy.core.reasons import Reason
from proxy.ports import Clocks, Downstream

NO_CONTENT: Final = 204


class Answers:
    """Writes answers.

    Args:
        clocks: monotonic time, for what the backend took; ids for what has none.
    """

    def __init__(self, clocks: Clocks) -> None:
        self._clock: Callable[[], float] = clocks.monotonic
        self._new_id: Callable[[], str] = clocks.request_id

    def sent(
        self,
        response: Response,
        own: bytes,
        downstream: Downstream,
        exchange: Exchange,
    ) -> bool:
        """Pass on an answer that is all there; False when it has to be streamed.

        ``own`` lines go with it.
        """
        if not response.body.complete or response.bodiless:
            return False
        lines = _answer_lines(response, own, exchange)
        if not exchange.upstream_seconds:
            exchange.upstream_seconds = self._clock() - exchange.upstream_started
        body = response.body.whole()
        downstream.send(response.status, response.phrase, lines, body)
        exchange.aborted = False
        return True

    async def stream(
        self,
        response: Response,
        own: bytes,
        downstream: Downstream,
        exchange: Exchange,
    ) -> None:
        """Pass an answer on as it comes, with our ``own`` lines."""
        lines = _answer_lines(response, own, exchange)
        if response.switched is not None:
            self._switch(response, lines, downstream, exchange)
            return
        body = response.body
        downstream.start(response.status, response.phrase, lines, response.length)
        try:
            while chunk := await body.read():
                await downstream.write(chunk)
        except BaseException:
            body.abandon()
            raise
        finally:
            exchange.upstream_seconds = self._clock() - exchange.upstream_started
        downstream.end()
        exchange.aborted = False

    def _switch(
        self,
        response: Response,
        lines: list[bytes],
        downstream: Downstream,
        exchange: Exchange,
    ) -> None:
        """Pass a 101 on. The exchange ends with it; what follows is a tunnel."""
        exchange.upstream_seconds = self._clock() - exchange.upstream_started
        downstream.switch(response.phrase, lines, response.switched)
        exchange.aborted = False

    def preflight(
        self, lines: list[bytes], downstream: Downstream, exchange: Exchange
    ) -> None:
        """Say whose pages may do what (CORS)."""
        exchange.status = NO_CONTENT
        exchange.aborted = False
        request_id = exchange.request_id.encode("ascii")
        lines.append(b"X-Request-ID: %b\r\n" % request_id)
        downstream.send(NO_CONTENT, b"No Content", lines, b"")

    def serving(
        self, downstream: Downstream, exchange: Exchange, own: bytes = b""
    ) -> None:
        """Say that the proxy itself serves; ``own`` lines go with it."""
        exchange.status = 200
        exchange.aborted = False
        request_id = exchange.request_id.encode("ascii")
        lines = [
            b"Content-Type: application/json\r\nCache-Control: no-store\r\n",
            b"X-Request-ID: %b\r\n%b" % (request_id, own),
        ]
        downstream.send(200, b"OK", lines, b'{"status":"ok"}')

    def refuse(
        self,
        refused: Refused,
        downstream: Downstream,
        exchange: Exchange,
        own: bytes = b"",
    ) -> None:
        """Say no, and why; ``own`` lines go with it."""
        exchange.reason = refused.reason
        exchange.detail = refused.detail
        if downstream.started:
            # The head is out: only a broken connection says that the rest is missing.
            downstream.abort()
            return
        exchange.aborted = False
        if refused.reason is Reason.MALFORMED:
            downstream.close_after_answer()  # RFC 9112 section 9.6
        exchange.status = refused.reason.status
        exchange.request_id = exchange.request_id or self._new_id()
        lines_of, body_of = problem_lines, problem_body
        if prefers_html(downstream.accept):
            lines_of, body_of = page_lines, page_body
        downstream.send(
            exchange.status,
            PHRASES[exchange.status],
            [
                *lines_of(refused, request_id=exchange.request_id),
                exchange.limited + own,
            ],
            body_of(refused, rule=exchange.rule, request_id=exchange.request_id),
        )


def _answer_lines(response: Response, own: bytes, exchange: Exchange) -> list[bytes]:
    """Return the field lines that the client gets, without framing."""
    exchange.status = response.status
    if exchange.bill is not None:
        exchange.bill.headers = response.headers
    lines = response_lines(response.headers)
    request_id = exchange.request_id.encode("ascii")
    lines.append(b"X-Request-ID: %b\r\n%b%b" % (request_id, exchange.limited, own))
    return lines
