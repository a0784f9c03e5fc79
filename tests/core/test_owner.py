"""Whose bucket it is, as it stands in a key."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.limit import Part, Per
from proxy.core.owner import Asking, client_group, owner_of_parts, places_of
from proxy.core.routing import Pattern

SECRET = b"a secret"


def asking(
    path: str = "/", pattern: str = "/", headers: dict[str, bytes] | None = None
) -> Asking:
    """Return what a request says."""
    one = Asking(subject="ada", client="192.0.2.1", role="teacher")
    one.rule, one.tenant, one.secret = "courses", "school", SECRET
    one.pattern, one.path = Pattern.parse(pattern), path
    one.headers = [
        (name.encode(), name.encode(), value) for name, value in (headers or {}).items()
    ]
    return one


PLAIN = {
    Per.SUBJECT: "s:ada",
    Per.CLIENT: "c:192.0.2.1",
    Per.ROLE: "r:teacher",
    Per.RULE: "u:courses",
    Per.TENANT: "t:school",
    Per.EVERYONE: "*",
}


@pytest.mark.parametrize(("per", "expected"), PLAIN.items(), ids=str)
def test_each_kind_has_a_letter(per: Per, expected: str) -> None:
    """So that no two kinds are the same owner."""
    assert owner_of_parts((Part(per),), asking()) == (expected, "")


def test_a_combination_is_all_of_its_parts() -> None:
    """The first is what Redis Cluster finds the slot by."""
    parts = (Part(Per.SUBJECT), Part(Per.PATH, "id"), Part(Per.RULE))

    assert owner_of_parts(parts, asking("/courses/7", "/courses/{id}")) == (
        "s:ada",
        ",p.id:7,u:courses",
    )


def test_without_a_subject_or_a_tenant_the_client_pays() -> None:
    """Rather than one bucket of all those who have none."""
    nobody = Asking(subject="", client="192.0.2.1")

    for per in (Per.SUBJECT, Per.TENANT):
        assert owner_of_parts((Part(per),), nobody) == ("c:192.0.2.1", "")


def test_parameters_are_found_in_the_path() -> None:
    """Where they are, whatever is around them; the last may be the rest."""
    pattern = Pattern.parse("/courses/{course}/files/{path...}")

    assert places_of(pattern) == {"course": (2, False), "path": (4, True)}
    one = asking("/courses/7/files/a/b.pdf", pattern.text)
    assert (one.parameter("course"), one.parameter("path")) == ("7", "a/b.pdf")
    assert one.parameter("other") == ""
    assert Asking(subject="", client="").parameter("course") == ""


def test_a_header_is_hashed_with_a_key() -> None:
    """It may be a secret; and one that is not there is not one that is empty."""
    part = (Part(Per.HEADER, "x-key"),)

    def owner(value: bytes | None, secret: bytes = SECRET) -> str:
        one = asking(headers={} if value is None else {"x-key": value})
        one.secret = secret
        return owner_of_parts(part, one)[0]

    assert re.fullmatch(r"xh\.x-key:[0-9a-f]{32}", owner(b"sesame"))
    different = {owner(None), owner(b""), owner(b"a"), owner(b"a", b"other")}
    assert len(different) == 4
    assert owner(None) == "x.x-key:"


def test_a_header_that_is_there_twice_is_one_value() -> None:
    """As a backend may read it."""
    one = asking()
    one.headers = [(b"x-key", b"X-Key", b"a"), (b"x-key", b"X-Key", b"b")]

    assert one.header("x-key") == b"a, b"


def test_an_operator_says_what_a_request_would() -> None:
    """By the names that the policy has for it."""
    one = Asking(subject="ada", client="ada")
    one.given = {"path.id": "7", "header.x-key": "sesame"}

    assert (one.parameter("id"), one.header("x-key")) == ("7", b"sesame")
    assert (one.parameter("other"), one.header("other")) == ("", None)


values = st.one_of(
    st.text(),
    st.text(alphabet=":{},*#\x00\n s:c:h", min_size=1),
    st.sampled_from(["a" * 64, "a" * 65, "a" * 10_240, "7,u:x", "7}", "\ud800"]),
)


@given(one=st.tuples(values, values), other=st.tuples(values, values))
def test_two_combinations_never_share_a_bucket(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    """Whatever bytes are in their parts: no comma or brace of theirs ends one."""
    parts = (Part(Per.SUBJECT), Part(Per.PATH, "id"))

    def written(subject: str, parameter: str) -> str:
        request = Asking(subject=subject, client="192.0.2.1")
        request.given = {"path.id": parameter}
        tag, others = owner_of_parts(parts, request)
        assert re.fullmatch(r"[!-+\--z|~]+,[!-+\--z|~]+", tag + others)
        return f"{{{tag}}}{others}"

    assert (written(*one) == written(*other)) == (one == other)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("2001:db8::1", "2001:db8::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("no:address", "no:address"),
    ],
)
def test_a_client_of_ipv6_is_its_network(address: str, expected: str) -> None:
    """Whoever has a /64 does not have 2^64 buckets."""
    assert client_group(address) == expected
