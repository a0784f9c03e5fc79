"""How limits of two policies differ."""

import pytest

from tests.core.differences import MORE, POLICY, differences, edited

EDITS = [
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
        [("rate: 5/minute,", "rate: 5/minute, on_store_failure: allow,")],
        [
            (
                "+ limits: login is loosened: 5/minute per client -> 5/minute per "
                "client, allow without the store: POST /login, POST /form"
            )
        ],
        id="allowed-without-the-store",
    ),
    pytest.param(
        [("rate: 5/minute,", "rate: 5/minute, on_store_failure: deny,")],
        [
            (
                "- limits: login is tightened: 5/minute per client -> 5/minute per "
                "client, deny without the store: POST /login, POST /form"
            )
        ],
        id="denied-without-the-store",
    ),
    pytest.param(
        [("rate: 5/minute,", "rate: 5/minute, precision: leased,")],
        [
            (
                "~ limits: login is changed: 5/minute per client -> 5/minute per "
                "client, leased: POST /login, POST /form"
            )
        ],
        id="leased",
    ),
    pytest.param(
        [
            ("limits: [login]", "limits: [door]"),
            ("  api:", "  door: {rate: 5/minute, per: client}\n  api:"),
        ],
        ["+ limits: the bucket of login is split: door and login have their own"],
        id="bucket-split",
    ),
]


@pytest.mark.parametrize(("edits", "expected"), EDITS)
def test_limit_is_compared_by_rate_and_bucket(
    edits: list[tuple[str, str]], expected: list[str]
) -> None:
    """A limit is looser or tighter by its rate and burst, for each role."""
    assert differences(POLICY, edited(*edits)) == (expected, [])


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
