"""YAML as a tree of strings: what is read, where it is, and what is refused."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.yaml_source import (
    MAX_DEPTH,
    Listing,
    Node,
    Place,
    Scalar,
    Table,
    read_yaml,
    variables,
)

SECRET = "hush-hush-hush"
ENVIRONMENT = {"NAME": "ada", "SECRET": SECRET, "EMPTY": "", "BELL": "\a"}


def plain(node: Node | None) -> Any:
    """Return a tree as strings, lists and dictionaries; None for what was refused."""
    match node:
        case Scalar():
            return node.text
        case Listing():
            return [plain(item) for item in node.items]
        case Table():
            return {key: plain(value) for key, value in node.values.items()}
        case _:
            return None


def read(text: str, environment: Mapping[str, str] = ENVIRONMENT) -> Any:
    """Return the tree of a text without findings."""
    root, findings = read_yaml("p.yaml", text, environment)
    assert findings == []
    return plain(root)


def findings_of(text: str) -> list[str]:
    """Return the findings of a text, a line each."""
    _, findings = read_yaml("p.yaml", text, ENVIRONMENT)
    assert all(one.severity == "error" for one in findings)
    return [str(one).removeprefix("p.yaml:") for one in findings]


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("no", "no"),
        ("[yes, On, null, ~, NULL]", ["yes", "On", "null", "~", "NULL"]),
        (
            "[1:30, 010, 0x1F, 1_000, .5, 1e3]",
            ["1:30", "010", "0x1F", "1_000", ".5", "1e3"],
        ),
        ("[2026-01-01, .inf, .nan]", ["2026-01-01", ".inf", ".nan"]),
        ("{1: a, yes: b}", {"1": "a", "yes": "b"}),
        ("a: ", {"a": ""}),
        ("a: ''", {"a": ""}),
        ("a: b\nc: d\n", {"a": "b", "c": "d"}),
        ("a:\n  - b\n  - - c\n    - d\n", {"a": ["b", ["c", "d"]]}),
        ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        ("a: >-\n  b\n  c\n", {"a": "b c"}),
        (r'"\x41\u00e9\U0001f600"', "Aé😀"),
        ("'it''s'", "it's"),
        ("a: b # c", {"a": "b"}),
        ("[]", []),
        ("{}", {}),
        ("---\na\n...\n", "a"),
        ("'<<'", "<<"),
        ("ä: ö\t", {"ä": "ö"}),
    ],
)
def test_every_scalar_is_the_string_that_was_written(text: str, tree: object) -> None:
    """Nothing is guessed: no boolean, number, date or null comes of a text."""
    assert read(text) == tree


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "---\n...\n"])
def test_empty_file_has_no_root(text: str) -> None:
    """Nothing was written, which is not an error of the YAML."""
    assert read_yaml("p.yaml", text, {}) == (None, [])


def test_written_but_empty_is_told_from_blank() -> None:
    """Quotes say that somebody meant it."""
    root, _ = read_yaml("p.yaml", "a:\nb: ''\nc: ${EMPTY:-}\nd: |\n", ENVIRONMENT)

    assert isinstance(root, Table)
    blank = [isinstance(one, Scalar) and one.blank for one in root.values.values()]
    assert blank == [True, False, False, False]


def places(node: Node | None) -> list[Place]:
    """Return the place of a node and of everything in it."""
    match node:
        case Listing():
            inner = [place for item in node.items for place in places(item)]
        case Table():
            inner = [
                place
                for key, value in node.values.items()
                for place in (Place(*node.keys[key]), *places(value))
            ]
        case None:
            return []
        case _:
            inner = []
    return [node.at, *inner]


def test_every_node_knows_where_it_is() -> None:
    """File, line and column from 1, and the way there from the root."""
    text = "rules:\n  - id: home\n    'odd key': [a, b]\n"
    root, _ = read_yaml("p.yaml", text, {})

    assert places(root) == [
        Place("p.yaml", 1, 1, ""),
        Place("p.yaml", 1, 1, "rules"),
        Place("p.yaml", 2, 3, "rules"),
        Place("p.yaml", 2, 5, "rules[0]"),
        Place("p.yaml", 2, 5, "rules[0].id"),
        Place("p.yaml", 2, 9, "rules[0].id"),
        Place("p.yaml", 3, 5, 'rules[0]["odd key"]'),
        Place("p.yaml", 3, 16, 'rules[0]["odd key"]'),
        Place("p.yaml", 3, 17, 'rules[0]["odd key"][0]'),
        Place("p.yaml", 3, 20, 'rules[0]["odd key"][1]'),
    ]


def test_key_is_a_node_for_its_reader() -> None:
    """With its name as its text, where it stands."""
    root, _ = read_yaml("p.yaml", "a:\n  b c: d\n", {})
    assert isinstance(root, Table)
    inner = root.values["a"]
    assert isinstance(inner, Table)

    assert inner.key("b c").at == Place("p.yaml", 2, 3, 'a["b c"]')
    assert (inner.key("b c").text, inner.key("b c").hidden) == ("b c", False)


def test_columns_count_characters() -> None:
    """As editors do, whatever the bytes are."""
    root, _ = read_yaml("p.yaml", "é😀: ü", {})

    assert isinstance(root, Table)
    assert root.values["é😀"].at == Place("p.yaml", 1, 5, '["é😀"]')


def test_place_makes_findings_about_itself() -> None:
    """A reader says what is wrong; the place says where."""
    finding = Place("p.yaml", 2, 3, "a.b").finding("it is odd", "make it even")
    warning = Place("p.yaml").finding("it is odd", severity="warning")

    assert str(Place("p.yaml", 2, 3, "a.b")) == "p.yaml:2:3"
    assert str(finding) == "p.yaml:2:3: error: a.b: it is odd (make it even)"
    assert str(warning) == "p.yaml:1:1: warning: it is odd"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x b", ["1:4: error: a: an anchor is not allowed (remove &x)"]),
        ("a: *x", ["1:4: error: a: an alias is not allowed (write the value out)"]),
        (
            "a: !!str b",
            ["1:4: error: a: a tag is not allowed (every value is a plain string)"],
        ),
        (
            "a: !!python/object/apply:os.system [id]",
            ["1:4: error: a: a tag is not allowed (every value is a plain string)"],
        ),
        (
            "&x a: b",
            ["1:1: error: a: an anchor is not allowed (remove &x)"],
        ),
        (
            "&x [a]",
            ["1:1: error: an anchor is not allowed (remove &x)"],
        ),
        ("<<: {a: b}", ["1:1: error: a merge key is not allowed"]),
        ("a: {<<: {b: c}}", ["1:5: error: a: a merge key is not allowed"]),
        ('"\\a": b', ["1:1: error: a control character is not allowed"]),
        ('a: "\\u202e"', ["1:4: error: a: a control character is not allowed"]),
        ("? [a, b]\n: c", ["1:3: error: a key must be a string"]),
        ("? {a: b}\n: c", ["1:3: error: a key must be a string"]),
        (
            "a: b\nc: d\na: e",
            ["3:1: error: a: the key 'a' is written twice (first in line 1)"],
        ),
        (
            "{a: b, 'a': c}",
            ["1:8: error: a: the key 'a' is written twice (first in line 1)"],
        ),
        ("--- a\n--- b\n", ["2:5: error: a second document (use another file)"]),
        ("a\n---\n", ["3:1: error: a second document (use another file)"]),
    ],
)
def test_what_reads_in_two_ways_is_refused(text: str, expected: list[str]) -> None:
    """Each is a finding at its place."""
    assert findings_of(text) == expected


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a: *x\nb: c", {"a": None, "b": "c"}),
        ("a: &x b", {"a": "b"}),
        ("a: {<<: {}}\nb: c", {"a": None, "b": "c"}),
        ("a: {<<: {}, d: e}", {"a": {"d": "e"}}),
        ("a: b\na: c", {"a": "b"}),
        ("--- a\n--- b\n", "a"),
        ("a: '${'\nb: c", {"a": None, "b": "c"}),
        ("a: ${UNSET}\nb: c", {"a": None, "b": "c"}),
    ],
)
def test_reader_goes_on_behind_what_it_refused(text: str, tree: object) -> None:
    """So that all findings come at once; what was refused is a bare node."""
    assert plain(read_yaml("p.yaml", text, {})[0]) == tree


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [b", "2:1: error: not YAML: did not find expected ',' or ']' (while"),
        ("a: b: c", "1:5: error: not YAML: mapping values are not allowed in this"),
        ("a: 'b", "1:6: error: not YAML: found unexpected end of stream (while"),
        ("\t- a", "1:1: error: not YAML: found character that cannot start any token"),
        ("%YAML 3.0\n--- a", "1:1: error: not YAML: found incompatible YAML document"),
        ("a: b\nc\n", "3:1: error: not YAML: could not find expected ':' (while"),
    ],
)
def test_what_is_no_yaml_is_one_finding(text: str, line: str) -> None:
    """With the parser's own words, at the place it stopped."""
    [finding] = findings_of(text)
    root, _ = read_yaml("p.yaml", text, {})

    assert finding.startswith(line)
    assert root is None


