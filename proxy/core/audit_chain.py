"""The audit log's lines: each is bound to all lines before it by a key.

    line = {"seq": n, "time": "…Z", "event": "…", …, "key": "<key id>", "mac": "<hex>"}
    mac  = HMAC-SHA-256(audit key, mac of the line before || line up to its mac)

The mac before the first line of a chain is 32 zero bytes. Whoever changes, removes or
reorders lines and lacks the key leaves a line whose mac does not fit. Lines missing at
the end are noticed by a *checkpoint*, the number and mac of a line, kept elsewhere.

A log that was moved away is continued by a line with ``previous``, the mac before it,
so that the parts are checked one by one or together. What a crash left of a line is
explained by the next one, whose event is ``log.torn``.

The construction is that of a forward-linked MAC chain (Schneier and Kelsey, "Secure
Audit Logs to Support Computer Forensics", 1999), without its evolving keys.
"""

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

GENESIS = bytes(32)
"""What stands for the mac before the first line."""

TORN = "log.torn"
CONTINUED = "log.continued"

_MAC = b', "mac": "'
_OWN = ("seq", "time", "event", "key", "mac", "previous")
_MAC_CHARACTERS = 64

Value = str | int | float | bool | None | list[str]


@dataclasses.dataclass(frozen=True, slots=True)
class AuditKey:
    """A key of the chain: 32 bytes, and never shown."""

    secret: bytes = dataclasses.field(repr=False)

    @property
    def id(self) -> str:
        """Eight hex digits that name the key in each line."""
        return hashlib.sha256(b"lumina audit key id v1" + self.secret).hexdigest()[:8]


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: the number of its last line, 0 for none, and its mac."""

    seq: int = 0
    mac: bytes = GENESIS

    def __str__(self) -> str:
        """Format as a checkpoint, ``seq:mac``."""
        return f"{self.seq}:{self.mac.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read a checkpoint.

        Raises:
            ValueError: it is not ``seq:mac``.
        """
        seq, _, mac = text.partition(":")
        if not (seq.isascii() and seq.isdigit() and len(mac) == _MAC_CHARACTERS):
            raise ValueError("a checkpoint is seq:mac, such as 17:9f3a…")
        return cls(int(seq), bytes.fromhex(mac))


def line_of(
    key: AuditKey, head: Head, time: str, event: str, fields: Mapping[str, Value]
) -> tuple[bytes, Head]:
    """Return the next line of a chain, with its newline, and where the chain ends then.

    Args:
        key: of the chain.
        head: where it ends now.
        time: RFC 3339, in UTC.
        event: what happened, such as ``token.revoked``.
        fields: what else is known of it.

    Raises:
        ValueError: a field has the name of one of the line's own.
    """
    if taken := fields.keys() & set(_OWN) - {"previous"}:
        raise ValueError(f"{', '.join(sorted(taken))} is a key of the line itself")
    seq = head.seq + 1
    shown = {"seq": seq, "time": time, "event": event, **fields, "key": key.id}
    body = json.dumps(shown, ensure_ascii=True)[:-1].encode("ascii")
    mac = _mac(key, head.mac, body)
    line = b'%b%b%b"}\n' % (body, _MAC, mac.hex().encode("ascii"))
    return line, Head(seq, mac)


def head_of(line: bytes) -> Head:
    """Return where a chain ends whose last line this is; nothing is verified.

    Raises:
        ValueError: it is no line of an audit log.
    """
    parsed = _parse(line)
    return Head(parsed.seq, parsed.mac)


@dataclasses.dataclass(frozen=True, slots=True)
class Flaw:
    """Something that is wrong with a log.

    Attributes:
        line: counted from 1; one past the last for what is missing at the end.
        says: what, for people.
        tampering: whether only a change from outside explains it.
    """

    line: int
    says: str
    tampering: bool = True


