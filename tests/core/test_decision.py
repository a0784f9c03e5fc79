"""What a policy decides about one request, without a proxy."""

import jwt
import pytest

from proxy.core.policy import Policy, View
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.core.workbench.decision import (
    Decision,
    Identify,
    Stage,
    decide,
    rivals,
    with_roles,
    with_token,
    without_token,
)

NOW = 1_700_000_000.0
SECRET = "c0ffee" * 12
POLICY = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    secret: "${JWT_SECRET}"
    roles: $.role
roles: [student, teacher]
limits:
  login: {rate: 5/minute, per: client}
  api: {rate: {student: 100/hour, teacher: unlimited}}
fields: {user.name: {mode: random}, user.mail: {mode: random}}
views:
  anyone: {"*": mask}
  student: {user.name: plain, user.mail: mask}
  teacher: {"*": plain}
rules:
  - {id: login, match: POST /login, allow: anyone, limits: [login]}
  - id: user
    match: GET,PATCH /users/{id}
    allow: [student, teacher]
    limits: [api]
    protect:
      request: {$.name: user.name}
      response: {$.name: user.name, $.mail: user.mail}
  - {id: me, match: GET /users/me, allow: [teacher]}
  - {id: tree, match: "* /users/{path...}", allow: [teacher]}
  - id: file
    match: GET /files/{path...}
    allow: anyone
    tolerate: [semicolon]
"""


@pytest.fixture(name="policy", scope="module")
def policy_fixture() -> Policy:
    """A policy with roles, limits, fields and rules that overlap."""
    policy, warnings = parse_policy([("p.yaml", POLICY)], {"JWT_SECRET": SECRET})
    assert warnings == ()
    return policy


def token(secret: str = SECRET, **claims: object) -> str:
    """Return a token of the issuer, with these claims beside the usual ones."""
    usual = {"iss": "lumina", "aud": "lms", "sub": "u1", "exp": NOW + 60}
    return jwt.encode({**usual, **claims}, secret, algorithm="HS256")


def ask(
    policy: Policy, method: str, path: str, who: Identify | None = None
) -> Decision:
    """Decide; without ``who``, for somebody without a token."""
    return decide(policy, method, path, who or without_token(policy, NOW))


def test_allowed_request_says_everything_that_happens_to_it(policy: Policy) -> None:
    """Rule, role, limits and fields of a request are those of the policy."""
    found = ask(policy, "PATCH", "/users/7?a=b", with_roles("student"))

    assert found.rule is policy.rules[1]
    assert (found.path, found.params) == ("/users/7", {"id": "7"})
    assert (found.role, found.refused, found.stage) == ("student", None, None)
    assert [(take.id, take.limit.count) for take in found.takes] == [("api", 100)]
    assert found.unlimited == ()
    assert found.encrypted == (("$.name", "user.name"),)
    assert found.shown == (
        ("$.name", "user.name", View.PLAIN),
        ("$.mail", "user.mail", View.MASK),
    )
    assert found.fields_seen(View.MASK) == {"user.mail"}


def test_unlimited_role_takes_from_nothing(policy: Policy) -> None:
    """A limit that is unlimited for the role is named, and no bucket is touched."""
    found = ask(policy, "GET", "/users/7", with_roles("teacher"))

    assert found.takes == ()
    assert [limit.id for limit in found.unlimited] == ["api"]


def test_acting_role_is_the_first_that_the_rule_allows(policy: Policy) -> None:
    """Of several roles, the token's order decides among those that are allowed."""
    found = ask(policy, "GET", "/users/me", with_roles("student", "teacher"))

    assert found.role == "teacher"


