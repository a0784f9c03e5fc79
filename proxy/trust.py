"""What a process knows of issuers and their tokens beside the policy, kept current.

Keys that issuers publish are fetched here; what is known is in ``Trusted``, which the
data path reads.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Final

from proxy.core.authn import Trusted, Unsettled
from proxy.core.policy import Policy
from proxy.edge.key_source import KeySource
from proxy.edge.metrics import Metrics
from proxy.orders import REFRESH_KEYS, Order

_FIRST_LOOK: Final = 5.0
"""Seconds that the start waits for the keys of issuers; it goes on without them."""


class Trust:
    """Keeps what is known of issuers current, and asks them what is not known.

    Args:
        trusted: what the data path reads.
        metrics: shows how old it is.
    """

    def __init__(self, trusted: Trusted, metrics: Metrics) -> None:
        self._keys = KeySource(trusted.keys)
        metrics.watch("lumina_jwks_age_seconds", self._keys.ages)
        metrics.watch("lumina_jwks_fetch_failures", self._keys.failures)

    def inquire(self, question: Unsettled) -> Awaitable[bool]:
        """Ask an issuer what is not known here; see ``Inquiries``."""
        return self._keys.inquire(question)

    async def start(self, policy: Policy) -> None:
        """Look after the issuers of a policy; wait for them, but not for long."""
        self._keys.configure(policy.issuers.values())
        await self._keys.first_look(_FIRST_LOOK)

    def configure(self, policy: Policy) -> None:
        """Look after the issuers of another policy, and ask all of them now."""
        self._keys.configure(policy.issuers.values())
        self._keys.refresh_soon()

    @property
    def complete(self) -> bool:
        """Whether all that the start needs was there at some time."""
        return self._keys.complete

    @property
    def state(self) -> str:
        """Return "ok", or what is missing or old."""
        return self._keys.state

    @property
    def orders(self) -> Mapping[str, Order]:
        """What operators may tell."""
        return {REFRESH_KEYS: self._refresh}

    async def _refresh(self, _: Mapping[str, Any]) -> Mapping[str, object]:
        return {"issuers": await self._keys.refresh()}

    async def stop(self) -> None:
        """Look after nothing any more."""
        await self._keys.stop()
