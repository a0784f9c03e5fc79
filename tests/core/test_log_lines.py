"""Lines of an access log, as commands read them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.workbench.log_lines import LogLine, read_line

WHOLE = {
    "ts": "2026-03-02T12:00:00.250Z",
    "method": "GET",
    "path": "/users/7?x=1",
    "status": 403,
    "request_id": "a-1",
    "rule": "user",
    "role": "student",
    "subject": "ada",
    "client": "192.0.2.1",
    "reason": "not-owner",
    "shadow": "",
    "stage": "authorise",
    "detail": "x",
    "policy": "0123456789abcdef",
    "more": [1],
}


def test_line_is_read_whole() -> None:
    """Every key that is known, and the path without its query."""
    line = read_line(f"2026-03-02 INFO {json.dumps(WHOLE)}\n")
    named = {"time" if name == "ts" else name: value for name, value in WHOLE.items()}

    assert read_line(json.dumps(named)) == line
    assert line == LogLine(
        ts=1_772_452_800.25,
        **{
            name: value
            for name, value in WHOLE.items()
            if name not in ("ts", "more", "path")
        },  # type: ignore[arg-type]
        path="/users/7",
    )


def test_what_a_line_does_not_say_is_empty() -> None:
    """And so is what is of another type."""
    line = read_line('{"ts": 5, "method": "GET", "rule": null, "status": "200"}')

    assert line == LogLine(ts=5.0, method="GET", path="")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "it is not a JSON object"),
        ("GET / 200", "it is not a JSON object"),
        ('["a"]', "it is not a JSON object"),
        ("{" * 100_000, "it is not a JSON object"),
        ('{"method": "GET"}', "its time is none"),
        ('{"ts": true}', "its time is none"),
        ('{"ts": "noon"}', "its time is none"),
    ],
    ids=range(7),
)
def test_other_lines_are_none(text: str, expected: str) -> None:
    """With a sentence that says why."""
    with pytest.raises(ValueError, match=expected):
        read_line(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from([*WHOLE]), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_a_line_or_none(value: object) -> None:
    """Nothing that a log holds ends otherwise."""
    outcome: object
    try:
        outcome = read_line(json.dumps(value))
    except ValueError as error:
        outcome = error

    assert isinstance(outcome, LogLine | ValueError)
