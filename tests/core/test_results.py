"""What comes out of test cases, and what they cover."""

import pytest

from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench.cases import read_cases
from proxy.core.workbench.results import ANOTHER_ROLE, Mismatch, covered, pairs_of, run

SECRETS = {"JWT_SECRET": "c0ffee" * 12}
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
  api: {rate: {student: 100/hour, teacher: unlimited}, burst: 10}
  login: {rate: 5/minute, per: client}
fields: {name: {mode: random}, text: {mode: random}}
views: {student: {name: plain, text: mask}, teacher: {"*": plain}}
rules:
  - {id: login, match: POST /login, allow: anyone, limits: [login]}
  - id: note
    match: GET,PUT /notes/{id}
    allow: [student, teacher]
    limits: [api]
    protect:
      request: {$.text: text}
      response: {$.name: name, $.text: text}
  - {id: drop, match: 'DELETE /notes/{id}', allow: [teacher]}
"""


@pytest.fixture(name="policy", scope="module")
def policy_fixture() -> Policy:
    """A policy of three rules."""
    return parse_policy([("p.yaml", POLICY)], SECRETS)[0]


def mismatches(policy: Policy, asked: str, expect: str) -> list[tuple[str, str, str]]:
    """Return what came out otherwise than expected, as (what, expected, actual)."""
    text = f"version: 1\ncases:\n  - {{{asked}, expect: {{{expect}}}}}\n"
    [case], findings = read_cases(policy, "a.test.yaml", text, {}, 0.0)
    assert findings == ()
    return [
        (one.what, one.expected, one.actual) for one in run(policy, case).mismatches
    ]


@pytest.mark.parametrize(
    "expect",
    [
        "rule: note",
        "outcome: allowed, role: student, backend: lms",
        "limits: [api]",
        "limits: {api: 100/hour}",
        "encrypted: [text], plain: [name], masked: [text]",
    ],
)
def test_what_comes_out_as_expected_passes(policy: Policy, expect: str) -> None:
    """Every kind of expectation can be met."""
    assert mismatches(policy, "request: PUT /notes/7, as: student", expect) == []


@pytest.mark.parametrize(
    ("expect", "what", "expected", "actual"),
    [
        ("outcome: refused", "outcome", "refused", "allowed"),
        (
            "reason: token-missing",
            "outcome",
            "refused with token-missing",
            "allowed",
        ),
        ("rule: drop", "rule", "drop", "note"),
        ("role: teacher", "role", "teacher", "student"),
        ("limits: []", "limits", "none", "api"),
        ("limits: [login]", "limits", "login", "api"),
        ("limits: {api: 10/hour}", "limits", "api: 10/hour", "api: 100/hour"),
        ("limits: {api: unlimited}", "limits", "api: unlimited", "api: 100/hour"),
        ("encrypted: []", "encrypted", "none", "text"),
        ("plain: [name, text]", "plain", "name, text", "name"),
        ("masked: []", "masked", "none", "text"),
    ],
)
def test_what_comes_out_otherwise_is_told(
    policy: Policy, expect: str, *, what: str, expected: str, actual: str
) -> None:
    """A mismatch says what was expected and what was found."""
    found = mismatches(policy, "request: PUT /notes/7, as: student", expect)

    assert found == [(what, expected, actual)]


def test_refusal_fails_what_is_expected_to_be_allowed(policy: Policy) -> None:
    """A refused request meets no expectation of an allowed one."""
    found = mismatches(
        policy, "request: DELETE /notes/7, as: student", "rule: drop, limits: []"
    )

    assert found == [("outcome", "allowed", "refused with role-not-allowed")]


def test_any_refusal_will_do_where_no_reason_is_given(policy: Policy) -> None:
    """outcome: refused is met by every reason, and a reason by itself alone."""
    asked = "request: DELETE /notes/7, as: student"

    assert mismatches(policy, asked, "outcome: refused") == []
    assert mismatches(policy, asked, "reason: token-missing") == [
        (
            "outcome",
            "refused with token-missing",
            "refused with role-not-allowed",
        )
    ]


def test_unlimited_role_takes_from_no_limit(policy: Policy) -> None:
    """A list names limits that are taken from; a mapping may say unlimited."""
    asked = "request: GET /notes/7, as: teacher"

    assert mismatches(policy, asked, "limits: []") == []
    assert mismatches(policy, asked, "limits: {api: unlimited}") == []
    assert mismatches(policy, asked, "limits: [api]") == [("limits", "api", "none")]


def test_nothing_matched_is_none(policy: Policy) -> None:
    """Without a rule there is no rule, role or backend to be found."""
    found = mismatches(
        policy,
        "request: GET /else, as: student",
        "reason: no-rule, rule: note, role: student, backend: lms",
    )

    assert found == [
        ("rule", "note", "none"),
        ("role", "student", "none"),
        ("backend", "lms", "none"),
    ]


def test_pairs_are_every_role_one_more_and_anyone(policy: Policy) -> None:
    """A rule for anyone has one pair; no other role exists where all are allowed."""
    assert pairs_of(policy) == (
        ("login", "anyone"),
        ("note", "student"),
        ("note", "teacher"),
        ("note", "anyone"),
        ("drop", "teacher"),
        ("drop", ANOTHER_ROLE),
        ("drop", "anyone"),
    )


@pytest.mark.parametrize(
    ("asked", "expect", "expected"),
    [
        ("request: POST /login, as: anyone", "rule: login", {("login", "anyone")}),
        ("request: POST /login, as: student", "rule: login", {("login", "anyone")}),
        ("request: GET /notes/1, as: student", "rule: note", {("note", "student")}),
        ("request: GET /notes/1, as: student", "rule: drop", set()),
        (
            "request: DELETE /notes/1, as: student",
            "outcome: refused",
            {("drop", ANOTHER_ROLE)},
        ),
        (
            "request: DELETE /notes/1, as: anyone",
            "reason: token-missing",
            {("drop", "anyone")},
        ),
        (
            "request: GET /notes/1, claims: {role: [x, teacher]}",
            "rule: note",
            {("note", "teacher")},
        ),
        (
            "request: GET /notes/1, claims: {role: student, exp: -1s}",
            "reason: token-expired",
            set(),
        ),
        ("request: GET /else, as: student", "reason: no-rule", set()),
    ],
    ids=[
        *("anyone", "role-of-anyone", "role", "failed", "another", "without"),
        *("claims", "expired", "none"),
    ],
)
def test_passed_case_covers_its_pair(
    policy: Policy, asked: str, expect: str, expected: set[tuple[str, str]]
) -> None:
    """A case covers the pair that it shows, and none when it fails."""
    text = f"version: 1\ncases:\n  - {{{asked}, expect: {{{expect}}}}}\n"
    [case], _ = read_cases(policy, "a.test.yaml", text, {}, 0.0)

    assert covered([run(policy, case)]) == expected


def test_result_says_what_the_policy_says(policy: Policy) -> None:
    """The explanation is that of the stage which refused, or of the match."""
    text = "version: 1\ncases:\n  - {request: DELETE /notes/1, as: [student, teacher], "
    cases, _ = read_cases(policy, "a", f"{text}expect: {{limits: []}}}}\n", {}, 0.0)

    assert [run(policy, case).why for case in cases] == [
        (
            "The role of this token may not do this. The rule allows teacher; the "
            "token has student."
        ),
        "drop: DELETE /notes/{id} id = 1",
    ]
    assert run(policy, cases[0]).mismatches == (
        Mismatch(
            what="outcome", expected="allowed", actual="refused with role-not-allowed"
        ),
    )
