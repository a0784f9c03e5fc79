"""The JSON Schema of policies and test cases, held against the parser."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from proxy.core import listener_keys, policy_keys, policy_limit_keys, policy_login_keys
from proxy.core.errors import PolicyError
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench import case_keys
from proxy.core.workbench.cases_schema import cases_schema
from proxy.core.workbench.schema import policy_schema

ROOT = Path(__file__).parents[2]
GOOD = sorted((ROOT / "tests" / "policies" / "good").rglob("*.yaml"))
BAD = ROOT / "tests" / "policies" / "bad"
LMS = ROOT / "policies" / "lms.yaml"
ENVIRONMENT = {"JWT_SECRET": "c0ffee" * 12}

POLICY = Draft202012Validator(policy_schema())
CASES = Draft202012Validator(cases_schema())

STRUCTURAL = [
    "algorithm-none",
    "algorithm-twice",
    "algorithm-unknown",
    "algorithms-mixed",
    "allow-a-mapping",
    "allow-a-role",
    "allow-anyone-in-list",
    "allow-nobody",
    "allow-nothing",
    "audience-empty",
    "balance-unknown",
    "breaker-zero",
    "burst",
    "claim-path",
    "counter-name",
    "deployment-empty",
    "duration-without-unit",
    "eject-key",
    "eject-word",
    "empty-file",
    "field-name",
    "health-host",
    "health-incomplete",
    "health-path",
    "issuer-incomplete",
    "issuer-not-a-mapping",
    "key-missing",
    "key-twice",
    "kid-missing",
    "kid-not-a-mapping",
    "kid-without-key",
    "limit-inline",
    "match-without-method",
    "method-connect",
    "method-lower-case",
    "method-unknown",
    "mode-missing",
    "mode-unknown",
    "name-of-backend",
    "nested-too-deeply",
    "not-a-mapping",
    "on-store-failure-unknown",
    "path-relative",
    "path-wildcard",
    "per-unknown",
    "precision-unknown",
    "protect-empty",
    "protect-path",
    "protect-unknown",
    "rate-missing",
    "rate-period-unknown",
    "rate-without-period",
    "retry-unknown",
    "role-reserved",
    "role-twice",
    "role-with-space",
    "rule-id",
    "rule-incomplete",
    "rule-key-unknown",
    "rule-not-a-mapping",
    "section-empty",
    "section-of-another-kind",
    "server-https-without-port",
    "server-password",
    "server-twice",
    "server-unix-long",
    "server-unix-relative",
    "server-with-path",
    "server-without-port",
    "servers-empty",
    "servers-missing",
    "size",
    "timeout-unknown",
    "timeouts-of-a-rule",
    "tls-file-is-a-key",
    "tls-file-relative",
    "tls-verify-unknown",
    "tolerate-never",
    "tolerate-unknown",
    "unknown-section",
    "version-missing",
    "version-unknown",
    "view-unknown",
]
"""Mistakes of tests/policies/bad that one file, looked at alone, has on its face."""

WARNED = sorted(
    path.stem
    for path in BAD.glob("*.expected")
    if ": error: " not in path.read_text("utf-8") and path.with_suffix(".yaml").exists()
)


def as_written(path: Path) -> Any:
    """Read YAML as the parser does: every value is a string."""
    return yaml.load(path.read_text("utf-8"), yaml.BaseLoader)  # noqa: S506 - strings only


def as_typed(path: Path) -> Any:
    """Read YAML as an editor does: with numbers and booleans."""
    return yaml.safe_load(path.read_text("utf-8"))


def complaints(validator: Draft202012Validator, document: object) -> list[str]:
    """Return what a schema has against a document."""
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("validator", [POLICY, CASES], ids=["policy", "cases"])
def test_schema_is_one(validator: Draft202012Validator) -> None:
    """What is printed is a JSON Schema of the dialect that it names."""
    assert isinstance(validator.schema, dict)
    assert validator.schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(validator.schema)


@pytest.mark.parametrize("path", [LMS, *GOOD], ids=lambda path: path.stem)
def test_good_policy_is_valid(path: Path) -> None:
    """Every policy that the parser reads without a word is valid as it is written."""
    assert complaints(POLICY, as_written(path)) == []


@pytest.mark.parametrize(
    "path",
    [LMS, *(one for one in GOOD if one.stem != "words")],
    ids=lambda one: one.stem,
)
def test_good_policy_is_valid_as_editors_read_it(path: Path) -> None:
    """Numbers that an editor sees are no mistakes; words that it reads as none are."""
    assert complaints(POLICY, as_typed(path)) == []


@pytest.mark.parametrize("read", [as_written, as_typed])
def test_cases_of_the_lms_are_valid(read: Any) -> None:
    """The test cases that are delivered are valid, however they are read."""
    assert complaints(CASES, read(ROOT / "policies" / "lms.test.yaml")) == []


@pytest.mark.parametrize("name", STRUCTURAL)
def test_mistake_of_structure_is_refused(name: str) -> None:
    """What is wrong on the face of a file is marked while it is typed."""
    assert complaints(POLICY, as_written(BAD / f"{name}.yaml"))


@pytest.mark.parametrize("name", WARNED)
def test_what_is_only_a_warning_is_valid(name: str) -> None:
    """A policy that the proxy would start with is not marked."""
    assert complaints(POLICY, as_written(BAD / f"{name}.yaml")) == []


@pytest.mark.parametrize(
    ("case", "valid"),
    [
        ({"request": "GET /", "as": "anyone", "expect": {"rule": "a"}}, True),
        ({"request": ["GET /"], "as": ["a", "b"], "expect": {"limits": []}}, True),
        ({"request": "GET /", "claims": {"exp": "-1m"}, "expect": {"rule": "a"}}, True),
        (
            {"request": "GET /", "as": "a", "expect": {"limits": {"a#0": "1/hour"}}},
            True,
        ),
        ({"request": "get /", "as": "anyone", "expect": {"rule": "a"}}, False),
        ({"request": "GET /", "expect": {"rule": "a"}}, False),
        ({"request": "GET /", "as": "anyone", "expect": {}}, False),
        ({"request": "GET /", "as": "anyone", "expect": {"reason": "none"}}, False),
        ({"request": "GET /", "as": "anyone", "expect": {"plain": "a"}}, False),
        ({"as": "anyone", "expect": {"rule": "a"}}, False),
    ],
)
def test_case_is_valid_or_not(case: dict[str, object], *, valid: bool) -> None:
    """Test cases are marked while they are typed, too."""
    found = complaints(CASES, {"version": 1, "cases": [case]})

    assert (found == []) is valid


def descriptions(schema: object) -> Iterator[str]:
    """Yield every description in a schema."""
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name == "description":
                yield inner
            yield from descriptions(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from descriptions(inner)


def test_every_key_of_the_parser_is_described() -> None:
    """Editors explain each key in the words of the parser's own table."""
    known = {
        key.says
        for module in (
            policy_keys,
            listener_keys,
            policy_limit_keys,
            policy_login_keys,
            case_keys,
        )
        for table in vars(module).values()
        if isinstance(table, dict)
        for key in table.values()
        if isinstance(key, policy_keys.Key)
    }

    found = {*descriptions(POLICY.schema), *descriptions(CASES.schema)}
    assert found == known