def test_what_came_before_the_end_is_still_found() -> None:
    """A broken line does not hide the findings above it."""
    found = findings_of("a: *x\nb: 'c")

    assert [one.split(": ")[0] for one in found] == ["1:4", "2:6"]


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\x00", "U+0000"),
        ("\x0b", "U+000B"),
        ("\x7f", "U+007F"),
        ("\x85", "U+0085"),
        ("\u2028", "U+2028"),
        ("\u202e", "U+202E"),
        ("\u2066", "U+2066"),
        ("\ud800", "U+D800"),
        ("\ufeff", "U+FEFF"),
        ("\uffff", "U+FFFF"),
    ],
    ids=ascii,
)
def test_characters_that_hide_or_reorder_are_refused(character: str, name: str) -> None:
    """Wherever they are, comments too: a line reads as what it is."""
    expected = [f"2:4: error: the character {name} is not allowed"]

    assert findings_of(f"a: b\n# c{character}d\n") == expected


@pytest.mark.parametrize(
    ("text", "tree", "shown"),
    [
        ("${NAME}", "ada", "${NAME}"),
        ("<${NAME}/${NAME}>", "<ada/ada>", "<${NAME}/${NAME}>"),
        ("${NAME:-bob}", "ada", "${NAME:-bob}"),
        ("${UNSET:-bob}", "bob", "bob"),
        ("${EMPTY:-bob}", "bob", "bob"),
        ("${UNSET:-}", "", ""),
        ("${UNSET:-a:-b}", "a:-b", "a:-b"),
        ("x${UNSET:-b}${NAME}", "xbada", "x${UNSET:-b}${NAME}"),
        ("$NAME", "$NAME", "$NAME"),
        ("$${NAME}", "$ada", "$${NAME}"),
        ("a}", "a}", "a}"),
    ],
)
def test_variables_are_replaced_in_values(text: str, tree: str, shown: str) -> None:
    """A set variable wins over its default, and an empty one is not set."""
    root, findings = read_yaml("p.yaml", f"['{text}']", ENVIRONMENT)

    assert findings == []
    assert isinstance(root, Listing)
    [node] = root.items
    assert isinstance(node, Scalar)
    assert (node.text, node.shown) == (tree, shown)
    assert node.hidden == ("${NAME" in text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: '${}'",
            "1:4: error: a: '${' begins a variable (write ${NAME} or ${NAME:-default})",
        ),
        (
            "a: '${NAME'",
            "1:4: error: a: '${' begins a variable (write ${NAME} or ${NAME:-default})",
        ),
        (
            "a: '${NAME-x}'",
            "1:4: error: a: '${' begins a variable (write ${NAME} or ${NAME:-default})",
        ),
        ("a: ${BELL}", "1:4: error: a: a control character is not allowed"),
    ],
)
def test_variables_that_cannot_be_replaced_are_found(text: str, expected: str) -> None:
    """With what to do about it."""
    assert findings_of(text) == [expected]


