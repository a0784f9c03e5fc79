"""What two policies decide differently."""

import itertools
import json
import re

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from proxy.core.errors import PolicyError
from proxy.core.policy import ANYONE, Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench.comparison import compare
from proxy.core.workbench.decision import decide, with_roles, without_token
from proxy.core.workbench.diff_changes import Area, Direction

SECRETS = {"JWT_SECRET": "c0ffee" * 12, "NEXT": "decade" * 12}
POLICY = """\
version: 1
deployment: school
backends:
  lms: {servers: ["http://127.0.0.1:9000"], timeouts: {idle: 60s}}
  files: {servers: ["http://127.0.0.1:9001"]}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    keys: [{kid: one, secret: "${JWT_SECRET}"}]
    roles: $.role
    leeway: 5s
roles: [student, teacher]
limits:
  login: {rate: 5/minute, per: client}
  api: {rate: {student: 100/hour, teacher: unlimited}}
fields: {name: {mode: random}, text: {mode: random}}
views:
  student: {name: plain, text: mask}
  teacher: {name: plain, text: plain}
rules:
  - id: login
    match: POST /login
    allow: anyone
    backend: lms
    limits: [login]
  - id: form
    match: POST /form
    allow: anyone
    backend: lms
    limits: [login]
  - id: note
    match: GET,PUT /notes/{id}
    allow: [student, teacher]
    backend: lms
    limits: [api]
    protect:
      request: {$.text: text}
      response: {$.name: name, $.text: text}
  - id: drop
    match: DELETE /notes/{id}
    allow: [teacher]
    backend: lms
  - id: file
    match: GET /files/{path...}
    allow: [teacher]
    backend: files
    tolerate: [semicolon]
    max_body: 1KiB
"""


def policy_of(text: str) -> Policy:
    """Compile a policy."""
    return parse_policy([("p.yaml", text)], SECRETS)[0]


