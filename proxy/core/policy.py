"""What security teams wrote, compiled: frozen values, built once at load.

Nothing here reads YAML (``policy_parser`` does) and nothing here decides
(``routing``, ``authn``, ``authz``, ``fields`` do). A request holds exactly one
``Policy`` from its match to its response.

Seconds are floats, bytes are ints. ``None`` means "not set" and never "unlimited",
but for ``Limit.rates`` where it says so.
"""

import dataclasses
import enum
from collections.abc import Iterable, Mapping

from proxy.core.authn import Issuer
from proxy.core.backends import Backend, Timeouts
from proxy.core.belonging import BoundField
from proxy.core.field import Field, Source
from proxy.core.fields import Selection
from proxy.core.guard import Guard
from proxy.core.hardening import Hardening
from proxy.core.limit import Limit, Login
from proxy.core.listeners import DEFAULT_LISTENER, Listener
from proxy.core.message import Request
from proxy.core.observing import ALL, USUAL, Logging, Observed
from proxy.core.parameters import Parameters
from proxy.core.responses import Responses
from proxy.core.routing import Ambiguity, Pattern, Router

ANYONE = "anyone"
"""What ``allow`` says for a rule that needs no token; never the name of a role."""


class View(enum.Enum):
    """What a role gets to see of a protected field; the words of the policy.

    ``masks`` says what each mask keeps; MASK chooses by the value. A PSEUDONYM is the
    same for the same value. NULL stands for any value; DROP leaves the member out.
    """

    PLAIN = "plain"
    MASK = "mask"
    MASK_EMAIL = "mask(email)"
    MASK_LAST4 = "mask(last4)"
    MASK_YEAR = "mask(year)"
    MASK_INITIALS = "mask(initials)"
    MASK_FIXED = "mask(fixed)"
    PSEUDONYM = "pseudonym"
    NULL = "null"
    DROP = "drop"

    @property
    def shows_null(self) -> bool:
        """Whether a role with this view may see null where there is a value."""
        return self not in {View.PLAIN, View.PSEUDONYM, View.MASK_FIXED, View.DROP}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What a rule lets connections become, beside HTTP.

    Attributes:
        protocols: names of protocols in lower case; never empty.
        idle: seconds without a byte either way after which a tunnel ends.
        close_on_expiry: whether it ends with the token that it was opened with.
    """

    protocols: frozenset[bytes]
    idle: float
    close_on_expiry: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What may happen to the requests that match it.

    Attributes:
        id: unique in the policy; a metric label, so from a closed set.
        listener: the id of the listener that its requests come to.
        methods: upper-case methods, or empty for every method.
        pattern: the path.
        backend: where the request goes.
        timeouts: of its exchanges; None for the backend's.
        responses: what is done to the header fields of answers; None for nothing.
        hardening: the same, compiled.
        allow: the roles that may use the rule; None means anyone, without a token.
        limits: taken from together, all or none.
        protect_request: protected leaves of the request body; None for no protection.
        protect_response: protected leaves of the response body; None likewise.
        protect_query: protected parameters of the query; None for no protection.
        protect_form: protected parameters of an urlencoded request body; None
            likewise.
        count: the counter that a 2xx response adds one to; None for no counter.
        tolerate: ambiguities of the path that this rule lets pass.
        max_body_bytes: the largest request body; None means the process's limit.
        binds: the protected fields whose values are bound to something, and to what.
        subjects: those that it writes whose values are somebody's, and whose.
        vaulted: whether something of it is in the keystore.
        upgrade: what connections may become; None means that they stay HTTP.
        guard: what is asked for beside a role; None for nothing.
        login: how failed log-ins are counted; None where nobody logs in.
        shadow: whether who may, and how often, is decided and noted but not enforced.
        observed: what logs have of its requests.
    """

    id: str
    methods: frozenset[str]
    pattern: Pattern
    backend: Backend
    allow: frozenset[str] | None
    limits: tuple[Limit, ...] = ()
    protect_request: Selection | None = None
    protect_response: Selection | None = None
    protect_query: Parameters | None = None
    protect_form: Parameters | None = None
    count: str | None = None
    tolerate: frozenset[Ambiguity] = frozenset()
    max_body_bytes: int | None = None
    binds: tuple[BoundField, ...] = ()
    subjects: tuple[BoundField, ...] = ()
    vaulted: bool = False
    timeouts: Timeouts | None = None
    responses: Responses | None = None
    hardening: Hardening | None = None
    upgrade: Upgrade | None = None
    guard: Guard | None = None
    login: Login | None = None
    shadow: bool = False
    listener: str = DEFAULT_LISTENER
    observed: Observed = ALL

    @property
    def protects(self) -> bool:
        """Whether something is encrypted or decrypted."""
        return (
            self.protects_body
            or self.protect_response is not None
            or self.protect_query is not None
        )

    @property
    def protects_body(self) -> bool:
        """Whether something of the request body is encrypted."""
        return self.protect_request is not None or self.protect_form is not None

    @property
    def holds_body(self) -> bool:
        """Whether the request body is held whole, to be encrypted or looked into."""
        return self.login is not None or self.protects_body


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy, ready to decide.

    Attributes:
        digest: the first 16 hex digits of the SHA-256 of its text, file by file.
        deployment: the name that is bound into every ciphertext.
        health: the path at which the data port answers for itself, where no rule
            matches; None for nowhere.
        issuers: whom tokens are trusted from, by their ``iss`` value.
        listeners: where requests come from, by id; ``DEFAULT_LISTENER`` among them.
        views: what each role (or ``anyone``) sees of each field; a pair that is
            not in here is masked, for nothing is allowed by omission.
        rules: those of all listeners.
        router: the rules of the default listener, compiled.
        routers: to each listener its rules, compiled.
        unmatched: what serves a request that no rule matches, in a policy that is in
            shadow mode as a whole; None where such a request is refused.
        logging: what the access log has of each request.
        hardening: what is done to the header fields of the proxy's own answers where
            no rule matched; None for nothing.
        hardenings: of rules that say otherwise, by their ids.
        has_cors: whether a rule says whose pages may read its answers.
        tenant: the path of the claim that says whose keys protect a value; () where
            all tenants share.
    """

    digest: str
    deployment: str
    health: str | None
    backends: Mapping[str, Backend]
    issuers: Mapping[str, Issuer]
    roles: tuple[str, ...]
    limits: Mapping[str, Limit]
    fields: Mapping[str, Field]
    views: Mapping[str, Mapping[str, View]]
    rules: tuple[Rule, ...]
    router: "Router[Rule]"
    routers: Mapping[str, "Router[Rule]"]
    listeners: Mapping[str, Listener]
    unmatched: Rule | None = None
    logging: Logging = USUAL
    hardening: Hardening | None = None
    hardenings: Mapping[str, Hardening | None] = dataclasses.field(default_factory=dict)
    has_cors: bool = False
    tenant: tuple[str, ...] = ()

    def at(self, listener: str) -> "Policy":
        """Return what is in force at one listener, as if there were no other.

        A listener that there is not has no rules.
        """
        rules = tuple(rule for rule in self.rules if rule.listener == listener)
        router = self.routers.get(listener) or Router[Rule](())
        return dataclasses.replace(self, rules=rules, router=router)

    @property
    def asks_claims(self) -> bool:
        """Whether somebody looks at claims of the token beside subject and roles."""
        return bool(self.tenant) or any(
            (rule.guard and rule.guard.asks_claims)
            or any(
                one.bind.source is Source.CLAIM for one in rule.binds + rule.subjects
            )
            for rule in self.rules
        )

    def view(self, role: str | None, field: str) -> View:
        """Return what ``role`` sees of ``field``; None is a request without a token."""
        return self.views.get(role or ANYONE, {}).get(field, View.MASK)

    def own_lines(self, rule: str, request: Request | None) -> bytes:
        """Return the field lines that the proxy's own answers get.

        Args:
            rule: the id of the rule that matched; "" for none.
            request: what is answered; None when it could not be read.
        """
        hardening = self.hardenings.get(rule, self.hardening)
        return b"" if hardening is None else hardening.own_lines(request)

    def known_role(self, roles: Iterable[str]) -> str:
        """Return the first of ``roles`` that the policy has; "" for none."""
        return next((role for role in roles if role in self.roles), "")

    def is_health(self, method: str, path: str) -> bool:
        """Say whether a request that no rule matches asks how the proxy itself is.

        Args:
            method: upper case.
            path: as received, without its query.
        """
        return path == self.health and method in ("GET", "HEAD")
