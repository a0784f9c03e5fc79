"""What operators ask and tell about limits: who is near one, a reset, a loan.

What is changed is written to the audit log first, with who says to have wanted it and
why; what cannot be written down is not done.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.core.errors import Refused
from proxy.core.limits import Take
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.limiter import Limiter
from proxy.edge.redis_store import SharedStore
from proxy.orders import GRANT_LIMITS, PRESSED, RESET_LIMITS, Order, Question
from proxy.ports import Auditor
from proxy.taking import Taking

MOST_ROWS: Final = 100
LONGEST: Final = 366 * 86_400
"""Seconds that something can be lent for, at the most."""

MOST_TOKENS: Final = 10**12
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,500}").fullmatch


class LimitOrders:
    """Answers and does as it is told.

    Args:
        limiter: finds the buckets.
        store: where they are.
        taking: knows who is near a limit, and who was refused.
        auditor: told before anything is changed.
    """

    def __init__(
        self,
        limiter: Limiter,
        store: MemoryStore | SharedStore,
        taking: Taking,
        auditor: Auditor,
    ) -> None:
        self._limiter = limiter
        self._store = store
        self._taking = taking
        self._auditor = auditor

    @property
    def orders(self) -> Mapping[str, Order]:
        """What operators may tell."""
        return {RESET_LIMITS: self._reset, GRANT_LIMITS: self._grant}

    async def status(
        self, who: str, rule: str, role: str | None, given: Mapping[str, str]
    ) -> Mapping[str, object]:
        """Return what somebody has left of a rule's limits; see ``AdminPorts``."""
        status = await self._limiter.get_limit_status(who, rule, role=role, given=given)
        return {
            "rule": status.rule,
            "remaining": status.remaining,
            "limits": [dataclasses.asdict(limit) for limit in status.limits],
        }

    @property
    def questions(self) -> Mapping[str, Question]:
        """What operators may ask."""
        return {PRESSED: self._pressed}

    async def _pressed(self) -> Mapping[str, object]:
        """Return who was near a limit or over it lately, the most pressed first."""
        rows = self._taking.pressed(MOST_ROWS)
        return {"pressed": [dataclasses.asdict(row) for row in rows]}

    async def _reset(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        takes = self._found(told)
        if not told.get("elsewhere"):
            await self._permitted("limits.reset", told)
            self._limiter.reset(takes)
        return self._done(takes)

    async def _grant(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        takes = self._found(told)
        tokens, seconds = told.get("tokens"), told.get("seconds")
        if type(tokens) is not int or not 1 <= tokens <= MOST_TOKENS:
            raise ValueError(f"tokens is a whole number from 1 to {MOST_TOKENS}")
        if not isinstance(seconds, int | float) or not 1 <= seconds <= LONGEST:
            raise ValueError(f"seconds is a number from 1 to {LONGEST}")
        if not told.get("elsewhere"):
            await self._permitted("limits.grant", told)
            try:
                self._limiter.lend(takes, tokens, seconds)
            except KeyError as error:
                raise ValueError(error.args[0]) from None
        return self._done(takes)

    def _found(self, told: Mapping[str, Any]) -> list[Take]:
        given = told.get("given") or {}
        if not isinstance(given, dict) or not all(
            isinstance(value, str) for value in given.values()
        ):
            raise ValueError("given is an object of strings")
        try:
            return self._limiter.found(
                _text(told, "who"),
                _text(told, "rule"),
                role=_optional(told, "role"),
                limit=_optional(told, "limit"),
                given=given,
            )
        except KeyError as error:
            raise ValueError(error.args[0]) from None

    async def _permitted(self, event: str, told: Mapping[str, Any]) -> None:
        """Write down what is going to be done.

        Raises:
            ValueError: it cannot be written down, or cannot be done.
        """
        if self._store.state != "ok":
            raise ValueError("Redis does not answer: nothing can be changed now")
        fields = {
            name: told[name]
            for name in ("who", "rule", "role", "limit", "tokens", "seconds")
            if told.get(name) is not None
        }
        fields["by"] = _optional(told, "by") or ""
        fields["reason"] = _text(told, "reason")
        try:
            await self._auditor.required(event, **fields)
        except Refused:
            raise ValueError("The audit log cannot be written") from None

    def _done(self, takes: list[Take]) -> Mapping[str, object]:
        """Forget what was known of these buckets; say which they were."""
        for take in takes:
            self._taking.forget(take.key)
        return {
            "shared": isinstance(self._store, SharedStore),
            "limits": list(dict.fromkeys(take.id for take in takes)),
        }


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not _TEXT(value):
        raise ValueError(f"{name} is a text without line breaks, of 500 characters")
    return value


def _optional(told: Mapping[str, Any], name: str) -> str | None:
    return None if told.get(name) is None else _text(told, name)
