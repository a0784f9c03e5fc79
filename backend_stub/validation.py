"""What a request must look like, refused in Django REST framework's words.

Knows nothing of what the values are for; a rule turns one JSON value into the
value to store or raises ``RuleError`` with the sentence the client reads.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Rule = Callable[[Any], Any]

MAX_PAGE = 1000
MAX_DIMENSIONS = 4096
_EMAIL = re.compile(
    r"[-!#$%&'*+/=?^_`{}|~0-9A-Z]+(\.[-!#$%&'*+/=?^_`{}|~0-9A-Z]+)*"
    r"@([A-Z0-9]([A-Z0-9-]{0,61}[A-Z0-9])?\.)+[A-Z]{2,63}",
    re.IGNORECASE | re.ASCII,
)


class InvalidError(Exception):
    """A request the service refuses with 400; ``answer`` is the JSON body."""

    def __init__(self, answer: Mapping[str, Any]):
        super().__init__("invalid request")
        self.answer = answer


class RuleError(Exception):
    """A value breaks a rule; the message is what the client reads."""


@dataclass(frozen=True)
class Field:
    """One member of a JSON object; ``default`` is used when it may be absent."""

    rule: Rule
    required: bool = True
    default: Any = None


Schema = Mapping[str, Field]


def text(limit: int | None = None, *, blank: bool = False, trim: bool = True) -> Rule:
    """Accept a string of at most ``limit`` characters; None means any length."""

    def rule(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise RuleError("Not a valid string.")
        string = str(value).strip() if trim else str(value)
        if not string and not blank:
            raise RuleError("This field may not be blank.")
        if "\0" in string:
            raise RuleError("Null characters are not allowed.")
        if re.search("[\ud800-\udfff]", string):
            raise RuleError("Surrogate characters are not allowed.")
        if limit is not None and len(string) > limit:
            raise RuleError(
                f"Ensure this field has no more than {limit} characters.",
            )
        return string

    return rule


def email(limit: int = 254) -> Rule:
    """Accept an e-mail address, its case kept."""
    plain = text(limit)

    def rule(value: Any) -> str:
        address: str = plain(value)
        if not _EMAIL.fullmatch(address):
            raise RuleError("Enter a valid email address.")
        return address

    return rule


def choice(*allowed: str) -> Rule:
    """Accept one of a few words."""

    def rule(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise RuleError(f'"{value}" is not a valid choice.')
        return value

    return rule


def _between(value: float, low: float, high: float) -> None:
    if value < low:
        raise RuleError(f"Ensure this value is greater than or equal to {low}.")
    if value > high:
        raise RuleError(f"Ensure this value is less than or equal to {high}.")


def integer(low: int, high: int) -> Rule:
    """Accept a whole number between two bounds, both included."""

    def rule(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise RuleError("A valid integer is required.")
        _between(value, low, high)
        return value

    return rule


def number(low: float, high: float) -> Rule:
    """Accept a number between two bounds, both included."""

    def rule(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RuleError("A valid number is required.")
        _between(value, low, high)
        return value

    return rule


def strings(limit: int) -> Rule:
    """Accept a list of strings, each of at most ``limit`` characters."""
    plain = text(limit)

    def rule(value: Any) -> list[str]:
        if not isinstance(value, list):
            raise RuleError("Expected a list of items.")
        return [plain(item) for item in value]

    return rule


def vector(value: Any) -> list[float]:
    """Accept an embedding: a list of finite numbers, possibly empty."""
    if not isinstance(value, list):
        raise RuleError("Expected a list of items.")
    if len(value) > MAX_DIMENSIONS:
        raise RuleError(
            f"Ensure this field has no more than {MAX_DIMENSIONS} elements.",
        )
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise RuleError("A valid number is required.")
    try:
        numbers = [float(item) for item in value]
    except OverflowError:
        numbers = [math.inf]
    if not all(map(math.isfinite, numbers)):
        raise RuleError("A valid number is required.")
    return numbers


def _member(field: Field, value: Any) -> Any:
    if value is None:
        raise RuleError("This field may not be null.")
    return field.rule(value)


def clean(data: Any, schema: Schema, *, partial: bool = False) -> dict[str, Any]:
    """Return the members a schema names, checked; others are ignored.

    Args:
        data: what the client sent.
        schema: the members looked for.
        partial: an absent member is left out instead of required or defaulted.

    Raises:
        InvalidError: with every member's complaint at once.
    """
    if not isinstance(data, dict):
        kind = type(data).__name__
        message = f"Invalid data. Expected a dictionary, but got {kind}."
        raise InvalidError({"non_field_errors": [message]})
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, field in schema.items():
        if name not in data:
            if field.required and not partial:
                errors[name] = ["This field is required."]
            elif not partial:
                values[name] = field.default
        else:
            try:
                values[name] = _member(field, data[name])
            except RuleError as error:
                errors[name] = [str(error)]
    if errors:
        raise InvalidError(errors)
    return values


def _no_constant(name: str) -> None:
    raise ValueError(name)


async def body(
    request: web.Request,
    schema: Schema,
    *,
    partial: bool = False,
) -> dict[str, Any]:
    """Read a JSON object and check it.

    Raises:
        InvalidError: the body is not JSON (RFC 8259) or breaks the schema.
    """
    raw = await request.read()
    try:
        data = json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidError({"detail": "JSON parse error"}) from None
    return clean(data, schema, partial=partial)


def number_in(
    request: web.Request,
    name: str,
    default: float | None,
    high: float,
) -> float | None:
    """Read a number from 0 to ``high`` from the query; absent means ``default``.

    Raises:
        InvalidError: it is there and is not such a number.
    """
    raw = request.query.get(name)
    if raw is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", raw):
        raise InvalidError({name: ["A valid number is required."]})
    try:
        _between(float(raw), 0, high)
    except RuleError as error:
        raise InvalidError({name: [str(error)]}) from None
    return float(raw)


def page(request: web.Request) -> tuple[int, int]:
    """Return ``limit`` and ``offset``; what cannot be read counts as absent."""

    def read(name: str, default: int, allowed: Collection[int]) -> int:
        raw = request.query.get(name, "")
        if not re.fullmatch("[0-9]{1,15}", raw):
            return default
        return int(raw) if int(raw) in allowed else default

    return (
        read("limit", 100, range(1, MAX_PAGE + 1)),
        read("offset", 0, range(10**15)),
    )
