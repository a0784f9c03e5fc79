"""The YAML of test cases: what it is read as, and every way to get it wrong."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.core.workbench.cases import Case, Expectation, read_cases
from proxy.core.workbench.decision import decide
from proxy.core.workbench.results import run

LMS = Path(__file__).parents[2] / "policies" / "lms.yaml"
SECRETS = {"JWT_SECRET": "c0ffee" * 12}
NOW = 1_700_000_000.0
BEGINNING = "version: 1\ncases:\n"


def policy_of(text: str) -> Policy:
    """Compile a policy."""
    return parse_policy([("lms.yaml", text)], SECRETS)[0]


POLICY = policy_of(LMS.read_text("utf-8"))


@pytest.fixture(name="policy", scope="module")
def policy_fixture() -> Policy:
    """The policy that is delivered."""
    return POLICY


def read(policy: Policy, cases: str) -> list[Case]:
    """Read cases without a finding."""
    found, findings = read_cases(policy, "a.test.yaml", BEGINNING + cases, {}, NOW)
    assert findings == ()
    return found


def test_case_is_read_whole(policy: Policy) -> None:
    """Every key of a case ends up in what is expected."""
    [case] = read(
        policy,
        "  - name: a\n"
        "    request: PATCH /api/users/7\n"
        "    as: teacher\n"
        "    expect:\n"
        "      {rule: user, role: teacher, backend: lms, limits: {api: 1000 / hour},\n"
        "       encrypted: [user.name], plain: [user.name], masked: []}\n",
    )

    assert (case.name, case.method, case.path) == ("a", "PATCH", "/api/users/7")
    assert (str(case.at), case.asking) == ("a.test.yaml:3:5", "as teacher")
    assert case.expect == Expectation(
        allowed=True,
        rule="user",
        role="teacher",
        backend="lms",
        limits={"api": "1000/hour"},
        encrypted=frozenset({"user.name"}),
        plain=frozenset({"user.name"}),
        masked=frozenset(),
    )


def test_lists_make_a_case_of_each(policy: Policy) -> None:
    """Two requests by two who ask are four cases."""
    cases = read(
        policy,
        "  - request: [GET /, GET /login]\n"
        "    as: [anyone, admin]\n"
        "    expect: {limits: []}\n",
    )

    assert [(case.path, case.asking) for case in cases] == [
        ("/", "as anyone"),
        ("/", "as admin"),
        ("/login", "as anyone"),
        ("/login", "as admin"),
    ]


@pytest.mark.parametrize(
    ("expect", "allowed", "reason"),
    [
        ("{rule: me}", True, None),
        ("{outcome: allowed}", True, None),
        ("{outcome: refused}", False, None),
        ("{reason: token-missing}", False, Reason.TOKEN_MISSING),
        ("{outcome: refused, reason: no-rule}", False, Reason.NO_RULE),
    ],
    ids=["silent", "allowed", "refused", "reason", "both"],
)
def test_request_is_expected_to_be_allowed_unless_said(
    policy: Policy, expect: str, *, allowed: bool, reason: Reason | None
) -> None:
    """A reason says that the request is refused, and so does the outcome."""
    [case] = read(policy, f"  - {{request: GET /, as: anyone, expect: {expect}}}\n")

    assert (case.expect.allowed, case.expect.reason) == (allowed, reason)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ("role: student", None),
        ("role: [guest, student]", None),
        ("role: [guest]", Reason.ROLE_NOT_ALLOWED),
        ("role: student, exp: -6s", Reason.TOKEN_EXPIRED),
        ("role: student, exp: -4s", None),
        ("role: student, nbf: 6s", Reason.TOKEN_NOT_YET_VALID),
        ("role: student, aud: [files, lms]", None),
        ("role: student, aud: files", Reason.AUDIENCE_MISMATCH),
        ("role: student, iss: else", Reason.ISSUER_NOT_TRUSTED),
        ("role: {of: student}", Reason.CLAIM_INVALID),
        ("role: student, iss: [lumina]", Reason.ISSUER_NOT_TRUSTED),
        ("role: student, sub: [a]", Reason.CLAIM_INVALID),
    ],
)
def test_claims_are_checked_like_those_of_a_token(
    policy: Policy, claims: str, reason: Reason | None
) -> None:
    """Claims of a case are read by the proxy's own code, times relative to now."""
    text = f"  - {{request: GET /api/me, claims: {{{claims}}}, expect: {{rule: me}}}}\n"
    [case] = read(policy, text)

    assert decide(policy, case.method, case.path, case.identify).reason is reason


