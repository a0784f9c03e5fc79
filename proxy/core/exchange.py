"""What is known of one request once it is over: the value that observers consume.

The pipeline fills it in, line by line, and hands it to the recorder exactly once.
Metrics and logs read it, so that observing is a consumer of a value and not calls
sprinkled through the logic.
"""

from proxy.core.authn import Principal
from proxy.core.message import RawHeaders
from proxy.core.reasons import Reason


class Owed:
    """What is to be settled with limits when an exchange is over: a ``Bill``.

    Attributes:
        headers: of the backend's answer; None while there is none.
    """

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: RawHeaders | None = None


class Exchange:
    """One request, from its first byte to the last byte of its response.

    Attributes:
        method: upper case, from the parser's closed set; "" before it is known.
        started: monotonic seconds when the request's head was complete.
        client: the address that the request is from, as far as it can be trusted.
        request_id: ours, or the one a trusted peer sent.
        path: the canonical path, without its query; "" when none was matched.
        policy: the digest of the policy that decided; "" when none was asked.
        rule: the id of the rule, or "" when none was matched.
        role: the acting role, or "" without a token.
        subject: the verified subject, or "" without a token.
        tenant: whose keys protect what is exchanged; "" for those that all share.
        principal: who that is, with what else the token says; None without one.
        counter: what a 2xx response of this rule adds one to; None for nothing.
        status: of the response; 0 when the client left before there was one.
        reason: why it was refused; None when it was served.
        detail: one public sentence about the refusal; "" for none.
        shadow: why it would have been refused, were its rule enforced; None when it
            would have been served.
        limited: the field lines that tell what is left of its limits; b"" for none.
        pressed: the limits that it came near, or over: (name, how); None for none.
        bill: what is to be settled when it is over; None for nothing.
        admitted: monotonic seconds when it was decided that it may; 0.0 while not.
        taken: monotonic seconds when its limits had let it pass, and what has to be
            was in the audit log; 0.0 while not.
        upstream_started: monotonic seconds when the backend got the request; 0.0
            when it never did.
        upstream_seconds: from then to the last byte of the backend's answer.
        ended: monotonic seconds when the last byte of the response was written.
        aborted: whether the client left, or the backend broke off, before the end.
    """

    __slots__ = (
        "aborted",
        "admitted",
        "bill",
        "client",
        "counter",
        "detail",
        "ended",
        "limited",
        "method",
        "path",
        "policy",
        "pressed",
        "principal",
        "reason",
        "request_id",
        "role",
        "rule",
        "shadow",
        "started",
        "status",
        "subject",
        "taken",
        "tenant",
        "upstream_seconds",
        "upstream_started",
    )

    def __init__(
        self, method: str = "", started: float = 0.0, client: str = ""
    ) -> None:
        self.method = method
        self.started = started
        self.client = client
        self.request_id = ""
        self.path = ""
        self.policy = ""
        self.rule = ""
        self.role = ""
        self.subject = ""
        self.tenant = ""
        self.principal: Principal | None = None
        self.counter: str | None = None
        self.status = 0
        self.reason: Reason | None = None
        self.shadow: Reason | None = None
        self.detail = ""
        self.limited = b""
        self.pressed: list[tuple[str, str]] | None = None
        self.bill: Owed | None = None
        self.admitted = 0.0
        self.taken = 0.0
        self.upstream_started = 0.0
        self.upstream_seconds = 0.0
        self.ended = 0.0
        self.aborted = True  # until the answer is whole

    def note_shadow(self, reason: Reason, detail: str = "") -> None:
        """Note what a rule in shadow mode would have refused; the first counts."""
        if self.shadow is None:
            self.shadow = reason
            self.detail = detail

    def described(self) -> dict[str, str]:
        """Return what the audit log has of a request: who asked for what."""
        known = {
            "request_id": self.request_id,
            "client": self.client,
            "method": self.method,
            "path": self.path,
            "rule": self.rule,
            "role": self.role,
            "subject": self.subject,
        }
        return {name: value for name, value in known.items() if value}

    @property
    def total_seconds(self) -> float:
        """From the complete head to the last byte of the response."""
        return self.ended - self.started

    @property
    def overhead_seconds(self) -> float:
        """The proxy's own share: total minus upstream, never below zero."""
        return max(0.0, self.ended - self.started - self.upstream_seconds)

    @property
    def decide_seconds(self) -> float | None:
        """From the complete head until it was known that it may; None: it may not."""
        return self.admitted - self.started if self.admitted else None

    @property
    def take_seconds(self) -> float | None:
        """In limits, and in the audit log where it is required; None: not passed."""
        return self.taken - self.admitted if self.taken else None

    @property
    def encrypt_seconds(self) -> float | None:
        """From then until the backend was asked; None: it never was.

        Where a body is protected, that includes waiting for it.
        """
        return self.upstream_started - self.taken if self.upstream_started else None

    @property
    def answer_seconds(self) -> float | None:
        """From the end of the backend's answer to that of ours; None: there was none.

        Never below zero.
        """
        if not self.upstream_seconds:
            return None
        return max(0.0, self.ended - self.upstream_started - self.upstream_seconds)
