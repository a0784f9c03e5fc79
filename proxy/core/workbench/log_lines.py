"""A line of the access log, as commands read it: the one place that knows its keys.

A line is a JSON object, of which what is before the first brace is not a part (loggers
put a time there). A key that a line does not have is empty; keys that are not known
here are somebody else's.
"""

import dataclasses
import datetime as dt
import json
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One request, as it was logged.

    Attributes:
        ts: epoch seconds.
        method: upper case; "" when none could be read.
        path: without its query; "" when none could be read.
        status: of the answer.
        request_id: what the client was given.
        rule: the id of the rule; "" for none.
        role: the acting role; "" without a token.
        subject: the token's subject; "" without one, or where logs have none.
        client: the address of the client.
        reason: why it was refused; "" when it was served.
        shadow: why it would have been refused; "" for nothing.
        stage: which stage refused; "" for none.
        detail: a public sentence about the refusal.
        policy: the digest of the policy that decided.
    """

    ts: float
    method: str
    path: str
    status: int = 0
    request_id: str = ""
    rule: str = ""
    role: str = ""
    subject: str = ""
    client: str = ""
    reason: str = ""
    shadow: str = ""
    stage: str = ""
    detail: str = ""
    policy: str = ""


_TEXTS = tuple(
    one.name for one in dataclasses.fields(LogLine) if one.name not in ("ts", "status")
)


def read_line(text: str) -> LogLine:
    """Read one line.

    Raises:
        ValueError: it is not one; with a sentence for people.
    """
    _, brace, rest = text.partition("{")
    try:
        found = json.loads(brace + rest)
    except (ValueError, RecursionError):
        raise ValueError("it is not a JSON object") from None
    values: dict[str, Any] = {name: _text(found.get(name)) for name in _TEXTS}
    values["path"] = values["path"].partition("?")[0]
    status = found.get("status")
    return LogLine(
        ts=_instant(found.get("time", found.get("ts"))),
        status=status if isinstance(status, int) else 0,
        **values,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _instant(value: object) -> float:
    """Return epoch seconds of a number, or of a time in ISO 8601."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return dt.datetime.fromisoformat(_text(value)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("its time is none") from None
