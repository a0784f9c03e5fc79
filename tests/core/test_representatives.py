"""One path for every way in which patterns can be met."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.routing import Ambiguity, Pattern, Router
from proxy.core.workbench import representatives as module
from proxy.core.workbench.representatives import representatives

SEGMENTS = st.sampled_from(["a", "b", "{x}"])
LAST = st.sampled_from(["a", "b", "{y}", "{z...}", ""])


@dataclasses.dataclass(frozen=True)
class Route:
    """A rule of nothing but a path."""

    pattern: Pattern
    id: str = "route"
    methods: frozenset[str] = frozenset()
    tolerate: frozenset[Ambiguity] = frozenset()


def parsed(*texts: str) -> list[Pattern]:
    """Compile patterns."""
    return [Pattern.parse(text) for text in texts]


def matching(patterns: list[Pattern], path: str) -> set[str]:
    """Return the patterns that a path matches, as the router says."""
    found = set()
    for pattern in patterns:
        try:
            Router([Route(pattern)]).match("GET", path)
        except Refused:
            continue
        found.add(pattern.text)
    return found


def pattern_texts() -> st.SearchStrategy[str]:
    """Return paths of up to three segments, no parameter named twice."""
    return st.tuples(st.lists(SEGMENTS, max_size=2), LAST).map(
        lambda parts: (
            "/"
            + "/".join(
                one.replace("x", f"x{place}")
                for place, one in enumerate((*parts[0], parts[1]))
            )
        )
    )


def test_literals_and_what_is_none_are_told_apart() -> None:
    """A path that two patterns match stands beside those that one of them matches."""
    samples = representatives(parsed("/users/{id}", "/users/me", "/{all...}"))

    assert [(one.path, one.text) for one in samples] == [
        ("/users", "/users"),
        ("/any", "/{all...}"),
        ("/users/me", "/users/me"),
        ("/users/any", "/users/{id}"),
        ("/users/", "/users/"),
        ("/users/me/any", "/users/me/{all...}"),
    ]


def test_meeting_of_two_patterns_has_a_path() -> None:
    """Two patterns that only cross are represented where they cross."""
    samples = {
        one.path: {pattern.text for pattern in one.patterns}
        for one in representatives(parsed("/{a}/end", "/begin/{b}"))
    }

    assert samples == {
        "/begin/end": {"/{a}/end", "/begin/{b}"},
        "/begin/any": {"/begin/{b}"},
        "/any/end": {"/{a}/end"},
    }


def test_filler_is_no_literal() -> None:
    """Any other segment is one that no pattern names."""
    samples = representatives(parsed("/{x}", "/any", "/any-other"))

    assert {one.path for one in samples} == {"/any", "/any-other", "/any-other-other"}


def test_shapes_are_taken_for_one() -> None:
    """Patterns that differ in the name of a parameter have one path, the first's."""
    samples = list(representatives(parsed("/{id}", "/{name}")))

    assert [(one.text, len(one.patterns)) for one in samples] == [("/{id}", 1)]


def test_too_many_ways_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody could review is an error and not an endless wait."""
    monkeypatch.setattr(module, "MAX_STATES", 10)

    with pytest.raises(ValueError, match="overlap in too many ways"):
        list(representatives(parsed(*(f"/r{n}/{{id}}" for n in range(20)))))


@given(
    st.lists(pattern_texts(), min_size=1, max_size=6, unique=True),
    st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=5),
)
def test_every_path_is_represented(texts: list[str], segments: list[str]) -> None:
    """Whatever set of patterns a path matches, some sample matches the same set."""
    patterns = list({(one.segments, one.rest): one for one in parsed(*texts)}.values())
    path = "/" + "/".join([*filter(None, segments[:-1]), segments[-1]])
    found = matching(patterns, path)

    samples = [
        ({one.text for one in sample.patterns}, sample)
        for sample in representatives(patterns)
    ]
    assert not found or any(met == found for met, _ in samples)
    for met, sample in samples:
        assert met == matching(patterns, sample.path)