@pytest.mark.parametrize(
    ("path", "who", "stage", "reason"),
    [
        pytest.param("/none", None, Stage.MATCH, Reason.NO_RULE, id="none"),
        pytest.param("/login", None, Stage.MATCH, Reason.METHOD_NOT_ALLOWED, id="405"),
        pytest.param("relative", None, Stage.MATCH, Reason.MALFORMED, id="relative"),
        pytest.param("/users/7#x", None, Stage.MATCH, Reason.MALFORMED, id="fragment"),
        pytest.param("/users/..", None, Stage.MATCH, Reason.PATH_AMBIGUOUS, id="dots"),
        pytest.param(
            "/users/7", None, Stage.AUTHENTICATE, Reason.TOKEN_MISSING, id="anyone"
        ),
        pytest.param(
            "/users/me",
            with_roles("student"),
            Stage.AUTHORISE,
            Reason.ROLE_NOT_ALLOWED,
            id="another-role",
        ),
        pytest.param(
            "/users/me",
            with_roles(),
            Stage.AUTHORISE,
            Reason.ROLE_NOT_ALLOWED,
            id="no-role",
        ),
    ],
)
def test_refusal_names_its_stage(
    policy: Policy, path: str, who: Identify | None, stage: Stage, reason: Reason
) -> None:
    """Each stage that a policy decides refuses with the reason that the proxy gives."""
    found = ask(policy, "GET", path, who)

    assert (found.stage, found.reason) == (stage, reason)
    assert (found.takes, found.encrypted, found.shown) == ((), (), ())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param(token(role="teacher"), None, id="good"),
        pytest.param(token(role=["student", "teacher"]), None, id="two-roles"),
        pytest.param(
            token(role="teacher", exp=NOW - 1), Reason.TOKEN_EXPIRED, id="expired"
        ),
        pytest.param(
            token(role="teacher", nbf=NOW + 1), Reason.TOKEN_NOT_YET_VALID, id="early"
        ),
        pytest.param(
            token(role="teacher", aud="files"), Reason.AUDIENCE_MISMATCH, id="audience"
        ),
        pytest.param(
            token(role="teacher", iss="else"), Reason.ISSUER_NOT_TRUSTED, id="issuer"
        ),
        pytest.param(
            token("b" * 40, role="teacher"), Reason.SIGNATURE_INVALID, id="signature"
        ),
        pytest.param(token(role="student"), Reason.ROLE_NOT_ALLOWED, id="role"),
        pytest.param("nonsense", Reason.TOKEN_MALFORMED, id="nonsense"),
        pytest.param("\udcff", Reason.TOKEN_MALFORMED, id="not-utf-8"),
    ],
)
def test_token_is_verified_as_the_proxy_does(
    policy: Policy, given: str, reason: Reason | None
) -> None:
    """A token is good or bad for the reason that the data path would give."""
    found = ask(policy, "GET", "/users/me", with_token(policy, given, NOW))

    assert found.reason is reason


def test_nobody_is_asked_where_anyone_may(policy: Policy) -> None:
    """A rule for anyone looks at no token, and sees nobody's view."""
    found = ask(policy, "POST", "/login", with_roles("teacher"))

    assert (found.principal, found.role) == (None, "")
    assert [take.id for take in found.takes] == ["login"]


def test_rivals_say_why_they_lost(policy: Policy) -> None:
    """Every other rule that knows the path is named, the more specific ones first."""
    found = ask(policy, "GET", "/users/me", with_roles("teacher"))

    assert [(one.rule.id, one.why) for one in rivals(policy, found)] == [
        ("user", "less specific: {id} where /users/me has me"),
        ("tree", "less specific: {path...} where /users/me has me"),
    ]


def test_rival_without_the_method_says_which_it_has(policy: Policy) -> None:
    """A more specific rule that lacks the method is told from a more general one."""
    found = ask(policy, "DELETE", "/users/me", with_roles("teacher"))

    assert found.rule
    assert found.rule.id == "tree"
    assert [(one.rule.id, one.why) for one in rivals(policy, found)] == [
        ("me", "it is for GET"),
        ("user", "it is for GET,PATCH"),
    ]


def test_named_method_beats_every_method() -> None:
    """On one path, the rule that names the method wins, and says so."""
    text = POLICY + "  - {id: home, match: GET /, allow: anyone}\n"
    text += '  - {id: all, match: "* /", allow: [teacher]}\n'
    policy, _ = parse_policy([("p.yaml", text)], {"JWT_SECRET": SECRET})
    found = ask(policy, "GET", "/")

    assert [(one.rule.id, one.why) for one in rivals(policy, found)] == [
        ("all", "less specific: * where the other names the method")
    ]


def test_rule_that_does_not_tolerate_the_path_is_named(policy: Policy) -> None:
    """When the path's form is refused, the rule that it would have met is a rival."""
    found = ask(policy, "GET", "/users/a;b", with_roles("teacher"))

    assert found.reason is Reason.PATH_AMBIGUOUS
    assert {one.rule.id: one.why for one in rivals(policy, found)} == {
        "user": "it would match, but does not tolerate such a path",
        "tree": "it would match, but does not tolerate such a path",
    }
    assert ask(policy, "GET", "/files/a;b").refused is None
