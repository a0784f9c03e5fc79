"""One line for each request that is over: which keys it has, and how it is written.

Nothing but what is in ``KEYS`` is ever logged: no header, no body, no query, no token.
A path is logged as it was matched, without its query. Whoever wants to know whose
request it was asks for ``subject`` in the policy, for by default it is left out; so are
the times of the stages.
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from proxy.core.exchange import Exchange
from proxy.core.stages import stage_of

_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*").fullmatch
"""What JSON writes as it stands."""

_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400


def _quoted(text: str) -> str:
    return f'"{text}"' if _PLAIN(text) else json.dumps(text)


def _text(name: str) -> Callable[[Exchange], str]:
    return lambda exchange: _quoted(getattr(exchange, name))


def _reason(exchange: Exchange) -> str:
    return "null" if exchange.reason is None else f'"{exchange.reason.slug}"'


def _shadow(exchange: Exchange) -> str:
    return "null" if exchange.shadow is None else f'"{exchange.shadow.slug}"'


def _stage(exchange: Exchange) -> str:
    reason = exchange.reason or exchange.shadow
    return "null" if reason is None else f'"{stage_of(reason).value}"'


def _stage_seconds(name: str) -> Callable[[Exchange], str]:
    def write(exchange: Exchange) -> str:
        seconds = getattr(exchange, name)
        return "null" if seconds is None else f"{seconds:.6f}"

    return write


STAGE_KEYS: Final = tuple(
    f"{stage}_seconds" for stage in ("decide", "take", "encrypt", "answer")
)

_WRITERS: Final[dict[str, Callable[[Exchange], str]]] = {
    "request_id": _text("request_id"),
    "client": _text("client"),
    "method": _text("method"),
    "path": _text("path"),
    "status": lambda exchange: str(exchange.status),
    "rule": _text("rule"),
    "role": _text("role"),
    "subject": _text("subject"),
    "reason": _reason,
    "shadow": _shadow,
    "stage": _stage,
    "policy": _text("policy"),
    "seconds": lambda exchange: f"{exchange.total_seconds:.6f}",
    "upstream_seconds": lambda exchange: f"{exchange.upstream_seconds:.6f}",
    "own_seconds": lambda exchange: f"{exchange.overhead_seconds:.6f}",
    **{key: _stage_seconds(key) for key in STAGE_KEYS},
    "aborted": lambda exchange: "true" if exchange.aborted else "false",
}

KEYS: Final = ("time", *_WRITERS)
"""Everything that may be logged of a request, in the order in which it is."""

USUAL_KEYS: Final = tuple(
    key for key in KEYS if key != "subject" and key not in STAGE_KEYS
)
"""What is logged where the policy does not say."""


class Stamp:
    """Writes times: RFC 3339, UTC, to the millisecond."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def of(self, wall: float) -> str:
        """Return the text of epoch seconds."""
        second = int(wall)
        if second != self._second:
            self._second = second
            when = dt.datetime.fromtimestamp(second, dt.UTC)
            self._text = when.strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._text}.{int((wall - second) * 1000):03d}Z"


class JsonLine:
    """Writes a request as one JSON object.

    Args:
        keys: which of ``KEYS``; ``time`` is always there.
    """

    __slots__ = ("_stamp", "_writers")

    def __init__(self, keys: Sequence[str] = USUAL_KEYS) -> None:
        self._stamp = Stamp()
        self._writers = [
            (f',"{key}":', writer) for key, writer in _WRITERS.items() if key in keys
        ]

    def __call__(self, exchange: Exchange, wall: float) -> bytes:
        """Return the line of a request that ended at ``wall`` epoch seconds."""
        parts = [f'{{"time":"{self._stamp.of(wall)}"']
        for name, writer in self._writers:
            parts += name, writer(exchange)
        parts.append("}\n")
        return "".join(parts).encode("ascii")


class TextLine:
    """Writes a request for people at a terminal.

    Args:
        keys: as of ``JsonLine``.
        colours: whether to mark what went wrong.
    """

    __slots__ = ("_colours", "_keys", "_stamp")

    def __init__(
        self, keys: Sequence[str] = USUAL_KEYS, *, colours: bool = False
    ) -> None:
        self._keys = frozenset(keys)
        self._colours = colours
        self._stamp = Stamp()

    def __call__(self, exchange: Exchange, wall: float) -> bytes:
        """Return the line of a request that ended at ``wall`` epoch seconds."""
        asked = f"{exchange.method or '?'} {exchange.path or '?'}"
        who = [exchange.rule or "no rule", exchange.role, exchange.client]
        if "subject" in self._keys:
            who.append(exchange.subject)
        why = exchange.reason or exchange.shadow
        line = (
            f"{self._stamp.of(wall)[11:-1]} {exchange.status or '---'} "
            f"{exchange.total_seconds * 1e3:8.2f} ms  {asked}  "
            f"[{' '.join(filter(None, who))}]"
        )
        if why is not None:
            line += f"  {why.slug}{'' if exchange.reason else ' (shadow)'}"
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        return f"{self._coloured(line, exchange.status)}\n".encode()

    def _coloured(self, line: str, status: int) -> str:
        if not self._colours or 0 < status < _CLIENT_ERROR:
            return line
        return f"\x1b[{33 if 0 < status < _SERVER_ERROR else 31}m{line}\x1b[0m"


Line = JsonLine | TextLine
