"""Splicing: the selected leaves are replaced, and nothing else changes."""

import dataclasses
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.fields import REMOVED, Selection, splice
from proxy.core.jsonpath import Node, Step, parse
from proxy.core.reasons import Reason

MARK = '"\N{PILCROW SIGN}"'
"""What no generated body holds."""


def leaves(selection: Selection, body: bytes) -> list[tuple[str, str]]:
    """Return what ``replace`` is called with, having checked that None changes nothing.

    Splicing in marks must leave exactly the text between the leaves.
    """
    found: list[tuple[str, str]] = []
    assert splice(body, selection, lambda *leaf: found.append(leaf)) == body
    marked = splice(body, selection, lambda _, __: MARK).decode().split(MARK)
    texts = [text for _, text in found]
    woven = [part for pair in zip(marked, [*texts, ""], strict=True) for part in pair]
    assert "".join(woven).encode() == body
    return found


@pytest.mark.parametrize(
    ("places", "body", "expected"),
    [
        ({"$.a": "f"}, '{"a":1}', [("f", "1")]),
        ({"$.a": "f"}, '{ "a"\t:\n1.10 , "b":-0}', [("f", "1.10")]),
        ({"$.a": "f"}, '{"a":{"b":[1, 2]}}', [("f", '{"b":[1, 2]}')]),
        ({"$.a": "f"}, '{"a":""}', [("f", '""')]),
        ({"$.a": "f"}, '{"a":null}', [("f", "null")]),
        ({"$.a": "f"}, '{"A":1}', []),
        ({"$.a": "f"}, '{"b":{"a":1}}', []),
        ({"$.a": "f"}, '[{"a":1}]', []),
        ({"$.a": "f"}, '"a"', []),
        ({"$.a.b": "f"}, '{"a":"b"}', []),
        ({"$.a[0]": "f"}, '{"a":{"0":1}}', []),
        ({"$['0']": "f"}, "[1]", []),
        ({"$.a": "f"}, '{"x":{"a":0},"a":1}', [("f", "1")]),
        ({"$.a": "f"}, '{"x":"a","a":1}', [("f", "1")]),
        ({"$.a": "f"}, '{"x":["a"],"a":1}', [("f", "1")]),
        ({"$.a": "f"}, r'{"x\"a":0,"a":1}', [("f", "1")]),
        ({"$.a": "f"}, r'{"x":"\"a","a":1}', [("f", "1")]),
        ({"$.a": "f"}, r'{"x":{"a":0},"\u0061":1}', [("f", "1")]),
        ({"$.a": "f"}, r'{"\u0061":1}', [("f", "1")]),
        ({"$['a/b']": "f"}, r'{"x":{"a/b":0},"a\/b":1}', [("f", "1")]),
        ({"$['é']": "f"}, '{"ü":"ö","é":"ä"}', [("f", '"ä"')]),
        ({"$.b": "f", "$.a": "g"}, '{"a":1,"b":2}', [("g", "1"), ("f", "2")]),
        ({"$.a.x": "f", "$.b.x": "g"}, '{"b":{"x":1},"a":{}}', [("g", "1")]),
        ({"$.a.b.a": "f"}, '{"a":{"b":{"a":1}}}', [("f", "1")]),
        ({"$.a.b.a": "f"}, '{"a":{"b":{"a":{"a":2}}}}', [("f", '{"a":2}')]),
        ({"$[*].a": "f"}, '[{"a":1},{},{"a":2},3]', [("f", "1"), ("f", "2")]),
        ({"$[*].a": "f"}, '[{"a":1},{"b":{"a":3}}]', [("f", "1")]),
        ({"$.u[*].a": "f"}, '{"u":[{"a":1}]}', [("f", "1")]),
        ({"$.u[*].a": "f"}, '{"u":{"k":{"a":1}}}', [("f", "1")]),
        ({"$.u[*][*].a": "f"}, '{"u":[[{"a":1}],[]]}', [("f", "1")]),
        ({"$[*]": "f"}, '[1 , "a",[2]]', [("f", "1"), ("f", '"a"'), ("f", "[2]")]),
        ({"$.*": "f"}, '{"a":1, "b":[]}', [("f", "1"), ("f", "[]")]),
        ({"$[*]": "f"}, "[]", []),
        ({"$[*]": "f"}, "{ }", []),
        ({"$[1]": "f"}, "[0, 1 ,2]", [("f", "1")]),
        ({"$[1]": "f"}, "[0]", []),
        ({"$[1].a": "f"}, '[0,{"a":1},{"a":2}]', [("f", "1")]),
        ({"$[0].a": "f", "$[*].b": "g"}, '[{"a":1,"b":2},{"a":3}]', None),
        ({"$.*.b": "f", "$.a.c": "g"}, '{"a":{"b":1,"c":2},"d":{"c":3}}', None),
        ({"$": "f"}, ' {"a": 1} ', [("f", '{"a": 1}')]),
        ({}, '{"a":1}', []),
    ],
)
def test_places_select_leaves(
    places: dict[str, str], body: str, expected: list[tuple[str, str]] | None
) -> None:
    """Exactly the named leaves are found, in the order of the body."""
    expected = [("f", "1"), ("g", "2")] if expected is None else expected
    assert leaves(Selection.compile(places), body.encode()) == expected


