"""What is left of a rule's limits, as operators ask for it."""

import pytest

from proxy.core.limits import takes_for
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.limiter import Limiter

POLICY = """
version: 1
backends:
  lms: {servers: ["http://127.0.0.1:9000"]}
issuers:
  lumina:
    {issuer: lumina, audience: lms, algorithms: [HS256], roles: $.role, secret: S}
roles: [student, teacher, admin]
limits:
  auth: {rate: 5/minute, per: client}
  api:
    per: subject
    rate: {student: 100/hour, teacher: 1000/hour, admin: unlimited}
rules:
  - {id: login, match: POST /api/auth/login, allow: anyone, limits: [auth]}
  - {id: user, match: "GET /api/users/{id}", allow: [student, teacher], limits: [api]}
  - {id: user-drop, match: "DELETE /api/users/{id}", allow: [admin], limits: [api]}
  - {id: health, match: GET /health, allow: anyone}
""".replace("S}", "0123456789abcdef0123456789abcdef}")


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Give a policy with limits of both kinds."""
    parsed, _ = parse_policy([("policy.yaml", POLICY)], {})
    return parsed


@pytest.fixture
def store() -> MemoryStore:
    """Give buckets on a clock that stands."""
    return MemoryStore(lambda: 0)


@pytest.fixture
def limiter(store: MemoryStore, policy: Policy) -> Limiter:
    """Give what answers."""
    return Limiter(store, lambda: policy, now_us=lambda: 0, secret=lambda: b"")


async def test_the_call_of_the_specification(
    limiter: Limiter, store: MemoryStore, policy: Policy
) -> None:
    """``get_limit_status("user_123", "/api/auth/login")`` returns ``remaining``."""
    [login] = [rule for rule in policy.rules if rule.id == "login"]
    await store.take(takes_for(login.limits, role="", subject="", client="user_123"))

    status = await limiter.get_limit_status("user_123", "/api/auth/login")

    assert (status.rule, status.remaining) == ("login", 4)
    assert status.limits[0].retry_after == 0.0


async def test_asking_takes_nothing(limiter: Limiter) -> None:
    """However often."""
    for _ in range(10):
        status = await limiter.get_limit_status("user_123", "login")
        assert status.remaining == 5


async def test_the_scarcest_rate_is_what_remains(limiter: Limiter) -> None:
    """Without a role each rate is reported, and none is promised."""
    status = await limiter.get_limit_status("user_123", "user")

    assert {limit.role: limit.remaining for limit in status.limits} == {
        "student": 100,
        "teacher": 1000,
        "admin": None,
    }
    assert status.remaining == 100


async def test_a_role_sees_its_own_rate(
    limiter: Limiter, store: MemoryStore, policy: Policy
) -> None:
    """The bucket is the one that this role's requests use."""
    [user] = [rule for rule in policy.rules if rule.id == "user"]
    takes = takes_for(user.limits, role="teacher", subject="a", client="b")
    await store.take([take.costing(1000) for take in takes])

    status = await limiter.get_limit_status("a", "user", role="teacher")

    assert [limit.remaining for limit in status.limits] == [0]
    assert status.limits[0].retry_after == 3.6
    other = await limiter.get_limit_status("a", "user", role="student")
    assert other.remaining == 100


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("user", "", "user"),
        ("/api/users/{id}", "", "user"),
        ("/api/users/{id}", "DELETE", "user-drop"),
        ("/api/users/42", "GET", "user"),
        ("/api/users/42", "DELETE", "user-drop"),
        ("/api/users/42", "", "user"),
    ],
)
async def test_a_rule_is_found(
    limiter: Limiter, name: str, method: str, expected: str
) -> None:
    """By its id, by its path as written, and by the path of a request."""
    status = await limiter.get_limit_status("a", name, method=method, role="student")

    assert status.rule == expected


async def test_any_role_has_the_rate_of_all(limiter: Limiter) -> None:
    """Where a limit does not tell roles apart, a role's name changes nothing."""
    for role in ("student", "nobody", ""):
        status = await limiter.get_limit_status("a", "login", role=role)
        assert (status.remaining, status.limits[0].role) == (5, None)


