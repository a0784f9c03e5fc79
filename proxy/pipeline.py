"""THE DATA PATH: one request through every stage, in order.

Rules of this file:

1. The order of stages is written here and nowhere else: ``Pipeline.handle``.
2. A stage returns its result or raises ``Refused``. It never writes to a shared bag;
   ``Exchange`` only collects what observers read afterwards.
3. A request holds one ``Snapshot`` from match to response, whatever is reloaded.
4. Every request ends in ``Recorder.record``, exactly once.
"""

from collections.abc import Sequence

from proxy.admission import Admission
from proxy.answers import Answers
from proxy.bodies import CHUNKED, Bodies
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.forwarding import (
    Network,
    client_of,
    forwarded_lines,
    request_id_of,
)
from proxy.core.hardening import hardened, preflight_of
from proxy.core.headers import (
    RequestHeaders,
    examine,
    request_head,
    request_lines,
    value_of,
)
from proxy.core.message import Request
from proxy.core.observing import Audit
from proxy.core.policy import Policy, Rule
from proxy.core.reasons import Reason
from proxy.core.routing import NEVER_MEANT
from proxy.core.target import split_target
from proxy.logins import Logins
from proxy.ports import (
    Auditor,
    BucketStore,
    Clocks,
    Downstream,
    Inquiries,
    Recorder,
    Snapshot,
    Upstream,
)
from proxy.taking import Taking