@pytest.mark.parametrize(
    ("places", "body", "expected"),
    [
        ({"$.a": "f"}, '{"a":1}', "{}"),
        ({"$.a": "f"}, '{ "a" : 1 }', "{  }"),
        ({"$.a": "f"}, '{"a":1,"b":2}', '{"b":2}'),
        ({"$.a": "f"}, '{"b":2 , "a":1 }', '{"b":2  }'),
        ({"$.a": "f"}, '{"b":2,"a":1,"c":3}', '{"b":2,"c":3}'),
        ({"$.a": "f", "$.b": "f"}, '{"a":1, "b":2}', "{}"),
        ({"$.a": "f", "$.b": "f"}, '{"c":0,"a":1,"b":2}', '{"c":0}'),
        ({"$.a": "f", "$.c": "f"}, '{"a":1,"b":2,"c":3}', '{"b":2}'),
        ({"$[*]": "f"}, "[1, 2 ,3]", "[]"),
        ({"$[0]": "f"}, "[1,2]", "[2]"),
        ({"$[1]": "f"}, "[1,2]", "[1]"),
        ({"$": "f"}, ' {"a":1} ', " null "),
        ({"$['a:\"b\\\\']": "f"}, '{"x":":","a:\\"b\\\\":1}', '{"x":":"}'),
        ({"$['\\\\']": "f"}, '{"\\\\":1,"b":2}', '{"b":2}'),
        ({"$.a.b": "f"}, '{"a":{"b":1},"c":[]}', '{"a":{},"c":[]}'),
    ],
)
def test_a_leaf_can_be_removed(
    places: dict[str, str], body: str, expected: str
) -> None:
    """The member goes with its name and one comma; what is left is JSON."""
    selection = Selection.compile(places)
    spliced = splice(body.encode(), selection, lambda *_: REMOVED).decode()

    assert spliced == expected
    loads(spliced)


def test_numbers_survive_untouched() -> None:
    """Digits that no float and no int conversion could keep are kept."""
    long = b"9" * 10_000
    body = b'{"n":%b,"a":-0.0,"f":1.10e+00}' % long
    selection = Selection.compile({"$.a": "f"})
    assert splice(body, selection, lambda *_: "1") == body.replace(b"-0.0", b"1")


@pytest.mark.parametrize(
    "leaf",
    [r'"\ud800"', r'"\uDC00\ud800"', r'["\udfff"]', r'{"\ud800":1}', r'"\\\ud83d "'],
)
def test_half_characters_are_refused_in_leaves_only(leaf: str) -> None:
    """Half of a surrogate pair has no UTF-8, which matters where we encrypt."""
    body = f'{{"a":1, "b":{leaf}}}'.encode()
    assert leaves(Selection.compile({"$.a": "f"}), body) == [("f", "1")]
    with pytest.raises(Refused) as caught:
        splice(body, Selection.compile({"$.b": "f"}), lambda *_: MARK)
    assert caught.value.reason is Reason.BODY_NOT_JSON
    assert "surrogate pair, at byte 12" in caught.value.detail


