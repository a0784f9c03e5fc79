"""Who is told of requests that are over: metrics, the access log, the audit log.

The pipeline's ``Recorder``. What each of them does with an exchange is theirs; who is
told of what is decided here.
"""

from collections.abc import Mapping

from proxy.core.exchange import Exchange
from proxy.core.observing import Audit
from proxy.core.policy import Policy
from proxy.core.reasons import Reason
from proxy.ports import AccessLog, Auditor, Recorder

_REFUSED = frozenset((401, 403))


class Observers:
    """Tells everybody who observes.

    Args:
        metrics: counts and measures everything.
        access: logs requests; None where nobody wants that.
        audit: is told what security asks for: who was refused for want of a good token
            or of rights, and what a rule has audited.
    """

    __slots__ = ("_access", "_audit", "_audited", "_metrics", "cipher", "failed")

    def __init__(
        self, metrics: Recorder, access: AccessLog | None, audit: Auditor
    ) -> None:
        self._metrics = metrics
        self._access = access
        self._audit = audit
        self._audited: Mapping[str, Audit] = {}
        self.cipher = metrics.cipher
        self.failed = metrics.failed

    def configure(self, policy: Policy) -> None:
        """Follow a policy that is in force from now on."""
        if self._access is not None:
            self._access.configure(policy)
        self._audited = {rule.id: rule.audit for rule in policy.rules if rule.audit}

    def record(self, exchange: Exchange) -> None:
        """Note one request that is over."""
        self._metrics.record(exchange)
        access = self._access
        if access is not None:
            access.note(exchange)
        reason = exchange.reason
        if reason is not None:
            if reason.status in _REFUSED:
                self._refused(exchange, reason)
        elif self._audited and self._audited.get(exchange.rule) is Audit.NOTED:
            self._audit.note("request.served", **described(exchange))

    def _refused(self, exchange: Exchange, reason: Reason) -> None:
        self._audit.note("request.refused", reason=reason.slug, **described(exchange))


def described(exchange: Exchange) -> dict[str, str]:
    """Return what the audit log has of a request."""
    known = {
        "request_id": exchange.request_id,
        "client": exchange.client,
        "method": exchange.method,
        "path": exchange.path,
        "rule": exchange.rule,
        "role": exchange.role,
        "subject": exchange.subject,
    }
    return {name: value for name, value in known.items() if value}