def test_issuer_of_claims_is_named_where_there_are_several() -> None:
    """Roles are looked for where the named issuer puts them."""
    text = LMS.read_text("utf-8").replace(
        "roles: [student",
        "  other: {issuer: o, audience: x, algorithms: [HS256], "
        'secret: "${JWT_SECRET}", roles: $.a.b}\n\nroles: [student',
    )
    policy = policy_of(text)
    asked = "request: GET /api/me, claims: {a: {b: student}}, expect: {rule: me}"
    [case] = read(policy, f"  - {{{asked}, issuer: other}}\n")
    _, findings = read_cases(
        policy, "a.test.yaml", f"{BEGINNING}  - {{{asked}}}\n", {}, NOW
    )

    assert decide(policy, case.method, case.path, case.identify).role == "student"
    assert [str(one) for one in findings] == [
        (
            "a.test.yaml:3:5: error: cases[0]: say which issuer makes the token "
            "(issuer: one of lumina, other)"
        )
    ]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param("[]", ["cases[0]: expected a mapping, found a list"], id="list"),
        pytest.param(
            "{as: anyone, expekt: {}}",
            [
                "cases[0]: 'request' is missing",
                "cases[0]: 'expect' is missing",
                "cases[0].expekt: unknown key 'expekt' (did you mean 'expect'?)",
            ],
            id="keys",
        ),
        pytest.param(
            "{request: GET, as: anyone, expect: {limits: []}}",
            [
                (
                    "cases[0].request: expected a method, one space and a path "
                    "(such as GET /api/users/7)"
                )
            ],
            id="no-path",
        ),
        pytest.param(
            "{request: get /, as: anyone, expect: {limits: []}}",
            [
                (
                    "cases[0].request: the method 'get' is not in upper case "
                    "(did you mean 'GET'?)"
                )
            ],
            id="lower-case",
        ),
        pytest.param(
            "{request: GET /, expect: {limits: []}}",
            ["cases[0]: needs exactly one of as and claims"],
            id="nobody",
        ),
        pytest.param(
            "{request: GET /, as: anyone, claims: {a: b}, expect: {limits: []}}",
            ["cases[0]: needs exactly one of as and claims"],
            id="two-ways",
        ),
        pytest.param(
            "{request: GET /, as: [studnet], issuer: lumina, expect: {limits: []}}",
            [
                "cases[0].as[0]: unknown role 'studnet' (did you mean 'student'?)",
                (
                    "cases[0].issuer: an issuer belongs to claims, and here are none "
                    "(remove it)"
                ),
            ],
            id="as",
        ),
        pytest.param(
            "{request: GET /, claims: {exp: soon}, issuer: lumnia, expect: {rule: me}}",
            ["cases[0].issuer: unknown issuer 'lumnia' (did you mean 'lumina'?)"],
            id="issuer",
        ),
        pytest.param(
            "{request: GET /, claims: {exp: soon}, expect: {rule: me}}",
            [
                (
                    "cases[0].claims.exp: 'soon' is not a time from now "
                    "(such as 5m, or -1s for a second ago)"
                )
            ],
            id="time",
        ),
        pytest.param(
            "{request: GET /, claims: {role: '${UNSET}'}, expect: {rule: me}}",
            [
                (
                    "cases[0].claims.role: the variable UNSET is not set "
                    "(set UNSET or UNSET_FILE, or write ${UNSET:-default})"
                )
            ],
            id="variable",
        ),
        pytest.param(
            "{request: GET /, as: anyone, expect: {outcome: alowed, reason: no-rul}}",
            [
                (
                    "cases[0].expect.outcome: unknown outcome 'alowed' "
                    "(did you mean 'allowed'?)"
                ),
                (
                    "cases[0].expect.reason: unknown reason 'no-rul' "
                    "(did you mean 'no-rule'?)"
                ),
            ],
            id="outcome",
        ),
        pytest.param(
            "{request: GET /, as: anyone, expect: {outcome: allowed, reason: no-rule}}",
            ["cases[0].expect.reason: an allowed request has no reason (remove one)"],
            id="contradiction",
        ),
        pytest.param(
            "{request: GET /, as: admin, expect: {rule: hom, role: x, backend: lsm}}",
            [
                "cases[0].expect.rule: unknown rule 'hom' (did you mean 'home'?)",
                (
                    "cases[0].expect.role: unknown role 'x' "
                    "(known: admin, student, teacher)"
                ),
                "cases[0].expect.backend: unknown backend 'lsm' (did you mean 'lms'?)",
            ],
            id="names",
        ),
        pytest.param(
            "{request: GET /, as: admin, expect: {limits: [apl], plain: [user.nmae]}}",
            [
                "cases[0].expect.limits[0]: unknown limit 'apl' (did you mean 'api'?)",
                (
                    "cases[0].expect.plain[0]: unknown field 'user.nmae' "
                    "(did you mean 'user.name'?)"
                ),
            ],
            id="sets",
        ),
        pytest.param(
            "{request: GET /, as: admin, expect: {limits: {apl: 1/hour, api: often}}}",
            [
                "cases[0].expect.limits.apl: unknown key 'apl' (did you mean 'api'?)",
                (
                    "cases[0].expect.limits.api: 'often' is not a rate "
                    "(such as 5/minute, 100/hour, 10/30s or unlimited)"
                ),
            ],
            id="rates",
        ),
    ],
)
def test_mistake_is_found_where_it_is(
    policy: Policy, case: str, expected: list[str]
) -> None:
    """A mistake in a case is a finding in the line of the case."""
    text = f"{BEGINNING}  - {case}\n"
    _, findings = read_cases(policy, "a.test.yaml", text, {}, NOW)

    assert sorted(str(one).split(": error: ")[1] for one in findings) == (
        sorted(expected)
    )
    assert {(one.file, one.line) for one in findings} == {("a.test.yaml", 3)}