@pytest.mark.parametrize("leaf", [r'"\\ud800"', r'"\ud83d\ude00"', r'"\u0000"'])
def test_other_escapes_in_leaves_are_fine(leaf: str) -> None:
    """Whole surrogate pairs, and backslashes before a u, are text like any other."""
    body = f'{{"b":{leaf}}}'.encode()
    assert leaves(Selection.compile({"$.b": "f"}), body) == [("f", leaf)]


def test_nothing_is_replaced_in_a_refused_body() -> None:
    """A body with a late mistake is refused before the first replacement."""
    selection = Selection.compile({"$.a": "f"})
    called: list[tuple[str, str]] = []
    with pytest.raises(Refused):
        splice(b'{"a":1,"b":{"c":1,"c":2}}', selection, lambda *a: called.append(a))
    assert called == []


def test_a_selection_knows_its_fields() -> None:
    """The logical fields are listed once each, and places compare by what they say."""
    places = {"$.a": "f", "$.b": "f", "$.c": "g"}
    selection = Selection.compile(places)
    assert selection.fields == {"f", "g"}
    assert selection == Selection.compile(places)
    assert "Node" not in repr(selection)


# The properties: any body, written in any way, against a slow and plain reference.

NAMES = ["a", "b", "email", 'q"', "s/", "é"]

_blank = st.text(alphabet=" \t\r\n", max_size=2)


@st.composite
def _string(draw: st.DrawFn, text: str) -> str:
    """Write a string, each character as it stands or escaped."""
    return '"' + "".join(draw(_character(one)) for one in text) + '"'


def _character(one: str) -> st.SearchStrategy[str]:
    spellings = [json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1]]
    if one == "/":
        spellings.append("\\/")
    if one <= "\uffff":
        spellings.append(f"\\u{ord(one):04X}")
    # Shorter ones first and more often, for most bodies have no escapes.
    return st.sampled_from([spellings[1]] * 20 + spellings)


@st.composite
def _json(draw: st.DrawFn, depth: int = 4) -> str:
    """Write a JSON text with any white space."""
    kind = draw(st.sampled_from(["object", "object", "array", "scalar"]))
    if kind == "scalar" or depth == 0:
        words = ["null", "true", "0", "-1.50e+3", "12345678901234567890123", '""']
        # Hypothesis tries what it finds in the sources, this file's mark included.
        other = st.text(max_size=5).filter(lambda text: MARK.strip('"') not in text)
        text = draw(st.sampled_from(NAMES) | other)
        return draw(st.sampled_from(words) | _string(text))
    items = draw(st.lists(_json(depth - 1), max_size=4))
    if kind == "object":
        names = draw(st.permutations(NAMES))
        items = [
            f"{draw(_string(name))}{draw(_blank)}:{draw(_blank)}{item}"
            for name, item in zip(names, items, strict=False)
        ]
    inside = ",".join(f"{draw(_blank)}{item}{draw(_blank)}" for item in items)
    return f"{{{inside}}}" if kind == "object" else f"[{inside}]"


_path = st.lists(
    st.sampled_from([*(f"[{json.dumps(n)}]" for n in NAMES), "[*]", ".*", "[0]", "[2]"])
    | st.just("[*]"),
    max_size=4,
).map(lambda steps: "$" + "".join(steps))


@st.composite
def _selection(draw: st.DrawFn) -> Selection:
    """Draw places, leaving out what overlaps."""
    places: dict[str, str] = {}
    for path in draw(st.lists(_path, max_size=5, unique=True)):
        trial = {**places, path: draw(st.sampled_from(["f", "g"]))}
        try:
            Selection.compile(trial)
        except ValueError:
            continue
        places = trial
    return Selection.compile(places)


def reference(value: Any, steps: tuple[Step, ...], mark: str) -> Any:
    """Return ``value`` with ``mark`` at a path, slowly and plainly."""
    if not steps:
        return mark
    head, rest = steps[0], steps[1:]
    if isinstance(value, dict) and not isinstance(head, int):
        return {
            name: reference(one, rest, mark) if head in {None, name} else one
            for name, one in value.items()
        }
    if isinstance(value, list) and not isinstance(head, str):
        return [
            reference(one, rest, mark) if head in {None, index} else one
            for index, one in enumerate(value)
        ]
    return value


def loads(text: bytes | str) -> Any:
    """Read JSON with numbers as text, and members in their order."""
    return json.loads(text, parse_int=str, parse_float=str)


