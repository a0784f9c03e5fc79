"""What is noted of requests that pass: shapes and counts, bounded, and no value."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import learning
from proxy.core.learning import Endpoint, Learned, added, step

HOUR = 3600.0


def test_endpoint_is_noted_by_its_shape() -> None:
    """Who asked is counted within the hour; the largest number stays."""
    learned = Learned()
    for who, now in (("ada", 1), ("ada", 2), ("bob", 3), ("ada", HOUR), ("ada", HOUR)):
        endpoint = learned.note("GET", "/users/7", who, now)
        assert endpoint is not None
        endpoint.note_answer(200, "teacher")
    learned.note("GET", "/users/8", "bob", HOUR)
    [(key, endpoint)] = learned.endpoints.items()

    assert key == ("GET", "/users/{user}")
    assert (endpoint.count, endpoint.peak) == (6, 2)
    assert (endpoint.roles, endpoint.statuses) == ({"teacher": 5}, {"2xx": 5})


def test_who_only_got_errors_used_nothing() -> None:
    """A scanner finds no role and makes no rule."""
    endpoint = Endpoint()
    endpoint.note_answer(404, "")
    endpoint.note_answer(302, "student")

    assert endpoint.roles == {"student": 1}
    assert endpoint.statuses == {"4xx": 1, "3xx": 1}


def test_bodies_are_noted_by_names_and_looks() -> None:
    """Members of every depth, of lists, and with odd names."""
    endpoint = Endpoint()
    body = {"email": "a@b.example", "more": {"it's": [1, "x"]}, "items": [{"a": None}]}
    endpoint.note_body(body, response=False, size=50)
    endpoint.note_body([{"email": "no"}], response=True, size=70)

    assert endpoint.request == {
        "$.email": {"email": 1},
        "$.more['it\\'s'][*]": {"number": 1, "text": 1},
        "$.items[*].a": {"null": 1},
    }
    assert endpoint.response == {"$[*].email": {"text": 1}}
    assert endpoint.largest == 50


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoints, members, depth, and those who ask."""
    monkeypatch.setattr(learning, "MAX_ENDPOINTS", 2)
    monkeypatch.setattr(learning, "MAX_FIELDS", 2)
    monkeypatch.setattr(learning, "MAX_ASKING", 1)
    learned = Learned()
    noted = [learned.note("GET", f"/{name}", name, 1.0) for name in "abc"]
    endpoint = Endpoint()
    deep: object = 1
    for _ in range(50):
        deep = [deep]
    endpoint.note_body(deep, response=True, size=1)
    endpoint.note_body({"a": 1, "b": 1, "c": 1}, response=True, size=1)

    assert noted[2] is None
    assert learned.others == 1
    assert [one.peak for one in noted if one] == [1, 0]
    assert list(endpoint.response) == ["$.a", "$.b"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(values)
def test_no_value_is_kept(value: object) -> None:
    """Of any body, names of members and words of ours are all there is."""
    endpoint = Endpoint()
    endpoint.note_body(
        {"secret": "tell-nobody-1815", "a": value}, response=True, size=1
    )

    looks = {look for found in endpoint.response.values() for look in found}
    assert "tell-nobody-1815" not in json.dumps(list(endpoint.response))
    assert looks <= {
        *("null", "boolean", "number", "other", "long", "text", "email", "uuid"),
        *("instant", "date", "iban", "url", "phone", "digits", "person"),
    }


def test_processes_are_added_up() -> None:
    """Numbers are summed, and the largest of what is a maximum."""
    documents = []
    for times in (1, 3):
        learned = Learned()
        for _ in range(times):
            endpoint = learned.note("GET", "/users/7", "ada", 1.0)
            assert endpoint is not None
            endpoint.note_answer(200, "")
            endpoint.note_body({"a": 1}, response=times > 1, size=times)
        documents.append(json.loads(json.dumps(learned.document())))
    total = added(documents)

    assert added([]) is None
    assert total is not None
    assert total["endpoints"] == [
        {
            "method": "GET",
            "path": "/users/{user}",
            "count": 4,
            "statuses": {"2xx": 4},
            "roles": {"": 4},
            "peak": 3,
            "largest": 1,
            "request": {"$.a": {"number": 1}},
            "response": {"$.a": {"number": 3}},
        }
    ]


@pytest.mark.parametrize(
    "document", [{}, {"others": 1}, {"others": 1, "endpoints": [{"method": "GET"}]}]
)
def test_other_documents_are_none(document: dict[str, object]) -> None:
    """Told as what they are not."""
    with pytest.raises(ValueError, match="this is not what a proxy has learned"):
        Learned().add(document)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ".a"),
        ("a-b", "['a-b']"),
        ("1", "['1']"),
        ("ü", "['ü']"),
        ("'\\", "['\\'\\\\']"),
    ],
)
def test_step_leads_to_a_member(name: str, expected: str) -> None:
    """Quoted where it has to be."""
    assert step(name) == expected
