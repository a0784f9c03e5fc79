"""Looks at what passes between pipeline and backend, for whoever drafts a policy.

It stands where the backend stands for the pipeline, and only in a proxy that was told
to learn, so that nobody else pays for it. Bodies stream past as ever: a copy of what is
short enough is looked at once its end has come, and thrown away.
"""

import json
from collections.abc import Callable
from typing import Final

from proxy.core.headers import is_json, value_of
from proxy.core.learning import Endpoint, Learned
from proxy.core.message import Body, Response
from proxy.core.policy import Rule
from proxy.ports import Upstream

MOST: Final = 256 * 1024
"""Bytes of a body that are looked at; of a longer one nothing is."""

_SWITCHED: Final = 101


class Learner:
    """Notes what passes, and passes it on.

    Args:
        upstream: who exchanges requests with backends.
        learned: where it is noted.
        now: epoch seconds.
    """

    def __init__(
        self, upstream: Upstream, learned: Learned, now: Callable[[], float]
    ) -> None:
        self._upstream = upstream
        self._learned = learned
        self._now = now

    async def exchange(
        self,
        rule: Rule,
        method: str,
        head: bytes,
        body: bytes | Body,
        *,
        chunked: bool = False,
    ) -> Response:
        """Send a request as the upstream does."""
        lines = head.split(b"\r\n")
        fields = _fields(lines[1:])
        path = lines[0].split(b" ")[1].partition(b"?")[0].decode("latin-1")
        who = fields.get(b"x-lumina-subject") or fields.get(b"x-forwarded-for", b"")
        role = fields.get(b"x-lumina-role", b"").decode("latin-1")
        endpoint = self._learned.note(method, path, who.decode("latin-1"), self._now())
        if endpoint is not None and is_json(fields.get(b"content-type")):
            if isinstance(body, bytes):
                _look(endpoint, body, response=False)
            else:
                body = _Copied(body, endpoint, response=False)
        response = await self._upstream.exchange(
            rule, method, head, body, chunked=chunked
        )
        if endpoint is not None:
            endpoint.note_answer(response.status, role)
            kind = value_of(response.headers, b"content-type")
            if response.status != _SWITCHED and is_json(kind):
                response.body = _Copied(response.body, endpoint, response=True)
        return response


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return fields


def _look(endpoint: Endpoint, data: bytes, *, response: bool) -> None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    endpoint.note_body(document, response=response, size=len(data))


class _Copied:
    """A body, of which a copy is looked at when its end has been read."""

    def __init__(self, body: Body, endpoint: Endpoint, *, response: bool) -> None:
        self._body = body
        self._endpoint = endpoint
        self._response = response
        self._copy = bytearray()
        self._fits = True

    @property
    def complete(self) -> bool:
        """Whether every byte has arrived."""
        return self._body.complete

    @complete.setter
    def complete(self, value: bool) -> None:
        self._body.complete = value

    @property
    def limit(self) -> int | None:
        """Bytes in all that are taken."""
        return self._body.limit

    @limit.setter
    def limit(self, value: int | None) -> None:
        self._body.limit = value

    @property
    def received(self) -> int:
        """Bytes that have arrived so far."""
        return self._body.received

    def abandon(self) -> None:
        """Say that nobody will read the rest."""
        self._fits = False
        self._body.abandon()

    def whole(self) -> bytes:
        """Return all that was not read yet."""
        data = self._body.whole()
        self._keep(data)
        self._end()
        return data

    async def read(self) -> bytes:
        """Return the bytes that have arrived; b"" at the end."""
        data = await self._body.read()
        if data:
            self._keep(data)
        else:
            self._end()
        return data

    def _keep(self, data: bytes) -> None:
        if self._fits and len(self._copy) + len(data) <= MOST:
            self._copy += data
        else:
            self._fits = False
            self._copy.clear()

    def _end(self) -> None:
        if self._fits and self._copy:
            _look(self._endpoint, bytes(self._copy), response=self._response)
        self._fits = False
        self._copy.clear()
