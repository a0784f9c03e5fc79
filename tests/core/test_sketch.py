"""Drafts of policies: every one passes the check, whatever it is drafted from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench.sketch import (
    Operation,
    draft,
    pattern_of,
    quoted,
    role_name,
    roomy,
    rule_id,
)

SECRETS = {"JWT_SECRET": "c0ffee" * 12}


def policy_of(text: str) -> Policy:
    """Compile a draft; PolicyError fails the test."""
    return parse_policy([("draft.yaml", text)], SECRETS)[0]


def test_draft_says_what_was_found() -> None:
    """Rules for methods of one path, their roles, limits with room, and fields."""
    person = {"$.email": "email"}
    text = draft(
        [
            Operation(
                method="GET",
                path="/users/{id}",
                roles=("teacher", "admin"),
                hourly=30,
                seen=12,
                response=person,
            ),
            Operation(
                method="PUT",
                path="/users/{id}",
                roles=("admin", "teacher"),
                scopes=("users.write",),
                request=person,
                response=person,
            ),
            Operation(method="POST", path="/login", name="logIn", hourly=4),
            Operation(method="HEAD", path="/users/{id}"),
            Operation(method="GET", path="/a//b"),
            Operation(method="BREW", path="/coffee"),
            Operation(method="GET", path="/users/{name}", roles=("x",)),
            Operation(method="GET", path="/jobs;run"),
        ],
        source="a test",
        backend="http://lms:9000",
    )
    policy = policy_of(text)
    rules = {rule.id: rule for rule in policy.rules}

    assert sorted(rules) == ["get-users-id", "log-in", "put-users-id"]
    assert rules["get-users-id"].allow == frozenset({"teacher", "admin"})
    assert rules["log-in"].allow is None
    assert all(rule.shadow for rule in policy.rules)
    assert "limits: [{rate: 100/hour, per: subject}]  # 30 seen" in text
    assert "limits: [{rate: 10/hour, per: client}]  # 4 seen" in text
    assert '"$.email": person.email' in text
    assert policy.backends["lms"].servers[0].host == "lms"
    assert "# Left out: GET /a//b: the path '/a//b' has an empty segment" in text
    assert "# Left out: BREW /coffee: a rule cannot be for that" in text
    assert "# Left out: GET /users/{name}: as another one" in text
    assert "# Left out: GET /jobs;run: such a path can be read in two ways" in text


def test_operations_that_say_the_same_are_one_rule() -> None:
    """Their methods in one order, their numbers together."""
    text = draft(
        [
            Operation(method="PUT", path="/a", hourly=3, seen=2),
            Operation(method="GET", path="/a", hourly=7, seen=5),
        ],
        source="a test",
    )
    [rule] = policy_of(text).rules

    assert rule.methods == {"GET", "PUT"}
    assert "# 7 requests seen" in text
    assert "rate: 20/hour" in text


def test_nothing_is_drafted_from_nothing() -> None:
    """Rather than a policy that the check refuses."""
    with pytest.raises(ValueError, match="there is nothing in it"):
        draft([Operation(method="GET", path="/a//b")], source="a test")


words = st.text(max_size=12)
places = st.dictionaries(
    st.sampled_from(["$.a", "$.a.b", "$[*].a", "$['x y']", "$.*", "$", "no path"]),
    st.sampled_from(["email", "name"]),
)
operations = st.builds(
    Operation,
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "TRACE", "x"]),
    path=st.lists(
        st.sampled_from(["a", "b", "{a}", "{a-b}", "{x}.json", "", "..", "*", "ü"])
        | words.filter(lambda word: "/" not in word),
        max_size=5,
    ).map(lambda segments: "/" + "/".join(segments)),
    name=words,
    roles=st.lists(words | st.sampled_from(["student", "anyone"]), max_size=2).map(
        tuple
    ),
    scopes=st.lists(st.sampled_from(["a.b", "c:d"]), max_size=2, unique=True).map(
        tuple
    ),
    hourly=st.integers(0, 10**7),
    seen=st.integers(0, 10**7),
    request=places,
    response=places,
)


@given(st.lists(operations, max_size=8))
def test_every_draft_passes_the_check(given_operations: list[Operation]) -> None:
    """Whatever paths, names, roles and members a document holds."""
    known = Operation(method="GET", path="/known")
    text = draft([known, *given_operations], source="a test")

    assert policy_of(text).rules


@given(words)
def test_quoted_text_means_itself(text: str) -> None:
    """In YAML, for any text that YAML can hold."""
    import yaml  # noqa: PLC0415 - the other reading of it

    printable = "".join(one for one in text if one.isprintable())
    assert yaml.safe_load(quoted(printable)) == printable or printable.lower() in (
        *("y", "n", "yes", "no", "on", "off", "true", "false", "null"),
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/users/{user-id}", "/users/{user_id}"),
        ("/a/{x}/{x}", "/a/{x}/{x2}"),
        ("/a/{}", "/a/{id}"),
        ("/a/{1}", "/a/{_1}"),
        ("a/{b}.{c}", "/a/{b_c}"),
        ("/a/{b", "/a/{id}"),
    ],
)
def test_template_becomes_a_pattern(path: str, expected: str) -> None:
    """Parameters are whole segments, each with a name of its own."""
    assert pattern_of(path) == expected


def test_names_are_made_to_fit() -> None:
    """Ids are unique, roles are words, rates are round."""
    taken: set[str] = set()

    assert [rule_id(one, taken) for one in ("getUser", "get user", "/", "x" * 80)] == [
        *("get-user", "get-user-2", "root"),
        "x" * 56,
    ]
    assert [role_name(one) for one in ("a b", "", "default", "ü")] == [
        *("a-b", "user", "user", "-"),
    ]
    assert [roomy(one) for one in (0, 5, 6, 50, 51, 9_999)] == [
        *(10, 10, 20, 100, 200, 20_000),
    ]