VALUES: st.SearchStrategy[object] = st.one_of(
    st.sampled_from(
        [
            *("", "no", "1", "0", "0x10", "007", "anyone", "default", "*", "plain"),
            *("5/minute", "10 / 30s", "1/fortnight", "unlimited", "1s", "250 ms"),
            *("0ms", "1KB", "1 KB", "1kb", "1048576", "$.a", "$['b c'].d", "$[0]"),
            *("GET /", "POST,GET /a/{b}/{c...}", "* /a*b", "GET /ü", "GET /{a}x"),
            *("http://h:1", "http://[::1]:80", "http://h", "/x?y", "/#", "//"),
            *("${JWT_SECRET}", "a${JWT_SECRET:-b}", "student", "user.name", "client"),
            *("lumina_x_total", "lumina_X_total", "semicolon", "dot-segment", "HS512"),
        ]
    ),
    st.just([]),
    st.just({}),
    st.lists(st.sampled_from(["student", "a", "1"]), max_size=2),
    st.dictionaries(
        st.sampled_from(["a", "*", "student", "$.x"]),
        st.sampled_from(["plain", "1/hour", "user.name"]),
        max_size=2,
    ),
)


def places(
    document: object, at: tuple[str | int, ...] = ()
) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value of a document."""
    if isinstance(document, dict):
        for name, inner in document.items():
            yield (*at, name)
            yield from places(inner, (*at, name))
    elif isinstance(document, list):
        for index, inner in enumerate(document):
            yield (*at, index)
            yield from places(inner, (*at, index))


EVERYTHING = as_written(ROOT / "tests" / "policies" / "good" / "everything.yaml")


@settings(max_examples=500)
@given(st.sampled_from(list(places(EVERYTHING))), VALUES)
def test_schema_refuses_nothing_that_the_parser_reads(
    place: tuple[Any, ...], value: object
) -> None:
    """Whatever one puts in a policy, what the parser reads is valid."""
    document = copy.deepcopy(EVERYTHING)
    holder: Any = document
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    try:
        parse_policy([("p.yaml", json.dumps(document))], ENVIRONMENT)
    except PolicyError:
        return

    assert complaints(POLICY, document) == []
