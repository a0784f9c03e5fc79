"""Who is told of requests that are over: metrics, refusals, access log, audit log.

The pipeline's ``Recorder``. What each of them does with an exchange is theirs; who is
told of what is decided here.
"""

from collections.abc import Mapping
from typing import Final

from proxy.core.exchange import Exchange
from proxy.core.observing import Audit
from proxy.core.policy import Policy
from proxy.edge.access_log import AccessLog
from proxy.edge.metrics import Metrics
from proxy.edge.refusals import Refusals
from proxy.ports import Auditor

_TURNED_AWAY: Final = frozenset((401, 403))
"""No good token, or no right to what was asked for."""


class Observers:
    """Tells everybody who observes.

    Args:
        metrics: counts and measures everything.
        refusals: remembers the last of them.
        access: logs requests; None where nobody wants that.
        audit: is told who was turned away, and what a rule has audited.
    """

    def __init__(
        self,
        metrics: Metrics,
        refusals: Refusals,
        access: AccessLog | None,
        audit: Auditor,
    ) -> None:
        self._metrics = metrics
        self._refusals = refusals
        self._access = access
        self._audit = audit
        self._audited: Mapping[str, Audit] = {}

    def configure(self, policy: Policy) -> None:
        """Follow a policy that is in force from now on."""
        if self._access is not None:
            self._access.configure(policy)
        self._audited = {
            rule.id: rule.observed.audit
            for rule in policy.rules
            if rule.observed.audit is not None
        }

    def record(self, exchange: Exchange) -> None:
        """Note one request that is over."""
        self._metrics.record(exchange)
        if self._access is not None:
            self._access.note(exchange)
        reason = exchange.reason
        if reason is not None or exchange.shadow is not None:
            self._refusals.note(exchange)
        if reason is not None:
            if reason.status in _TURNED_AWAY:
                self._audit.note(
                    "request.refused", reason=reason.slug, **exchange.described()
                )
        elif self._audited and self._audited.get(exchange.rule) is Audit.NOTED:
            self._audit.note("request.served", **exchange.described())

    def cipher(self, field: str, operation: str, outcome: str, key: str) -> None:
        """Note one protected leaf."""
        self._metrics.cipher(field, operation, outcome, key)

    def failed(self, error: BaseException, exchange: Exchange) -> None:
        """Note a bug of ours."""
        self._metrics.failed(error, exchange)
