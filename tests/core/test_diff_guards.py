"""How differ what two rules ask beside a role."""

import pytest

from tests.core.differences import POLICY, differences

DROP = "    match: DELETE /notes/{id}\n    allow: [teacher]\n"


def asking(*lines: str) -> str:
    """Return the policy, in which one rule asks for something more."""
    assert DROP in POLICY
    return POLICY.replace(DROP, DROP + "".join(f"    {line}\n" for line in lines))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "mode: shadow", "+ rules: nothing of it is enforced: mode: shadow"),
        ("mode: shadow", "", "- rules: it is enforced, no longer in shadow mode"),
        ("", "scopes: [write]", "- rules: the scope write is needed"),
        ("scopes: [write]", "", "+ rules: the scope write is no longer needed"),
        (
            "",
            "require: {acr: mfa, max_age: 1m}",
            "- rules: require: nothing -> acr is mfa and the log-in is at most 60s ago",
        ),
        ("require: {amr: otp}", "", "+ rules: require: amr has otp -> nothing"),
        ("", "owner: id", "- rules: owner: nothing -> id"),
        ("owner: id", "", "+ rules: owner: id -> nothing"),
        ("", "when: role == 'a'", "- rules: when: nothing -> role == 'a'"),
        (
            "when: role == 'a'",
            "when: role == 'b'",
            "~ rules: when: role == 'a' -> role == 'b'",
        ),
        (
            "",
            "addresses: {allow: [10.0.0.0/8]}",
            "- rules: where requests may come from: anywhere -> 10.0.0.0/8",
        ),
        (
            "addresses: {allow: [10.0.0.0/8]}",
            "addresses: {allow: [10.1.0.0/16]}",
            "- rules: where requests may come from: 10.0.0.0/8 -> 10.1.0.0/16",
        ),
        (
            "addresses: {allow: [10.1.0.0/16]}",
            "addresses: {allow: [10.0.0.0/8]}",
            "+ rules: where requests may come from: 10.1.0.0/16 -> 10.0.0.0/8",
        ),
        (
            "addresses: {allow: [10.1.0.0/16]}",
            "addresses: {allow: [10.2.0.0/16]}",
            "~ rules: where requests may come from: 10.1.0.0/16 -> 10.2.0.0/16",
        ),
        (
            "addresses: {allow: [10.0.0.0/8]}",
            "",
            "+ rules: where requests may come from: 10.0.0.0/8 -> anywhere",
        ),
        (
            "",
            "addresses: {deny: [10.0.0.0/8]}",
            "- rules: where requests may not come from: nowhere -> 10.0.0.0/8",
        ),
        (
            "addresses: {deny: [10.0.0.0/8]}",
            "addresses: {deny: [10.1.0.0/16]}",
            "+ rules: where requests may not come from: 10.0.0.0/8 -> 10.1.0.0/16",
        ),
        (
            "addresses: {deny: [10.1.0.0/16]}",
            "addresses: {deny: [10.1.0.0/16, 10.2.0.0/16]}",
            (
                "- rules: where requests may not come from: 10.1.0.0/16 -> "
                "10.1.0.0/16 and 10.2.0.0/16"
            ),
        ),
        (
            "addresses: {deny: [10.1.0.0/16]}",
            "addresses: {deny: [10.2.0.0/16]}",
            "~ rules: where requests may not come from: 10.1.0.0/16 -> 10.2.0.0/16",
        ),
        (
            "addresses: {deny: [10.0.0.0/8]}",
            "",
            "+ rules: where requests may not come from: 10.0.0.0/8 -> nowhere",
        ),
    ],
    ids=range(20),
)
def test_asking_for_more_closes(old: str, new: str, expected: str) -> None:
    """And for less opens; what is neither is a change."""
    changes, _ = differences(asking(*filter(None, [old])), asking(*filter(None, [new])))

    assert changes == [f"{expected}: DELETE /notes/{{id}}"]


def test_the_same_in_other_words_is_no_difference() -> None:
    """Addresses are compared, and not how they are written."""
    one = asking("addresses: {allow: [10.0.0.0/9, 10.128.0.0/9]}", "owner: id")
    other = asking("owner: id", "addresses: {allow: [10.0.0.0/8]}")

    assert differences(one, other) == ([], [])


def test_policy_in_shadow_mode_passes_what_no_rule_matches() -> None:
    """Which is more than its rules say, and is told of the policy as a whole."""
    one = POLICY.replace('  files: {servers: ["http://127.0.0.1:9001"]}\n', "").replace(
        "backend: files", "backend: lms"
    )
    shadow = one.replace("version: 1", "version: 1\nmode: shadow")
    opened, _ = differences(one, shadow)
    closed, _ = differences(shadow, one)

    assert opened[0] == "+ access: what no rule matches is passed"
    assert closed[0] == "- access: what no rule matches is refused"