def test_claims_need_somebody_who_issues_them() -> None:
    """A policy that trusts nobody has no tokens to make claims in."""
    policy = policy_of(
        'version: 1\nbackends: {lms: {servers: ["http://127.0.0.1:9000"]}}\n'
        "rules: [{id: home, match: GET /, allow: anyone}]\n"
    )
    text = (
        f"{BEGINNING}  - {{request: GET /, claims: {{a: b}}, expect: {{rule: home}}}}\n"
    )
    cases, findings = read_cases(policy, "a", text, {}, NOW)

    assert cases == []
    assert [one.message for one in findings] == [
        "the policy trusts no issuer of tokens"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty (begin with version: 1)"),
        ("version: 2\ncases: [{}]\n", "version '2' is not known"),
        ("version: 1\n", "'cases' is missing"),
        ("version: 1\ncases: []\n", "the list is empty"),
        ("version: 1\nrules: []\n", "unknown key 'rules' (known: cases, version)"),
        ("version: [", "not YAML"),
    ],
    ids=["empty", "version", "none", "empty-list", "policy", "not-yaml"],
)
def test_file_that_is_none_is_told(policy: Policy, text: str, expected: str) -> None:
    """A file that holds no cases is a finding."""
    cases, findings = read_cases(policy, "a.test.yaml", text, {}, NOW)

    assert cases == []
    assert any(expected in str(one) for one in findings)


@given(st.text(max_size=60))
@example("{request: GET /, claims: {a: ~, b: [{}]}, expect: {rule: me}}")
@example("{request: [], as: [], expect: {}}")
def test_any_case_is_read_or_refused(text: str) -> None:
    """No text makes the reader raise."""
    cases, findings = read_cases(POLICY, "a", f"{BEGINNING}  - {text}\n", {}, NOW)

    assert findings or cases


GUARDED = policy_of(
    (Path(__file__).parents[1] / "policies/good/guards.yaml").read_text("utf-8")
)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("request: GET /users/a/notes/1\n    as: student", None),
        (
            (
                "request: GET /users/a/notes/1\n    client: 203.0.113.9\n"
                "    claims: {sub: a, role: student, level: x}"
            ),
            Reason.ADDRESS_NOT_ALLOWED,
        ),
        (
            (
                "request: GET /users/a/notes/1\n    client: 10.0.0.1\n"
                "    claims: {sub: a, role: student}"
            ),
            Reason.SCOPE_MISSING,
        ),
        (
            "request: POST /grades\n    as: teacher\n    time: 2026-03-02T06:59:00Z",
            Reason.CONDITION_NOT_MET,
        ),
        (
            "request: POST /grades\n    as: head\n    time: 2026-03-02T09:00:00+01:00",
            None,
        ),
        (
            "request: GET /\n    as: anyone\n    headers: {x-legacy: y, host: a}",
            Reason.CONDITION_NOT_MET,
        ),
    ],
    ids=["granted", "address", "scope", "night", "day", "header"],
)
def test_what_a_rule_asks_is_decided_as_soon_as_a_case_says_more(
    case: str, expected: Reason | None
) -> None:
    """Claims, an address, fields or a time; a role alone takes it for granted."""
    text = f"  - {case}\n    expect: {{outcome: allowed}}\n"
    [found] = read(GUARDED, text)
    decision = decide(GUARDED, found.method, found.path, found.identify, found.facts)

    assert (decision.reason, decision.granted) == (expected, found.facts is None)


@pytest.mark.parametrize("when", ["noon", "2026-03-02T08:00:00", "8"])
def test_time_of_a_case_has_a_zone(when: str) -> None:
    """What is no instant is a mistake."""
    text = f"  - {{request: GET /, as: anyone, time: {when}, expect: {{rule: open}}}}\n"
    _, [finding] = read_cases(GUARDED, "a.test.yaml", BEGINNING + text, {}, NOW)

    assert "is not a time (such as 2026-03-01T08:30:00Z)" in str(finding)


def test_case_is_asked_at_its_listener() -> None:
    """There other rules decide; one that there is not is a mistake."""
    policy = policy_of(
        "version: 1\n"
        'listeners: {egress: {listen: "127.0.0.1:8081"}}\n'
        'backends: {lms: {servers: ["http://127.0.0.1:9000"]}}\n'
        "rules:\n"
        "  - {id: home, match: GET /, allow: anyone}\n"
        "  - {id: out, listener: egress, match: GET /, allow: anyone}\n"
    )
    text = "  - {request: GET /, as: anyone, expect: {rule: %s}%s}\n"
    cases = read(
        policy,
        text % ("home", "") + text % ("out", ", listener: egress"),
    )
    _, findings = read_cases(
        policy,
        "a.test.yaml",
        BEGINNING + text % ("out", ", listener: egres"),
        {},
        NOW,
    )

    assert [run(policy, case).mismatches for case in cases] == [(), ()]
    assert [one.message for one in findings] == ["unknown listener 'egres'"]
