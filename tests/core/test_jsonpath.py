"""Which JSONPaths are taken, what is said of the others, and how paths share a tree."""

import pytest

from proxy.core.jsonpath import Node, Step, parse


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$", ()),
        ("$.name", ("name",)),
        ("$._a1.Ünï", ("_a1", "Ünï")),
        ("$['name']", ("name",)),
        ('$["name"]', ("name",)),
        ("$['a.b[0]']", ("a.b[0]",)),
        ("$['']", ("",)),
        ("$[0]", (0,)),
        ("$[12].a", (12, "a")),
        ("$['0']", ("0",)),
        ("$[*]", (None,)),
        ("$.*", (None,)),
        ("$.users[*].e_mail", ("users", None, "e_mail")),
        ("$ [ 'a' ] [ 0 ] .b", ("a", 0, "b")),
        (r"$['it\'s']", ("it's",)),
        ("$['say \"hi\"']", ('say "hi"',)),
        ('$["it\'s"]', ("it's",)),
        (r'$["say \"hi\""]', ('say "hi"',)),
        (r"$['\u00e9\\\/\n']", ("é\\/\n",)),
        (r"$['\ud83d\ude00']", ("😀",)),
        ("$[9007199254740991]", (2**53 - 1,)),
    ],
)
def test_supported_paths_become_steps(path: str, steps: tuple[Step, ...]) -> None:
    """Names, indexes and wildcards are read as RFC 9535 says."""
    assert parse(path) == steps


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("", "a path begins with \\$"),
        ("name", "a path begins with \\$"),
        ("$name", "not a JSONPath from character 2 on"),
        ("$.", "not a JSONPath from character 2 on"),
        ("$.a b", "not a JSONPath from character 4 on"),
        ("$.a ", "not a JSONPath from character 4 on"),
        ("$.1a", "not a JSONPath"),
        ("$.a-b", "not a JSONPath from character 4 on"),
        ("$[01]", "not a JSONPath"),
        ("$[a]", "not a JSONPath"),
        ("$[]", "not a JSONPath"),
        ("$['a]", "not a JSONPath"),
        ("$['a\n']", "not a JSONPath"),
        (r"$['\"']", "not a JSONPath"),
        (r'$["\'"]', "not a JSONPath"),
        ("$..a", "descendants"),
        ("$.a..*", "descendants"),
        ("$[?@.a]", "filters"),
        ("$[-1]", "indexes from the back"),
        ("$[1:2]", "slices"),
        ("$[::2]", "slices"),
        ("$[0,1]", "several selectors in one bracket"),
        ("$['a','b']", "several selectors in one bracket"),
        ("$[9007199254740992]", "an index is at most"),
        ("$[" + "9" * 5000 + "]", "an index is at most"),
        (r"$['\x']", "an escape in a quoted name is malformed"),
        (r"$['\u12']", "an escape in a quoted name is malformed"),
        (r"$['\ud800']", "an escape in a quoted name is malformed"),
    ],
)
def test_other_paths_are_explained(path: str, complaint: str) -> None:
    """What is not supported is refused with the path and the reason."""
    with pytest.raises(ValueError, match=complaint) as caught:
        parse(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$.a", "$.a.b"),
        ("$.a.b", "$.a"),
        ("$", "$.a"),
        ("$[*]", "$[0].b"),
        ("$.*", "$.a.b"),
        ("$.*.b", "$.a"),
        ("$.a[*].b.c", "$.a[3].b"),
        ("$.a", "$['a']"),
        ("$.a", "$.*"),
        ("$.*.x", "$.a.x"),
        ("$[*].x", "$[2].x"),
    ],
)
def test_overlapping_places_are_refused(one: str, other: str) -> None:
    """A leaf inside another, or with two fields, is refused and both are named."""
    with pytest.raises(ValueError, match="it selects what") as caught:
        Node.compile({one: "f", other: "g"})
    assert one in str(caught.value)
    assert other in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [("$.a", "$['a']"), ("$.a", "$.*"), ("$.*.x", "$.a.x"), ("$[*]", "$[1]")],
)
def test_one_leaf_may_be_named_twice_as_one_field(one: str, other: str) -> None:
    """Two paths to the same leaf are fine when they say the same of it."""
    assert Node.compile({one: "f", other: "f"}).field is None


def test_a_name_beside_a_wildcard_leads_to_the_places_of_both() -> None:
    """Below a named member, what the wildcard wants is wanted, too."""
    root = Node.compile({"$.*.secret": "f", "$.a.name": "g"})
    named = root.children["a"]
    assert {head: node.field for head, node in named.children.items()} == {
        "name": "g",
        "secret": "f",
    }


def test_no_places_are_a_tree_that_selects_nothing() -> None:
    """A selection without paths compiles."""
    root = Node.compile({})
    assert (root.field, root.children, root.rest) == (None, {}, None)
