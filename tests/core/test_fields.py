"""Paths, splicing, and the bodies that two parsers would read in two ways."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.fields import Selection, splice, steps_of
from proxy.core.reasons import Reason


def star(_: str, __: str) -> str:
    """Replace by a star."""
    return '"*"'


def keep(_: str, __: str) -> None:
    """Leave everything as it is."""


NAME = Selection.compile({"$.name": "user.name"})
DEEP = Selection.compile({"$.a.b[*].c": "x", "$.list[0]": "y", "$.wild.*": "z"})


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$.name", ("name",)),
        ("$['first name']", ("first name",)),
        ('$["é"].x', ("é", "x")),
        ("$[0][*].id", (0, None, "id")),
        ("$.*", (None,)),
        ("$.a_1[10]", ("a_1", 10)),
    ],
)
def test_paths_that_select_without_searching(
    path: str, steps: tuple[str | int | None, ...]
) -> None:
    """Names, indexes and wildcards are read."""
    assert steps_of(path) == steps


@pytest.mark.parametrize(
    "path",
    [
        "",
        "name",
        "$",
        "$..name",
        "$.a[-1]",
        "$.a[1:2]",
        "$[?@.x]",
        "$.",
        "$.1a",
        "$[01]",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    """What is not read is refused with a sentence."""
    with pytest.raises(ValueError, match=r"\$|none of"):
        steps_of(path)


@pytest.mark.parametrize(
    "places",
    [
        {"$.a": "x", "$.a.b": "y"},
        {"$.a[*]": "x", "$.a[0].b": "y"},
        {"$.*": "x", "$.a": "y"},
        {"$.a.b": "x", "$['a']['b']": "y"},
    ],
)
def test_two_paths_for_one_value_are_refused(places: dict[str, str]) -> None:
    """One value is one field."""
    with pytest.raises(ValueError, match="selects what"):
        Selection.compile(places)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"name":"Ada"}', b'{"name":"*"}'),
        (
            b' { "id" : 1.10 ,\n"name"\t: "A\\"da" } ',
            b' { "id" : 1.10 ,\n"name"\t: "*" } ',
        ),
        (b'{"name":{"a":[1,2]},"x":-0.0}', b'{"name":"*","x":-0.0}'),
        (b'{"n\\u0061me":1}', b'{"n\\u0061me":"*"}'),
        (b'{"x":{"name":"A"},"y":["name"]}', b'{"x":{"name":"A"},"y":["name"]}'),
        (b'{"name":null}', b'{"name":"*"}'),
        (
            b'{"big":' + b"9" * 5000 + b',"name":1}',
            b'{"big":' + b"9" * 5000 + b',"name":"*"}',
        ),
        ('{"é":"ü","name":"ñ"}'.encode(), '{"é":"ü","name":"*"}'.encode()),
        (b'["name"]', b'["name"]'),
        (b'"name"', b'"name"'),
        (b"{}", b"{}"),
        (b"{ }", b"{ }"),
    ],
)
def test_only_the_selected_value_changes(body: bytes, expected: bytes) -> None:
    """Spaces, order, numbers and escapes are the sender's."""
    assert splice(body, NAME, star) == expected


def test_lists_indexes_and_wildcards() -> None:
    """Each path selects what it names, in the order of the body."""
    seen: list[tuple[str, str]] = []

    def note(field: str, leaf: str) -> None:
        seen.append((field, leaf))

    body = (
        b'{"wild":{"p":1,"q":[2]},"list":[3,4],"a":{"b":[{"c":5},{"d":6},[],{"c":7}]}}'
    )

    assert splice(body, DEEP, note) == body
    assert seen == [("z", "1"), ("z", "[2]"), ("y", "3"), ("x", "5"), ("x", "7")]
    assert DEEP.fields == {"x", "y", "z"}


BROKEN = [
    b"",
    b" ",
    b"{",
    b'{"name"',
    b'{"name":',
    b'{"name":}',
    b'{"name":1',
    b'{"name":1,}',
    b'{"name" 1}',
    b'{"name":1 "x":2}',
    b'{"a":1}}',
    b'{"a":1} {}',
    b"{'a':1}",
    b"{a:1}",
    b"[1,]",
    b"[1 2]",
    b"[",
    b"nul",
    b"01",
    b"+1",
    b".5",
    b"NaN",
    b"Infinity",
    b'{"x":-Infinity}',
    b'"\n"',
    b'{"x":"\x01"}',
    b'{"x":"\\x"}',
    b'{"\\x":1}',
    b'{"x\\u":1}',
    b'{"name":"a',
    b"\xef\xbb\xbf{}",
    b'{"x":"\xff"}',
    b"\xfe\xff\x00{\x00}",
    b'{"name":1,"name":2}',
    b'{"name":1,"n\\u0061me":2}',
    b'{"x":{"y":1,"y":2}}',
    b'[{"y":1,"y":2}]',
    b"[" * 65 + b"]" * 65,
    b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"x":' * 70 + b"1" + b"}" * 70,
]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("selection", [NAME, DEEP], ids=["flat", "deep"])
def test_what_can_be_read_in_two_ways_is_refused(
    body: bytes, selection: Selection
) -> None:
    """Such a body is refused whole, and the detail never shows what it held."""
    with pytest.raises(Refused) as refused:
        splice(body, selection, keep)

    assert refused.value.reason is Reason.BODY_NOT_JSON
    assert "name" not in refused.value.detail


def test_sixty_levels_are_fine() -> None:
    """The bound on depth is beyond what real bodies have."""
    body = b"[" * 60 + b'"[[[[[[[["' + b"]" * 60

    assert splice(body, NAME, keep) == body


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "b", "c", "list", "wild", "name"]) | st.text(), inner
        )
    ),
    max_leaves=20,
)
SPACES = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])


def replaced(value: Any, selection: Selection) -> Any:
    """Replace by star, the slow way: on a tree, path by path."""

    def walk(node: Any, steps: tuple[str | int | None, ...]) -> Any:
        if not steps:
            return "*"
        step, rest = steps[0], steps[1:]
        if isinstance(node, dict):
            return {
                key: walk(one, rest) if step is None or step == key else one
                for key, one in node.items()
            }
        if isinstance(node, list):
            return [
                walk(one, rest) if step is None or step == index else one
                for index, one in enumerate(node)
            ]
        return node

    for path, _ in selection.places:
        value = walk(value, steps_of(path))
    return value


@given(JSON_VALUES, SPACES, st.booleans(), st.sampled_from([NAME, DEEP]))
def test_splicing_is_replacing_in_the_tree(
    value: Any, separators: tuple[str, str], escape: object, selection: Selection
) -> None:
    """The fast walk and the slow one agree, and an identity changes no byte."""
    text = json.dumps(value, separators=separators, ensure_ascii=bool(escape))
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate cannot be sent unescaped

    assert splice(body, selection, keep) == body
    assert json.loads(splice(body, selection, star)) == replaced(value, selection)
