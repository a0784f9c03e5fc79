"""What a rule asks beside a role, and the reason it gives."""

import ipaddress
from typing import Any

import pytest

from proxy.core.addresses import Addresses, AddressSet
from proxy.core.authn import Principal
from proxy.core.conditions import Condition
from proxy.core.errors import Refused
from proxy.core.guard import Asked, Guard, scopes_of
from proxy.core.headers import RequestHeaders
from proxy.core.reasons import Reason
from proxy.core.routing import Pattern
from proxy.core.step_up import StepUp


def a_guard(path: str = "/users/{id}", **asks: Any) -> Guard:
    """Return the guard of a rule with this path."""
    pattern = Pattern.parse(path)
    if "when" in asks:
        asks["condition"] = Condition.compile(
            asks.pop("when"), pattern.params, token=True
        )
    usual = {"addresses": None, "scopes": (), "owner": None, "condition": None}
    guard = Guard.of(pattern, **{**usual, **asks})
    assert guard is not None
    return guard


def asked(path: str = "/users/ada", **claims: Any) -> Asked:
    """Return a request of Ada, whose token has these claims, too."""
    kept = [
        (b"user-agent", b"User-Agent", b"curl/8"),
        (b"x-twice", b"X-Twice", b"a"),
        (b"x-twice", b"X-Twice", b"b"),
        (b"authorization", b"Authorization", b"Bearer x"),
        (b"cookie", b"Cookie", b"session=x"),
    ]
    headers = RequestHeaders(kept, {}, b"lms.example")
    request = Asked("GET", path, headers, "192.0.2.1", 1_772_452_800.0)
    request.principal = Principal(
        subject="ada",
        roles=("student",),
        issuer="lumina",
        expires_at=1.0,
        claims={"sub": "ada", **claims},
    )
    request.role = "student"
    return request


def reason_of(guard: Guard, request: Asked) -> Reason | None:
    """Return why a request is refused; None when it is not."""
    try:
        guard.check(request)
    except Refused as refused:
        return refused.reason
    return None


def test_rule_that_asks_for_nothing_has_no_guard() -> None:
    """So that its requests pay for none."""
    pattern = Pattern.parse("/")

    assert (
        Guard.of(pattern, addresses=None, scopes=(), owner=None, condition=None) is None
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/users/ada", None),
        ("/users/%61da", None),
        ("/users/bob", Reason.NOT_OWNER),
        ("/users/ADA", Reason.NOT_OWNER),
        ("/users/%2561da", Reason.NOT_OWNER),
        ("/users/ada%00", Reason.NOT_OWNER),
        ("/users/%FF", Reason.NOT_OWNER),
    ],
)
def test_owner_is_the_tokens_subject(path: str, expected: Reason | None) -> None:
    """Decoded once, compared exactly."""
    assert reason_of(a_guard(owner="id"), asked(path)) is expected


def test_owner_may_be_any_segment() -> None:
    """The parameter counts and not its place."""
    guard = a_guard("/schools/{school}/users/{id}/files/{path...}", owner="id")

    assert reason_of(guard, asked("/schools/x/users/ada/files/a/b")) is None
    assert reason_of(guard, asked("/schools/ada/users/x/files/ada")) is Reason.NOT_OWNER


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"scope": "notes.read notes.write"}, None),
        ({"scope": "notes.write  notes.read other"}, None),
        ({"scp": ["notes.read", "notes.write"]}, None),
        ({"scp": "notes.read notes.write"}, None),
        ({"scope": "notes.read"}, Reason.SCOPE_MISSING),
        ({"scope": "notes.readnotes.write"}, Reason.SCOPE_MISSING),
        ({"scope": "", "scp": ["notes.read", "notes.write"]}, Reason.SCOPE_MISSING),
        ({"scope": 7}, Reason.SCOPE_MISSING),
        ({"scp": [["notes.read"], 7]}, Reason.SCOPE_MISSING),
        ({}, Reason.SCOPE_MISSING),
    ],
    ids=range(10),
)
def test_token_needs_every_scope(
    claims: dict[str, Any], expected: Reason | None
) -> None:
    """As a string of words or as a list; what is neither is none."""
    guard = a_guard(scopes=("notes.read", "notes.write"))

    assert reason_of(guard, asked(**claims)) is expected