@dataclasses.dataclass(slots=True)
class Verified:
    """What was found in a log.

    Attributes:
        head: where its chain ends, to be kept as a checkpoint.
        lines: how many lines there are.
        events: how often each event is there.
        flaws: what is wrong, in the order of the lines.
    """

    head: Head = dataclasses.field(default_factory=Head)
    lines: int = 0
    events: dict[str, int] = dataclasses.field(default_factory=dict)
    flaws: list[Flaw] = dataclasses.field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether nothing tells of a change from outside."""
        return not any(flaw.tampering for flaw in self.flaws)


def verify(
    keys: Sequence[AuditKey], lines: Iterable[bytes], checkpoints: Sequence[Head] = ()
) -> Verified:
    """Check a log from its first line to its last.

    Args:
        keys: that the lines may be bound with; each names its own.
        lines: with their newlines.
        checkpoints: that were kept elsewhere, and must be met.
    """
    verifier = _Verifier({key.id: key for key in keys}, checkpoints)
    for line in lines:
        verifier.feed(line)
    return verifier.done()


@dataclasses.dataclass(frozen=True, slots=True)
class _Line:
    seq: int
    mac: bytes
    key: str
    event: str
    previous: bytes | None
    body: bytes


def _parse(line: bytes) -> _Line:
    """Read a line.

    Raises:
        ValueError: it is none.
    """
    if not line.endswith(b"\n"):
        raise ValueError("it does not end")
    body, _, shown = line.rpartition(_MAC)
    document: Any = json.loads(line)
    mac = bytes.fromhex(shown[:_MAC_CHARACTERS].decode("ascii"))
    # One spelling: what is not under the mac is nothing but the mac.
    if not isinstance(document, dict) or shown != b'%b"}\n' % mac.hex().encode():
        raise ValueError("it is no object that ends with a mac")
    try:
        seq, key, event = (document[name] for name in ("seq", "key", "event"))
        previous = document.get("previous")
        return _Line(
            _number(seq),
            mac,
            str(key),
            str(event),
            None if previous is None else bytes.fromhex(previous),
            body,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from None


def _number(seq: object) -> int:
    if type(seq) is not int or seq < 1:
        raise TypeError("seq")
    return seq


def _mac(key: AuditKey, before: bytes, body: bytes) -> bytes:
    return hmac.digest(key.secret, before + body, "sha256")


class _Verifier:
    """Goes over a log, line by line, and goes on after what is wrong.

    After a line that does not fit the next one is checked against what that line
    claims, so that each change is found where it was made and nowhere else.
    """

    def __init__(
        self, keys: Mapping[str, AuditKey], checkpoints: Sequence[Head]
    ) -> None:
        self._keys = keys
        self._open = {head.seq: head.mac for head in checkpoints}
        self._found = Verified()
        # The last line, if it is none; and whether it does not even end.
        self._unreadable: int | None = None
        self._torn = False

    def feed(self, raw: bytes) -> None:
        """Check the next line."""
        found = self._found
        found.lines += 1
        try:
            line = _parse(raw)
        except ValueError:
            self._settle_unreadable()
            self._unreadable = found.lines
            self._torn = not raw.endswith(b"\n")
            return
        if self._unreadable is not None:
            explained = line.event == TORN
            self._settle_unreadable(explained=explained)
        self._check(line)
        found.events[line.event] = found.events.get(line.event, 0) + 1
        found.head = Head(line.seq, line.mac)
        kept = self._open.pop(line.seq, None)
        if kept is not None and kept != line.mac:
            self._flaw(f"line {line.seq} is not the one of the checkpoint")

    def done(self) -> Verified:
        """Return what was found; a checkpoint that was not met is a flaw."""
        found = self._found
        if not self._torn:
            self._settle_unreadable()
        elif self._unreadable is not None:
            torn = "the last line is torn: a crash ended the writer, or it still writes"
            self._flaw(torn, at=self._unreadable, tampering=False)
        for seq in sorted(self._open):
            if seq > found.head.seq:
                missing = f"lines up to {seq}, of a checkpoint, are missing at the end"
                self._flaw(missing, at=found.lines + 1)
        return found

    def _check(self, line: _Line) -> None:
        head = self._found.head
        key = self._keys.get(line.key)
        if key is None:
            self._flaw(f"it is bound by the key {line.key}, which was not given")
            return
        first = head == Head()
        before = head.mac
        if first and line.previous is not None:
            before = line.previous  # a part of a log: what is before it is elsewhere
        fits = hmac.compare_digest(_mac(key, before, line.body), line.mac)
        follows = line.seq == head.seq + 1 or (first and line.previous is not None)
        if fits and follows:
            return
        self._flaw(_why(line.seq, head.seq))

    def _settle_unreadable(self, *, explained: bool = False) -> None:
        if self._unreadable is None:
            return
        at, self._unreadable = self._unreadable, None
        if explained:
            self._flaw(
                "it was torn by a crash, as the next line says", at=at, tampering=False
            )
        else:
            self._flaw("it is no line of an audit log", at=at)

    def _flaw(
        self, says: str, *, at: int | None = None, tampering: bool = True
    ) -> None:
        line = self._found.lines if at is None else at
        self._found.flaws.append(Flaw(line, says, tampering))


def _why(seq: int, last: int) -> str:
    """Say what most likely happened to a line that does not fit."""
    if seq > last + 1:
        return f"{_lines(last + 1, seq - 1)} missing before line {seq}"
    if seq <= last:
        return f"line {seq} is out of order: it comes after line {last}"
    return f"line {seq} was changed, or the one before it replaced"


def _lines(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"
