"""What a request takes from its limits, and settles when it is over.

Stages of ``Pipeline.handle``. Which limits there are and whose bucket is meant is
``core.limits``'s; here they are asked with what the request and the clocks say.
"""

from collections.abc import Callable, Sequence

from proxy.core.bill import Bill
from proxy.core.bucket import Grant
from proxy.core.denials import Denials
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.headers import RequestHeaders
from proxy.core.limit_fields import limit_lines, refusal_of, retry_after
from proxy.core.limits import Quotas, Take, quotas_of
from proxy.core.login import Tries
from proxy.core.message import Request
from proxy.core.owner import Asking
from proxy.core.policy import Rule
from proxy.core.pressure import NEAR, OVER, SHADOW, PressedRow, Pressure
from proxy.core.reasons import Reason
from proxy.ports import BucketStore, Clocks, Snapshot


class Taking:
    """Takes from limits.

    Args:
        store: where the buckets are.
        clocks: epoch seconds, for windows; monotonic seconds; ids for holds.
        deny_seconds: returns for how long a refusal may be repeated without asking
            the store; 0.0 for not at all.

    Attributes:
        pressure: who is near a limit or over it.
        denials: who is certain to be refused again.
    """

    def __init__(
        self, store: BucketStore, clocks: Clocks, deny_seconds: Callable[[], float]
    ) -> None:
        self._store = store
        self._wall = clocks.wall
        self._clock = clocks.monotonic
        self._new_id = clocks.request_id
        self.pressure = Pressure()
        self.denials = Denials()
        self._deny_seconds = deny_seconds
        self._held: dict[str, Take] = {}

    def takes(
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> list[Take]:
        """Return what a request takes from.

        Raises:
            Refused: it is certain to be refused, or does not say what it costs.
        """
        # In shadow mode, what an earlier stage would have refused gets no further.
        if not rule.limits or exchange.shadow is not None:
            return []
        quotas = quotas_of(rule.limits, exchange.role)
        if quotas.plain:
            subject, client = exchange.subject, exchange.client
            takes = [quota.take_of(subject, client) for quota in quotas.each]
        else:
            asking = self._asking(snapshot, rule, request, headers, exchange)
            takes = self._special(quotas, asking, request, exchange)
        if self.denials:
            self._check_denials(takes, exchange)
        return takes

    def _asking(
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> Asking:
        asking = Asking(
            subject=exchange.subject, client=exchange.client, role=exchange.role
        )
        asking.rule, asking.pattern = rule.id, rule.pattern
        asking.path, asking.tenant = exchange.path, exchange.tenant
        asking.headers = request.headers
        asking.secret = snapshot.limit_secret
        asking.now_us = int(self._wall() * 1_000_000)
        length = headers.noted.get(b"content-length")
        if length is not None:
            asking.length = int(length)
        elif b"transfer-encoding" in headers.noted:
            asking.length = None
        return asking

    def _special(
        self, quotas: Quotas, asking: Asking, request: Request, exchange: Exchange
    ) -> list[Take]:
        if not quotas.settles:
            return [quota.take_for(asking) for quota in quotas.each]
        asking.hold = self._new_id()
        takes = [quota.take_for(asking) for quota in quotas.each]
        # Before anything is taken: whoever leaves meanwhile holds nothing.
        exchange.bill = Bill(takes, request.body)
        return takes

    def _check_denials(self, takes: Sequence[Take], exchange: Exchange) -> None:
        now = self._clock()
        certain, grants = self.denials.refusing(takes, now)
        if certain:
            for take, grant in zip(certain, grants, strict=True):
                self._press(take, grant, OVER, exchange)
            exchange.bill = None
            raise refusal_of(certain, grants)

    def grant(
        self, takes: Sequence[Take], grants: Sequence[Grant], exchange: Exchange
    ) -> None:
        """Let a request pass, with the field lines that tell what is left.

        Raises:
            Refused: RATE_LIMITED or LIMITS_UNAVAILABLE.
        """
        refused = False
        for take, grant in zip(takes, grants, strict=True):
            quota = take.quota
            if not grant.allowed:
                self._refused(take, grant, Reason.RATE_LIMITED, exchange)
                refused = refused or not quota.shadow
            elif grant.remaining < quota.near:
                self._press(take, grant, NEAR, exchange)
        if refused:
            exchange.bill = None  # nothing was taken
            seconds = self._deny_seconds()
            if seconds:
                self.denials.note(takes, grants, self._clock(), seconds)
            raise refusal_of(takes, grants)
        exchange.limited = limit_lines(takes, grants)
        bill = exchange.bill
        if isinstance(bill, Bill):
            for take in bill.holds:
                self._held[f"{take.key} {take.hold}"] = take

    def try_login(
        self,
        tries: Tries,
        takes: Sequence[Take],
        grants: Sequence[Grant],
        exchange: Exchange,
    ) -> None:
        """Let a try to log in pass.

        Raises:
            Refused: LOGINS_DELAYED.
        """
        waits: list[Grant] = []
        for take, grant in zip(takes, grants, strict=True):
            if not grant.allowed:
                self._refused(take, grant, Reason.LOGINS_DELAYED, exchange)
                if not take.quota.shadow:
                    waits.append(grant)
        if waits:
            wait = (("Retry-After", retry_after(waits)),)
            raise Refused(Reason.LOGINS_DELAYED, "", wait, violated=(tries.login.id,))
        tries.taken = True

    def _refused(
        self, take: Take, grant: Grant, reason: Reason, exchange: Exchange
    ) -> None:
        if grant.lost:
            reason = Reason.LIMITS_UNAVAILABLE
        shadow = take.quota.shadow
        if shadow:
            exchange.note_shadow(reason, f"Used up: {take.id}.")
        if not grant.lost:
            self._press(take, grant, SHADOW if shadow else OVER, exchange)

    def _press(
        self, take: Take, grant: Grant, outcome: str, exchange: Exchange
    ) -> None:
        if exchange.pressed is None:
            exchange.pressed = []
        exchange.pressed.append((take.id, outcome))
        self.pressure.note(take, grant, outcome, exchange.role, self._clock())

    def pressed(self, most: int) -> list[PressedRow]:
        """Return who was near a limit or over it lately, the most pressed first."""
        return self.pressure.rows(self._clock(), most)

    def forget(self, key: str) -> None:
        """Forget what is known of a bucket, for somebody changed it."""
        self.pressure.forget(key)
        self.denials.forget(key)

    def settle(self, exchange: Exchange) -> None:
        """Settle what a request owes, now that it is over."""
        bill = exchange.bill
        if not isinstance(bill, Bill):
            return
        for take in bill.holds:
            self._held.pop(f"{take.key} {take.hold}", None)
        sent = exchange.upstream_started > 0
        settlements = bill.settlements(exchange.status, sent=sent)
        if settlements:
            self._store.settle(settlements)

    def renew(self) -> None:
        """Renew what is held, for a hold lapses when its process dies."""
        if self._held:
            self._store.settle([take.costing(1) for take in self._held.values()])