def test_the_log_in_is_asked_about_first() -> None:
    """Whoever has to log in again is told so before anything else is compared."""
    guard = a_guard(step_up=StepUp(acr=("mfa",)), scopes=("read",))

    assert reason_of(guard, asked(scope="")) is Reason.LOGIN_TOO_WEAK
    assert reason_of(a_guard(step_up=StepUp(max_age=1.0)), asked()) is (
        Reason.LOGIN_TOO_WEAK
    )
    assert not guard.asks_claims or guard.scopes


def test_missing_scope_is_told_as_rfc_6750_says() -> None:
    """With the scopes that are needed, and not with those of the token."""
    with pytest.raises(Refused) as caught:
        a_guard(scopes=("a", "b")).check(asked(scope="c"))

    [(name, value)] = caught.value.headers
    assert name == "WWW-Authenticate"
    assert value.endswith('error="insufficient_scope", scope="a b"')
    assert scopes_of(asked(scope="c d").principal) == {"c", "d"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("claims.sub == path.id", None),
        ("headers['x-twice'] == 'a, b' && headers.host == 'lms.example'", None),
        ("!('authorization' in headers) && !('cookie' in headers)", None),
        ("now == timestamp('2026-03-02T12:00:00Z')", None),
        ("role == 'student' && method == 'GET' && client == '192.0.2.1'", None),
        ("claims.sub == 'bob'", Reason.CONDITION_NOT_MET),
        ("claims.tenant == 'x'", Reason.CONDITION_FAILED),
    ],
)
def test_condition_decides(when: str, expected: Reason | None) -> None:
    """One that cannot be decided refuses, for a reason of its own."""
    assert reason_of(a_guard(when=when), asked()) is expected


def test_parameter_that_is_no_text_leaves_the_condition_undecided() -> None:
    """Rather than deciding about what it is not."""
    guard = a_guard("/files/{path...}", when="path.path != 'secret/plan'")

    assert reason_of(guard, asked("/files/a/b")) is None
    assert reason_of(guard, asked("/files/secret/plan")) is Reason.CONDITION_NOT_MET
    assert reason_of(guard, asked("/files/%FF")) is Reason.CONDITION_FAILED


def test_condition_without_a_token_sees_none() -> None:
    """Scopes and owner need one, and a condition may do without."""
    guard = a_guard("/", when="method == 'GET'")
    request = asked("/")
    request.principal = None

    assert reason_of(guard, request) is None


def test_address_is_checked_by_itself() -> None:
    """Before anybody looks at a token."""
    networks = AddressSet.of([ipaddress.ip_network("10.0.0.0/8")])
    guard = a_guard(addresses=Addresses(allow=networks))
    guard.check_address("10.0.0.1")
    a_guard(owner="id").check_address("192.0.2.1")

    with pytest.raises(Refused) as caught:
        guard.check_address("192.0.2.1")
    assert caught.value.reason is Reason.ADDRESS_NOT_ALLOWED
    assert reason_of(guard, asked()) is None


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ({"scopes": ("a",)}, True),
        ({"when": "claims.x == 1"}, True),
        ({"when": "method == 'GET'"}, False),
        ({"owner": "id"}, False),
    ],
    ids=["scopes", "claims", "method", "owner"],
)
def test_guard_knows_whether_it_needs_claims(
    asks: dict[str, Any], *, expected: bool
) -> None:
    """Claims of remembered tokens take memory, and are kept for who asks only."""
    assert a_guard(**asks).asks_claims is expected
