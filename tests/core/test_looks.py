"""What values look like, and which names are personal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.looks import is_value, look_of, name_of, personal_kind, shape_of
from proxy.core.routing import Pattern


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "boolean"),
        (7, "number"),
        (2.5, "number"),
        ([], "other"),
        ("ada@example.org", "email"),
        ("Ada Lovelace", "person"),
        ("Jean-Luc O'Neill", "person"),
        ("ada lovelace", "text"),
        ("Wrong @ example.org", "text"),
        ("0e8cd2a1-0000-4000-8000-000000000000", "uuid"),
        ("1815-12-10", "date"),
        ("10.12.1815", "date"),
        ("2026-03-02T12:00:00Z", "instant"),
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("https://lms.example/a", "url"),
        ("+49 30 1234567", "phone"),
        ("030/123 45-67", "phone"),
        ("1234", "digits"),
        ("x" * 201, "long"),
        ("", "text"),
    ],
)
def test_look_is_a_word(value: object, expected: str) -> None:
    """And says nothing else of the value."""
    assert look_of(value) == expected


@pytest.mark.parametrize(
    ("name", "looks", "expected"),
    [
        ("email", set(), "email"),
        ("userEmail", set(), "email"),
        ("e-mail", set(), "email"),
        ("contact", {"email"}, "email"),
        ("first_name", {"text"}, "name"),
        ("firstName", {"text"}, "name"),
        ("name", {"person"}, "name"),
        ("name", {"text"}, None),
        ("title", {"person"}, None),
        ("date_of_birth", {"date"}, "birth"),
        ("created", {"date"}, None),
        ("mobilePhone", set(), "phone"),
        ("account", {"iban"}, "bank"),
        ("email_verified", {"boolean"}, None),
        ("password", {"text"}, None),
        ("id", {"number"}, None),
    ],
)
def test_names_and_looks_tell_what_is_personal(
    name: str, looks: set[str], expected: str | None
) -> None:
    """A name by itself, a telling look by itself, or both together."""
    assert personal_kind(name, frozenset(looks)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/api/users", "/api/users"),
        ("/api/users/7", "/api/users/{user}"),
        ("/api/users/7/notes/8", "/api/users/{user}/notes/{note}"),
        ("/users/ada@example.org", "/users/{user}"),
        ("/users/ada%40example.org", "/users/{user}"),
        ("/files/report-2026-03-02-final", "/files/{file}"),
        ("/v1/users", "/v1/users"),
        ("/7", "/{id}"),
        ("/7/8", "/{id}/{id_2}"),
        ("/users/0e8cd2a1-0000-4000-8000-000000000000/", "/users/{user}/"),
        ("/is/7", "/is/{is}"),
        ("/a-b/7", "/a-b/{a_b}"),
    ],
)
def test_path_is_told_by_its_shape(path: str, expected: str) -> None:
    """What looks like a value is a parameter, named after what is before it."""
    assert shape_of(path) == expected


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="/{}?#*. "))))
def test_no_value_is_left_in_a_shape(segments: list[str]) -> None:
    """And every shape has names that a pattern may have."""
    shape = shape_of("/" + "/".join(segments))
    names = [one for one in shape.split("/") if one.startswith("{")]

    assert not any(is_value(one) for one in shape.split("/") if one and one[0] != "{")
    assert all(Pattern.parse(f"/{one}") for one in names)
    assert len(set(names)) == len(names)


def test_name_that_is_taken_gets_a_number() -> None:
    """However often."""
    taken: set[str] = set()

    assert [name_of("users", taken) for _ in range(3)] == ["user", "user_2", "user_3"]