@given(_json(), _selection())
def test_splicing_equals_the_reference(text: str, selection: Selection) -> None:
    """Whatever the body and the paths, what is replaced is what the paths name."""
    body = text.encode()
    leaves(selection, body)
    expected = loads(text)
    for path, field in selection.places:
        expected = reference(expected, parse(path), field)
    spliced = splice(body, selection, lambda field, _: f'"{field}"')
    assert json.dumps(loads(spliced)) == json.dumps(expected)


GONE = object()


def without(value: Any, paths: list[tuple[Step, ...]]) -> Any:
    """Return ``value`` without what the paths lead to, slowly and plainly."""
    if () in paths:
        return GONE

    def tails(step: Step) -> list[tuple[Step, ...]]:
        return [path[1:] for path in paths if path[0] in {None, step}]

    if isinstance(value, dict):
        kept = {name: without(one, tails(name)) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one is not GONE}
    if isinstance(value, list):
        items = [without(one, tails(index)) for index, one in enumerate(value)]
        return [one for one in items if one is not GONE]
    return value


@given(_json(), _selection())
def test_removing_equals_the_reference(text: str, selection: Selection) -> None:
    """Whatever the body and the paths, what is removed is gone, and nothing else."""
    paths = [parse(path) for path, _ in selection.places]
    expected = without(loads(text), paths)
    spliced = splice(text.encode(), selection, lambda *_: REMOVED)

    assert json.dumps(loads(spliced)) == json.dumps(
        None if expected is GONE else expected
    )


@given(_json(), _selection(), st.randoms(use_true_random=False))
def test_removing_some_and_replacing_others(
    text: str, selection: Selection, chance: Random
) -> None:
    """Removed, replaced and kept leaves may stand side by side in any order."""
    fates: list[str | None] = []

    def replace(_field: str, _leaf: str) -> str | None:
        fates.append(chance.choice([REMOVED, MARK, None]))
        return fates[-1]

    spliced = splice(text.encode(), selection, replace)
    loads(spliced)

    assert spliced.decode().count(MARK) == fates.count(MARK)


def unsearchable(node: Node) -> Node:
    """Return the tree without what text search needs."""
    return dataclasses.replace(
        node,
        children={step: unsearchable(child) for step, child in node.children.items()},
        rest=node.rest and unsearchable(node.rest),
        needles=None,
        elements=None,
    )


@given(_json(), _selection())
def test_searching_equals_walking(text: str, selection: Selection) -> None:
    """Text search finds exactly the leaves that the walk finds."""
    walking = dataclasses.replace(selection, root=unsearchable(selection.root))
    body = text.encode()
    assert leaves(selection, body) == leaves(walking, body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("$.name", '{"name": "a", "Name": "b"}'),
        ("$.name", '{"NAME": "b"}'),
        ("$.name", '{"n\\u0041me": "b"}'),
        ("$.link", '{"lin\u212a": "b"}'),
        ("$.user.name", '{"User": {"name": "b"}}'),
        ("$.items[*].name", '{"items": [{}, {"nAme": "b"}]}'),
        ("$.items[1].name", '{"items": [{}, {"nAme": "b"}]}'),
        ("$.*.name", '{"x": {"Name": "b"}}'),
    ],
)
def test_another_case_of_a_name_is_refused_if_exact(path: str, body: str) -> None:
    """To services that ignore case it is the same name, and would be in plain."""
    selection = Selection.compile({path: "f"})
    with pytest.raises(Refused) as refused:
        splice(body.encode(), selection, lambda _, leaf: leaf, exact=True)

    assert refused.value.reason is Reason.BODY_NOT_JSON
    assert splice(body.encode(), selection, lambda _, __: None) == body.encode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("$.user.name", '{"Name": "b", "user": {"name": "a"}}'),
        ("$.user", '{"user": {"User": "b"}}'),
        ("$.items[0].name", '{"items": [{}, {"NAME": "b"}], "n": 1}'),
        ("$.name", '["NAME"]'),
        ("$.user.name", '{"user": 3}'),
    ],
)
def test_another_case_elsewhere_is_not_meant(path: str, body: str) -> None:
    """Only where the path leads could it be taken for the selected name."""
    selection = Selection.compile({path: "f"})

    assert splice(body.encode(), selection, lambda _, __: None, exact=True) == (
        body.encode()
    )