@pytest.mark.parametrize("name", ["UNSET", "EMPTY"])
def test_variable_without_a_value_is_found(name: str) -> None:
    """Unset and empty are the same; both ways to set it, and a default, are named."""
    [finding] = findings_of(f"a: ${{{name}}}")
    expected = f"1:4: error: a: the variable {name} is not set"
    hint = f"(set {name} or {name}_FILE, or write ${{{name}:-default}})"

    assert finding == f"{expected} {hint}"


@pytest.mark.parametrize("text", ["${NAME}", "${NAME:-bob}"])
def test_variable_whose_file_says_nothing_is_found(text: str) -> None:
    """Its default was not meant; NAME_FILE is, and nobody could read it."""
    _, findings = read_yaml("p.yaml", f"a: {text}", {"NAME_FILE": "/run/name"})

    assert "\n".join(map(str, findings)) == (
        "p.yaml:1:4: error: a: the variable NAME has no value"
        " (the file that NAME_FILE names is empty or cannot be read)"
    )


def test_every_unset_variable_of_a_value_is_found() -> None:
    """Not just the first."""
    found = findings_of("a: ${ONE}${TWO}")

    assert [one.split(" is not set")[0].split()[-1] for one in found] == ["ONE", "TWO"]


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a: ${X}", {"a": "b\n c: d"}),
        ("a: '${X}'", {"a": "b\n c: d"}),
        ("['${X}']", ["b\n c: d"]),
        ("${X}: a", {"${X}": "a"}),
    ],
)
def test_variable_never_becomes_structure(text: str, tree: object) -> None:
    """What looks like YAML stays a value, and names of keys are not replaced."""
    assert read(text, {"X": "b\n c: d"}) == tree


