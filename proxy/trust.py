"""What a process knows of issuers and their tokens beside the policy, kept current.

Keys that issuers publish are fetched here, and revocations shared; what is known is in
``Trusted``, which the data path reads.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from proxy import bindings
from proxy.core.authn import Trusted, Unsettled
from proxy.core.issuer import Issuer
from proxy.core.policy import Policy
from proxy.core.revocations import read_key, read_revocation
from proxy.edge.key_source import KeySource
from proxy.edge.metrics import Metrics
from proxy.edge.revocation_log import RevocationLog
from proxy.edge.tunnels import Tunnels
from proxy.orders import (
    REFRESH_KEYS,
    RESTORE,
    REVOCATIONS,
    REVOKE,
    Order,
    Question,
)

_FIRST_LOOK: Final = 5.0
"""Seconds that the start waits for the keys of issuers; it goes on without them."""


class Trust:
    """Keeps what is known of issuers current, and asks them what is not known.

    Args:
        trusted: what the data path reads.
        metrics: shows how old it is.
        redis_url: where revocations are shared; None keeps them in this process.
        tunnels: closed when their tokens are revoked.

    Raises:
        ValueError: an option in the URL has no such value.
    """

    def __init__(
        self,
        trusted: Trusted,
        metrics: Metrics,
        redis_url: str | None,
        tunnels: Tunnels,
    ) -> None:
        self._issuers: Mapping[str, Issuer] = {}
        self._revocations = trusted.revocations
        self._tunnels = tunnels
        self._log = RevocationLog(
            trusted.revocations, redis_url, bindings.wall, self._close_tunnels
        )
        self._keys = KeySource(trusted.keys)
        metrics.watch(
            "lumina_revocations", lambda: [((), float(len(trusted.revocations)))]
        )
        metrics.watch("lumina_revocations_age_seconds", lambda: [((), self._log.age())])
        metrics.watch("lumina_jwks_age_seconds", self._keys.ages)
        metrics.watch("lumina_jwks_fetch_failures", self._keys.failures)

    def inquire(self, question: Unsettled) -> Awaitable[bool]:
        """Ask an issuer what is not known here; see ``Inquiries``."""
        return self._keys.inquire(question)

    async def start(self, policy: Policy) -> None:
        """Look after the issuers of a policy; wait for them, but not for long."""
        self._issuers = policy.issuers
        self._keys.configure(policy.issuers.values())
        await asyncio.gather(
            self._keys.first_look(_FIRST_LOOK), self._log.start(_FIRST_LOOK)
        )

    def configure(self, policy: Policy) -> None:
        """Look after the issuers of another policy, and ask all of them now."""
        self._issuers = policy.issuers
        self._keys.configure(policy.issuers.values())
        self._keys.refresh_soon()

    @property
    def complete(self) -> bool:
        """Whether all that the start needs was there at some time."""
        return self._keys.complete

    @property
    def state(self) -> str:
        """Return "ok", or what is missing or old."""
        states = (self._keys.state, self._log.state)
        return "; ".join(one for one in states if one != "ok") or "ok"

    @property
    def orders(self) -> Mapping[str, Order]:
        """What operators may tell."""
        return {
            REFRESH_KEYS: self._refresh,
            REVOKE: self._revoke,
            RESTORE: self._restore,
        }

    @property
    def questions(self) -> Mapping[str, Question]:
        """What operators may ask."""
        return {REVOCATIONS: self._listed}

    async def _revoke(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        now = bindings.wall()
        revocation = read_revocation(told, self._issuers, now)
        shared = await self._log.revoke(revocation)
        return {"revoked": revocation.shown(), "shared": shared}

    async def _restore(self, told: Mapping[str, Any]) -> Mapping[str, object]:
        kind, issuer, value = read_key(told, self._issuers)
        found, shared = await self._log.restore((kind.value, issuer.issuer, value))
        return {"restored": found, "shared": shared}

    async def _listed(self) -> Mapping[str, object]:
        held = [one.shown() for one in self._revocations.all()]
        return {"revocations": held, "state": self._log.state}

    def _close_tunnels(self) -> None:
        names = {issuer.id: iss for iss, issuer in self._issuers.items()}
        covers = self._revocations.covers
        self._tunnels.close_where(lambda who: covers(who, names.get(who.issuer, "")))

    async def _refresh(self, _: Mapping[str, Any]) -> Mapping[str, object]:
        return {"issuers": await self._keys.refresh()}

    async def stop(self) -> None:
        """Look after nothing any more."""
        await self._keys.stop()
        await self._log.stop()