async def test_nothing_limits(limiter: Limiter) -> None:
    """A rule without limits, or an unlimited role, leaves no number."""
    assert (await limiter.get_limit_status("a", "health")).limits == ()
    admin = await limiter.get_limit_status("a", "user-drop", role="admin")

    assert admin.remaining is None
    assert admin.limits[0].unlimited


@pytest.mark.parametrize(
    ("name", "method"),
    [("nobody", ""), ("/nowhere", ""), ("/health", "POST"), ("no path", "GET")],
)
async def test_no_rule_is_an_error(limiter: Limiter, name: str, method: str) -> None:
    """Nothing is answered for what the policy does not know."""
    with pytest.raises(KeyError, match="The policy has no such rule"):
        await limiter.get_limit_status("a", name, method=method)


@pytest.mark.parametrize("role", ["nobody", ""])
async def test_role_without_a_rate_is_an_error(limiter: Limiter, role: str) -> None:
    """It has no bucket to look into, which is told from a rule that is not there."""
    with pytest.raises(
        KeyError, match="A limit of this rule has no rate for this role"
    ):
        await limiter.get_limit_status("a", "user", role=role)


async def test_what_was_taken_can_be_given_back(
    limiter: Limiter, store: MemoryStore, policy: Policy
) -> None:
    """Of all limits of a rule, or of one, and to nobody else."""
    [login] = [rule for rule in policy.rules if rule.id == "login"]
    for client in ("ada", "bob"):
        takes = takes_for(login.limits, role="", subject="", client=client)
        await store.take([take.costing(5) for take in takes])

    limiter.reset(limiter.found("ada", "login", limit="auth"))

    assert (await limiter.get_limit_status("ada", "login")).remaining == 5
    assert (await limiter.get_limit_status("bob", "login")).remaining == 0


async def test_somebody_can_be_lent_more(limiter: Limiter) -> None:
    """Of each rate that there is, or of a role's."""
    limiter.lend(limiter.found("ada", "user", role="student"), 20, 60.0)

    status = await limiter.get_limit_status("ada", "user")
    assert {limit.role: limit.remaining for limit in status.limits} == {
        "student": 120,
        "teacher": 1000,
        "admin": None,
    }


@pytest.mark.parametrize(
    ("rule", "more", "sentence"),
    [
        ("nowhere", {}, "The policy has no such rule"),
        ("health", {}, "Nobody is limited there"),
        ("user-drop", {"role": "admin"}, "Nobody is limited there"),
        ("login", {"limit": "api"}, "The rule has no such limit"),
        ("user", {"role": "guest"}, "A limit of this rule has no rate for this role"),
    ],
)
def test_what_is_not_limited_cannot_be_changed(
    limiter: Limiter, rule: str, more: dict[str, str], sentence: str
) -> None:
    """And it is said why."""
    with pytest.raises(KeyError) as caught:
        limiter.found("ada", rule, role=more.get("role"), limit=more.get("limit"))

    assert caught.value.args == (sentence,)


SPECIAL = """
version: 1
backends:
  lms: {servers: ["http://127.0.0.1:9000"]}
limits:
  up: {concurrent: 2, per: [client, path.id]}
  daily: {quota: 5/day, per: [client, header.X-Key]}
rules:
  - {id: up, match: "PUT /up/{id}", allow: anyone, limits: [up, daily]}
"""


async def test_what_a_limit_counts_by_can_be_said(store: MemoryStore) -> None:
    """As a request would say it; and of requests at a time nothing can be lent."""
    policy, _ = parse_policy([("policy.yaml", SPECIAL)], {})
    limiter = Limiter(store, lambda: policy, now_us=lambda: 0, secret=lambda: b"s")
    given = {"path.id": "7", "header.X-Key": "sesame"}
    takes = limiter.found("192.0.2.1", "up", given=given)
    assert [take.owner.partition(":")[0] for take in takes] == ["c", "c"]
    await store.take([takes[1].costing(3)])

    same = await limiter.get_limit_status("192.0.2.1", "up", given=given)
    other = await limiter.get_limit_status("192.0.2.1", "up")

    assert [limit.remaining for limit in same.limits] == [2, 2]
    assert [limit.per for limit in same.limits] == [
        "client and path.id",
        "client and header.x-key",
    ]
    assert [limit.remaining for limit in other.limits] == [2, 5]
    with pytest.raises(KeyError, match="rates and quotas"):
        limiter.lend(takes, 5, 60.0)