def differences(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return changes as ``sign area: text: requests`` and notes."""
    signs = {Direction.OPENS: "+", Direction.CLOSES: "-", Direction.CHANGES: "~"}
    found = compare(policy_of(old), policy_of(new))
    changes = []
    for change in found.changes:
        where = ", ".join(f"{one.methods} {one.path}" for one in change.requests)
        line = f"{signs[change.direction]} {change.area.value}: {change.text}"
        changes.append(f"{line}: {where}" if where else line)
    return changes, list(found.notes)


def edited(*edits: tuple[str, str]) -> str:
    """Return the policy with each text replaced, once."""
    text = POLICY
    for before, after in edits:
        assert text.count(before) >= 1, before
        text = text.replace(before, after, 1)
    return text


MORE = "    max_body: 1KiB\n"

EDITS = [
    pytest.param(
        [("allow: [teacher]", "allow: [student, teacher]")],
        ["+ access: student gains: DELETE /notes/{id}"],
        id="role-added",
    ),
    pytest.param(
        [("allow: [student, teacher]", "allow: [teacher]")],
        [
            "- access: student loses: GET,PUT /notes/{id}",
            "- plaintext: student no longer sees name: GET,PUT /notes/{id}",
        ],
        id="role-removed",
    ),
    pytest.param(
        [("allow: [teacher]\n    backend: files", "allow: anyone\n    backend: files")],
        [
            "+ access: anyone gains: GET /files/{path...}",
            "+ access: student gains: GET /files/{path...}",
        ],
        id="opened-for-anyone",
    ),
    pytest.param(
        [("GET,PUT /notes", "GET /notes")],
        [
            "- access: student loses: PUT /notes/{id}",
            "- access: teacher loses: PUT /notes/{id}",
            "- plaintext: student no longer sees name: PUT /notes/{id}",
            "- plaintext: teacher no longer sees name: PUT /notes/{id}",
            "- plaintext: teacher no longer sees text: PUT /notes/{id}",
        ],
        id="method-removed",
    ),
    pytest.param(
        [(MORE, MORE + "  - {id: new, match: '* /x', allow: anyone, backend: lms}\n")],
        [
            "+ access: anyone gains: * /x",
            "+ access: student gains: * /x",
            "+ access: teacher gains: * /x",
        ],
        id="rule-added",
    ),
    pytest.param(
        [("text: mask", "text: plain")],
        ["+ plaintext: student sees text: GET,PUT /notes/{id}"],
        id="view-opened",
    ),
    pytest.param(
        [("request: {$.text: text}", "request: {$.name: text}")],
        [
            (
                "+ plaintext: $.text of the request reaches the backend in the clear, "
                "no longer as text: GET,PUT /notes/{id}"
            ),
            (
                "- plaintext: $.name of the request is protected as text: GET,PUT "
                "/notes/{id}"
            ),
        ],
        id="request-place",
    ),
    pytest.param(
        [("request: {$.text: text}", "request: {$.text: name}")],
        [
            (
                "~ plaintext: $.text of the request is protected as name, no longer as "
                "text: GET,PUT /notes/{id}"
            )
        ],
        id="request-field",
    ),
    pytest.param(
        [("$.name: name, $.text: text", "$.name: name")],
        [
            (
                "+ plaintext: $.text of the answer passes as the backend sends it, no "
                "longer as text: GET,PUT /notes/{id}"
            ),
            "- plaintext: teacher no longer sees text: GET,PUT /notes/{id}",
        ],
        id="answer-place",
    ),
    pytest.param(
        [("deployment: school", "deployment: college")],
        [
            (
                "~ plaintext: the deployment school is college: what was stored no "
                "longer decrypts"
            )
        ],
        id="deployment",
    ),
    pytest.param(
        [("student: 100/hour", "student: 2/minute")],
        [
            (
                "~ limits: api for student is changed: 100/hour per subject -> "
                "2/minute per subject: GET,PUT /notes/{id}"
            )
        ],
        id="faster-with-less-burst",
    ),
    pytest.param(
        [("student: 100/hour", "student: 1000/hour")],
        [
            (
                "+ limits: api for student is loosened: 100/hour per subject -> "
                "1000/hour per subject: GET,PUT /notes/{id}"
            )
        ],
        id="loosened",
    ),
    pytest.param(
        [("teacher: unlimited", "teacher: 9/hour")],
        [
            (
                "- limits: api for teacher is tightened: unlimited -> 9/hour per "
                "subject: GET,PUT /notes/{id}"
            )
        ],
        id="limited",
    ),
    pytest.param(
        [("rate: 5/minute,", "rate: 5/minute, burst: 2,")],
        [
            (
                "- limits: login is tightened: 5/minute per client -> 5/minute, burst "
                "2 per client: POST /login, POST /form"
            )
        ],
        id="burst",
    ),
    pytest.param(
        [("    limits: [login]\n", "")],
        ["+ limits: login is loosened: 5/minute per client -> unlimited: POST /login"],
        id="limit-removed",
    ),
    pytest.param(
        [(MORE, MORE + "    limits: [{rate: 1/hour}]\n")],
        [
            (
                "- limits: file#0 for teacher is tightened: unlimited -> 1/hour per "
                "subject: GET /files/{path...}"
            )
        ],
        id="limit-added",
    ),
    pytest.param(
        [("rate: {student", "per: client, rate: {student")],
        [
            (
                "~ limits: api for student is changed: 100/hour per subject -> "
                "100/hour per client: GET,PUT /notes/{id}"
            )
        ],
        id="per",
    ),
    pytest.param(
        [
            ("limits: [login]", "limits: [door]"),
            ("  api:", "  door: {rate: 5/minute, per: client}\n  api:"),
        ],
        ["+ limits: the bucket of login is split: door and login have their own"],
        id="bucket-split",
    ),
    pytest.param(
        [("issuer: lumina", "issuer: other")],
        [
            "+ issuers: other is trusted",
            "- issuers: lumina is no longer trusted",
        ],
        id="issuer",
    ),
    pytest.param(
        [("[HS256]", "[HS256, HS512]"), ("leeway: 5s", "leeway: 1s")],
        [
            "+ issuers: algorithms of lumina: HS256 -> HS256 and HS512",
            "- issuers: leeway of lumina: 5s -> 1s",
        ],
        id="algorithm",
    ),
    pytest.param(
        [("audience: lms", "audience: files"), ("$.role", "$.realm.role")],
        [
            "~ issuers: audience of lumina: lms -> files",
            "~ issuers: roles of lumina: role -> realm and role",
        ],
        id="audience",
    ),
    pytest.param(
        [("${JWT_SECRET}", "${NEXT}")],
        ["~ issuers: the key one of lumina is another one"],
        id="key",
    ),
    pytest.param(
        [("kid: one", "kid: two")],
        [
            "+ issuers: the key two of lumina is new",
            "- issuers: the key one of lumina is no longer there",
        ],
        id="kid",
    ),
    pytest.param(
        [("idle: 60s", "idle: 5s"), ("127.0.0.1:9001", "10.0.0.1:80")],
        [
            "~ backends: timeouts.idle of the backend lms: 60s -> 5s",
            "~ backends: servers of the backend files: 127.0.0.1:9001 -> 10.0.0.1:80",
        ],
        id="backend",
    ),
    pytest.param(
        [("backend: lms\n    limits: [login]", "backend: files\n    limits: [login]")],
        ["~ backends: requests go to files, no longer to lms: POST /login"],
        id="backend-of-rule",
    ),
    pytest.param(
        [("max_body: 1KiB", "max_body: 2KiB"), ("[semicolon]", "[backslash]")],
        [
            "+ rules: paths with backslash are let pass: GET /files/{path...}",
            "+ rules: the largest body: 1024 bytes -> 2048 bytes: GET /files/{path...}",
            "- rules: paths with semicolon are refused: GET /files/{path...}",
        ],
        id="tolerate-and-size",
    ),
    pytest.param(
        [("    max_body: 1KiB\n", "    count: lumina_files_total\n")],
        [
            (
                "~ rules: the largest body: 1024 bytes -> the limit of the process: "
                "GET /files/{path...}"
            ),
            "~ rules: count: none -> lumina_files_total: GET /files/{path...}",
        ],
        id="count",
    ),
]


@pytest.mark.parametrize(("edits", "expected"), EDITS)
def test_edit_is_told_in_meaning(
    edits: list[tuple[str, str]], expected: list[str]
) -> None:
    """Each edit of a policy is the difference that it makes, and no other."""
    assert differences(POLICY, edited(*edits)) == (expected, [])


@pytest.mark.parametrize(("edits", "expected"), EDITS)
def test_way_back_is_the_opposite(
    edits: list[tuple[str, str]], expected: list[str]
) -> None:
    """What opens when a policy is edited closes when the edit is taken back."""
    there = [line[0] for line in expected]
    back = [line[0] for line in differences(edited(*edits), POLICY)[0]]

    opposite = {"+": "-", "-": "+", "~": "~"}
    assert sorted(back) == sorted(opposite[sign] for sign in there)


def test_order_and_names_of_parameters_mean_nothing() -> None:
    """Rules in another order, with other parameters, are the same policy."""
    head, *rules = re.split(r"(?m)^(?=  - id: )", POLICY)
    turned = head + "".join(reversed(rules)).replace("{id}", "{note}")

    assert differences(POLICY, turned) == ([], [])


def test_renamed_rule_is_a_note() -> None:
    """A rule with another id and the same match differs in name only."""
    changes, notes = differences(POLICY, edited(("id: drop", "id: note-delete")))

    assert changes == []
    assert notes == ["the rule drop is called note-delete"]


def test_renamed_limit_is_a_note() -> None:
    """A limit with another name and the same rate differs in name only."""
    changes, notes = differences(
        POLICY, POLICY.replace("login:", "door:").replace("[login]", "[door]")
    )

    assert changes == []
    assert notes == ["the limit login is called door"]


def test_inline_limit_of_a_renamed_rule_is_the_same() -> None:
    """A limit without a name of its own is not another one when its rule is renamed."""
    before = edited((MORE, MORE + "    limits: [{rate: 1/hour}]\n"))
    changes, notes = differences(before, before.replace("id: file", "id: blob"))

    assert changes == []
    assert notes == [
        "the rule file is called blob",
        "the limit file#0 is called blob#0",
    ]


def test_more_specific_rule_takes_requests_away() -> None:
    """A new rule that shadows a part of another shows up by what it decides there."""
    shadow = "  - {id: mine, match: GET /notes/mine, allow: [student], backend: lms}\n"
    changes, notes = differences(POLICY, edited((MORE, MORE + shadow)))

    assert changes[:2] == [
        "- access: teacher loses: GET /notes/mine",
        (
            "+ plaintext: $.name of the answer passes as the backend sends it, no "
            "longer as name: GET /notes/mine"
        ),
    ]
    assert (
        "+ limits: api for student is loosened: 100/hour per subject -> unlimited: GET "
        "/notes/mine"
    ) in changes
    assert notes == ["GET /notes/mine is decided by mine, no longer by note"]


def test_crossing_rules_are_compared_where_they_cross() -> None:
    """Where two patterns cross, removing the winner leaves the other to decide."""
    cross = (
        "  - {id: ab, match: 'GET /x/{b}', allow: [teacher], backend: lms}\n"
        "  - {id: ba, match: 'GET /{a}/y', allow: anyone, backend: lms}\n"
    )
    one = "".join(cross.splitlines(keepends=True)[1:])
    changes, notes = differences(
        edited((MORE, MORE + cross)), edited((MORE, MORE + one))
    )

    assert changes == [
        "+ access: anyone gains: GET /x/y",
        "+ access: student gains: GET /x/y",
        "- access: teacher loses: GET /x/{b}",
    ]
    assert notes == ["GET /x/y is decided by ba, no longer by ab"]


def test_secrets_are_compared_and_not_shown() -> None:
    """A replaced secret is a change, whose value is nowhere."""
    found = compare(policy_of(POLICY), policy_of(edited(("${JWT_SECRET}", "${NEXT}"))))

    assert len(found.changes) == 1
    assert not any(secret in repr(found) for secret in SECRETS.values())


RULES = st.dictionaries(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "{x}"]), max_size=2),
        st.sampled_from(["a", "{y}", "{z...}"]),
    ).map(
        lambda parts: (
            "/"
            + "/".join(
                one.replace("x", f"x{place}")
                for place, one in enumerate((*parts[0], parts[1]))
            )
        )
    ),
    st.tuples(
        st.sampled_from(["GET", "POST", "*"]),
        st.sampled_from([[], ["student"], ["teacher"], ["student", "teacher"]]),
    ),
    min_size=1,
    max_size=4,
)
HEAD = {
    "version": "1",
    "backends": {"lms": {"servers": ["http://127.0.0.1:9000"]}},
    "roles": ["student", "teacher"],
    "issuers": {
        "lumina": {
            "issuer": "lumina",
            "audience": "lms",
            "algorithms": ["HS256"],
            "secret": "${JWT_SECRET}",
            "roles": "$.role",
        }
    },
}


def built(rules: dict[str, tuple[str, list[str]]]) -> Policy:
    """Compile rules of path to method and roles; those that cannot be are left out."""
    document = {
        **HEAD,
        "rules": [
            {"id": f"r{n}", "match": f"{method} {path}", "allow": allow or ANYONE}
            for n, (path, (method, allow)) in enumerate(rules.items())
        ],
    }
    try:
        return policy_of(json.dumps(document))
    except PolicyError:
        reject()


@given(RULES, RULES, st.lists(st.sampled_from(["a", "b", "c"]), max_size=3))
def test_no_change_of_access_goes_unnoticed(
    first: dict[str, tuple[str, list[str]]],
    second: dict[str, tuple[str, list[str]]],
    segments: list[str],
) -> None:
    """If anybody may do more or less with any path, a change of access says so."""
    old, new = built(first), built(second)
    path = "/" + "/".join(segments)
    changed = {
        (change.text, change.direction)
        for change in compare(old, new).changes
        if change.area is Area.ACCESS
    }

    for method, who in itertools.product(
        ("GET", "POST", "PUT"), (ANYONE, "student", "teacher")
    ):
        before, after = (
            decide(
                policy,
                method,
                path,
                without_token(policy, 0.0) if who == ANYONE else with_roles(who),
            ).refused
            is None
            for policy in (old, new)
        )
        if after and not before:
            assert (f"{who} gains", Direction.OPENS) in changed
        if before and not after:
            assert (f"{who} loses", Direction.CLOSES) in changed