def test_variable_in_a_variable_stays_text() -> None:
    """Values are filled in once."""
    assert read("${X}", {"X": "${Y}", "Y": "z"}) == "${Y}"


def test_value_of_the_environment_is_in_no_repr() -> None:
    """A traceback or a log that shows a node shows no secret."""
    root, _ = read_yaml("p.yaml", "a: [b, 'x${SECRET}']", ENVIRONMENT)

    assert plain(root) == {"a": ["b", f"x{SECRET}"]}
    assert SECRET not in repr(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("$A ${} ${1} ${A-b}", []),
        ("${A} ${_b1:-c}${A:-}", [("A", None), ("_b1", "c"), ("A", "")]),
    ],
)
def test_variables_of_a_text_are_listed(
    text: str, expected: list[tuple[str, str | None]]
) -> None:
    """In their order, with the default of each; None is no default."""
    assert variables(text) == expected


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_nesting_has_an_end(opening: str, closing: str) -> None:
    """As deep as allowed is read; deeper is a finding, however deep it goes on."""

    def nested(depth: int) -> str:
        return f"[{opening * (depth - 1)}x{closing * (depth - 1)}, last]"

    deepest, findings = read_yaml("p.yaml", nested(MAX_DEPTH), {})
    assert findings == []
    assert isinstance(deepest, Listing)
    for depth in (MAX_DEPTH + 1, MAX_DEPTH + 2, 900):
        root, findings = read_yaml("p.yaml", nested(depth), {})

        assert [one.message for one in findings] == ["nested too deeply"]
        assert isinstance(root, Listing)
        assert plain(root.items[-1]) == "last"
    # libyaml itself gives up at some depth, as a finding too.
    _, findings = read_yaml("p.yaml", nested(5000), {})

    assert findings[-1].message == "not YAML: exceeded maximum nesting depth"


_TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cf", "Cn"))
).filter(lambda text: "${" not in text and "\ufeff" not in text)
_TREES = st.recursive(
    _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_TEXTS.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_TREES, st.booleans())
def test_every_tree_of_strings_is_read_back(tree: object, flow: bool) -> None:
    """What PyYAML writes is read as what it was, in block and in flow style."""
    text = yaml.dump(
        tree,
        allow_unicode=True,
        default_flow_style=flow,
        default_style='"',
        sort_keys=False,
    )

    assert read(text) == tree


@given(st.text(st.sampled_from("ab:-[]{}?&*!|>'\"%#,<~${} \n\t\u2028é"), max_size=40))
@example("? ")
@example("? [")
@example("[a, *b, {<<: *c}]")
def test_every_text_is_a_tree_or_has_findings(text: str) -> None:
    """No text is an exception; what has no findings reads as PyYAML reads it."""
    root, findings = read_yaml("p.yaml", text, ENVIRONMENT)
    for finding in findings:
        assert finding.line >= 1
        assert finding.column >= 1
        assert finding.line <= text.count("\n") + 2
    if not findings and "${" not in text:
        # The oracle makes a null of what is blank, and nothing else.
        expected = yaml.load(text, Loader=yaml.CBaseLoader)  # noqa: S506 - strings only

        assert plain(root) == expected or (root is None and not expected)


@given(st.text(max_size=40))
def test_no_value_of_the_environment_reaches_a_finding(value: str) -> None:
    """Whatever the variable holds, findings show its name only."""
    secret = f"{value}hush"
    _, findings = read_yaml("p.yaml", "a: [&x '${S}', *x, '${S}${']", {"S": secret})

    assert findings
    assert not any("hush" in str(dataclasses.astuple(one)) for one in findings)