class Pipeline:
    """Answers requests by policy.

    Attributes:
        snapshot: what requests that start now will hold.
        taking: what takes from limits, and knows who is near one.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        store: BucketStore,
        upstream: Upstream,
        recorder: Recorder,
        auditor: Auditor,
        inquiries: Inquiries,
        clocks: Clocks,
        trusted: Sequence[Network] = (),
        body_bytes: int,
        buffered_bytes: int,
        taking: Taking | None = None,
    ) -> None:
        self.snapshot = snapshot
        self._store = store
        self._upstream = upstream
        self._recorder = recorder
        self._auditor = auditor
        self._clock = clocks.monotonic
        self._new_id = clocks.request_id
        self._trusted = trusted
        self._admission = Admission(clocks.wall, inquiries)
        self.taking = taking or Taking(store, clocks, lambda: 0.0)
        self._answers = Answers(clocks)
        self._bodies = Bodies(
            recorder,
            clocks.monotonic,
            body_bytes=body_bytes,
            buffered_bytes=buffered_bytes,
        )
        self._logins = Logins(store, self._bodies, self.taking)

    async def handle(self, request: Request, downstream: Downstream) -> None:
        """Answer one request. Raises nothing but CancelledError."""
        exchange = Exchange(request.method, self._clock(), request.peer)
        snapshot, bodies, admission = self.snapshot, self._bodies, self._admission
        try:
            # sanitise, match, authenticate, authorise
            headers = examine(request.headers, request.version)
            rule, target = self._matched(snapshot, request, headers, exchange)
            who = admission.admit(snapshot, rule, request, headers, exchange)
            if who is None:
                who = await admission.ask(snapshot, rule, request, headers, exchange)
            exchange.admitted = self._clock()
            # take tokens, write down what has to be
            if takes := self.taking.takes(snapshot, rule, request, headers, exchange):
                self.taking.grant(takes, await self._store.take(takes), exchange)
            if rule.login is not None:
                await self._logins.check(snapshot, rule, request, headers, exchange)
            if rule.observed.audit is Audit.REQUIRED:
                await self._auditor.required("request.admitted", **exchange.described())
            exchange.taken = self._clock()
            # encrypt
            target = bodies.encrypted_target(snapshot, rule, target, exchange)
            body, framing = bodies.outgoing(rule, request, headers, exchange)
            if framing and rule.protects_body:
                body = await bodies.encrypted(snapshot, rule, body, headers, exchange)
                framing = b"Content-Length: %d\r\n" % len(body)
            # exchange
            head = self._head(request, target, headers, exchange, rule, (who, framing))
            response = await self._upstream.exchange(
                rule, request.method, head, body, chunked=framing is CHUNKED
            )
            # decrypt or mask, harden, answer
            if rule.protect_response is not None:
                response = await bodies.decrypted(snapshot, rule, response, exchange)
            own = hardened(rule.hardening, response, request)
            if not self._answers.sent(response, own, downstream, exchange):
                await self._answers.stream(response, own, downstream, exchange)
        except Exception as error:  # noqa: BLE001 - refused, or a bug: logged, 500
            self._stopped(error, snapshot, request, downstream, exchange)
        finally:
            self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        """Settle and record a request, however it ended."""
        if exchange.bill is not None:
            self.taking.settle(exchange)
        exchange.ended = self._clock()
        self._recorder.record(exchange)

    def _matched(
        self,
        snapshot: Snapshot,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> tuple[Rule, str]:
        """Return the rule, and the target of the request that the backend gets."""
        exchange.request_id = (
            request_id_of(headers.noted, trusted=request.peer_trusted) or self._new_id()
        )
        exchange.client = client_of(request, headers, self._trusted)
        exchange.policy = snapshot.policy.digest
        path, query = split_target(request.target, headers.host)
        exchange.path = path
        if snapshot.policy.has_cors:
            _answer_preflight(snapshot.policy, request, path, exchange)
        try:
            match = snapshot.policy.router.match(request.method, path)
        except Refused as refused:
            rule = _unmatched(snapshot.policy, refused, exchange)
            return rule, f"{path}?{query}" if query else path
        rule, path = match.rule, match.path
        exchange.path = path
        exchange.rule = rule.id
        exchange.counter = rule.count
        return rule, f"{path}?{query}" if query else path

    def _head(  # noqa: PLR0917 - a part of the head each
        self,
        request: Request,
        target: str,
        headers: RequestHeaders,
        exchange: Exchange,
        rule: Rule,
        added: tuple[bytes, ...],
    ) -> bytes:
        """Return the head of the request that the backend gets now."""
        exchange.upstream_started = self._clock()
        lines = request_lines(headers, whole=rule.protect_response is not None)
        lines.append(forwarded_lines(headers, request, exchange.request_id))
        lines += added
        return request_head(request.method, target, headers.host, lines)

    def _stopped(
        self,
        error: Exception,
        snapshot: Snapshot,
        request: Request,
        downstream: Downstream,
        exchange: Exchange,
    ) -> None:
        """Refuse, unless the proxy itself was asked: what pages may, or how it is."""
        if isinstance(error, _Preflight):
            self._answers.preflight(error.lines, downstream, exchange)
            return
        if not isinstance(error, Refused):
            self._recorder.failed(error, exchange)
            error = Refused(Reason.INTERNAL)
        own = snapshot.policy.own_lines(exchange.rule, request)
        if error.reason is Reason.NO_RULE and _is_health(snapshot, request):
            self._answers.serving(downstream, exchange, own)
        else:
            self._answers.refuse(error, downstream, exchange, own)

    def reject(self, refused: Refused, downstream: Downstream) -> None:
        """Answer what could not be read as a request."""
        now = self._clock()
        exchange = Exchange(downstream.method, now)
        own = self.snapshot.policy.own_lines("", None)
        self._answers.refuse(refused, downstream, exchange, own)
        exchange.ended = self._clock()
        self._recorder.record(exchange)


class _Preflight(Exception):
    """A browser asked what a page may do, and the policy says it; goes no further.

    Args:
        lines: the field lines that say it.
    """

    def __init__(self, lines: list[bytes]) -> None:
        super().__init__()
        self.lines = lines


def _answer_preflight(
    policy: Policy, request: Request, path: str, exchange: Exchange
) -> None:
    """Answer a preflight of a rule that says whose pages may read its answers.

    Raises:
        Refused: ORIGIN_NOT_ALLOWED.
        _Preflight: the origin may.
    """
    asked = preflight_of(request)
    if asked is None:
        return
    origin, method = asked
    try:
        rule = policy.router.match(method.decode("latin-1"), path).rule
    except Refused:
        return  # no rule for it: OPTIONS is a method like any other
    if rule.hardening is None or rule.hardening.cors is None:
        return
    exchange.rule = rule.id
    if not rule.hardening.cors.allows(origin):
        raise Refused(Reason.ORIGIN_NOT_ALLOWED)
    raise _Preflight(rule.hardening.cors.preflight_lines(origin, method))


def _unmatched(policy: Policy, refused: Refused, exchange: Exchange) -> Rule:
    """Return what serves a request that no rule matches, or refuse it."""
    rule = policy.unmatched
    if rule is None or exchange.method in NEVER_MEANT:
        raise refused
    if policy.is_health(exchange.method, exchange.path):
        raise refused
    exchange.note_shadow(refused.reason, refused.detail)
    return rule


def _is_health(snapshot: Snapshot, request: Request) -> bool:
    """Say whether a request that no rule matches is for the proxy itself."""
    path, _ = split_target(request.target, value_of(request.headers, b"host") or b"")
    return snapshot.policy.is_health(request.method, path)
