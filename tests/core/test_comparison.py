"""What two policies decide differently."""

import itertools
import json
import re

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from proxy.core.errors import PolicyError
from proxy.core.policy import ANYONE, Policy
from proxy.core.workbench.comparison import compare
from proxy.core.workbench.decision import decide, with_roles, without_token
from proxy.core.workbench.diff_changes import Area, Direction
from tests.core.differences import MORE, POLICY, differences, edited, policy_of
from tests.core.test_diff_limits import EDITS as LIMITS
from tests.core.test_diff_parts import EDITS as PARTS

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
]


@pytest.mark.parametrize(("edits", "expected"), EDITS)
def test_edit_is_told_in_meaning(
    edits: list[tuple[str, str]], expected: list[str]
) -> None:
    """Each edit of a policy is the difference that it makes, and no other."""
    assert differences(POLICY, edited(*edits)) == (expected, [])


@pytest.mark.parametrize(("edits", "expected"), [*EDITS, *LIMITS, *PARTS])
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


def test_rule_that_moves_to_another_port_is_lost_and_gained() -> None:
    """Its path says at which."""
    old = POLICY.replace(
        "backends:", 'listeners: {egress: {listen: "127.0.0.1:8081"}}\nbackends:', 1
    )
    new = old.replace("id: form", "id: form\n    listener: egress")
    changes, notes = differences(old, new)

    assert [one for one in changes if "anyone" in one] == [
        "+ access: anyone gains: POST /form at egress",
        "- access: anyone loses: POST /form",
    ]
    assert notes == []
