"""Which requests two policies are compared on."""

import pytest

from proxy.core.workbench.diff_requests import ask, meetings
from tests.core.differences import policy_of

HEAD = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    secret: "${JWT_SECRET}"
    roles: $.role
"""


def rules(*matches: str, allow: str = "anyone", roles: str = "[]") -> str:
    """Return a policy of these rules, called a, b, c and so on."""
    text = HEAD if roles == "[]" else f"{HEAD}roles: {roles}\n"
    written = (
        f'  - {{id: {name}, match: "{match}", allow: {allow}}}\n'
        for name, match in zip("abcdef", matches, strict=False)
    )
    return f"{text}rules:\n{''.join(written)}"


def met(old: str, new: str) -> dict[tuple[str | None, str | None], list[str]]:
    """Return the requests of each pair of rules."""
    return {
        (
            one.old.id if one.old else None,
            one.new.id if one.new else None,
        ): [f"{request.methods} {request.path}" for request in one.requests]
        for one in meetings(policy_of(old), policy_of(new))
    }


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            rules("GET /x"), rules("GET /x"), {("a", "a"): ["GET /x"]}, id="same"
        ),
        pytest.param(
            rules("GET /x"),
            rules("GET,POST /x"),
            {("a", "a"): ["GET /x"], (None, "a"): ["POST /x"]},
            id="method",
        ),
        pytest.param(
            rules("GET /x/{id}"),
            rules("GET /x/{id}", "GET /x/me"),
            {("a", "a"): ["GET /x/{id}"], ("a", "b"): ["GET /x/me"]},
            id="more-specific",
        ),
        pytest.param(
            rules("* /x"),
            rules("GET /x"),
            {("a", "a"): ["GET /x"], ("a", None): ["others /x"]},
            id="others",
        ),
        pytest.param(rules("* /x"), rules("* /x"), {("a", "a"): ["* /x"]}, id="all"),
        pytest.param(
            rules("GET /x", "HEAD /x"),
            rules("GET /x"),
            {("a", "a"): ["GET /x"], ("b", "a"): ["HEAD /x"]},
            id="head",
        ),
        pytest.param(
            rules("GET /x/{p...}", "POST /x/y"),
            rules("GET /x/{p...}", "POST /x/y"),
            {("a", "a"): ["GET /x/{p...}"], ("b", "b"): ["POST /x/y"]},
            id="own-path-says-it-all",
        ),
    ],
)
def test_requests_of_each_pair_of_rules(
    old: str, new: str, expected: dict[tuple[str | None, str | None], list[str]]
) -> None:
    """Each request that a rule knows belongs to the two rules that decide it."""
    assert met(old, new) == expected


def test_methods_of_every_kind_leave_one_for_the_others() -> None:
    """When each known method is named, any other one stands for the others."""
    every = (
        "GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS,"
        "PROPFIND,PROPPATCH,MKCOL,COPY,MOVE,LOCK,UNLOCK,REPORT /x"
    )

    found = met(rules(every, "* /x"), rules(every))
    assert found["b", None] == ["others /x"]


def test_everybody_is_asked_for_whom_it_matters() -> None:
    """Each role of either policy, and anyone; anyone alone where no role counts."""
    old = policy_of(rules("GET /x", allow="[s]", roles="[s]"))
    new = policy_of(rules("GET /x", allow="[t]", roles="[t]"))
    open_ = policy_of(rules("GET /x"))
    [one] = meetings(old, new)
    [other] = meetings(open_, open_)

    assert [
        (asked.who, asked.old.refused is None, asked.new.refused is None)
        for asked in ask(old, new, one)
    ] == [("anyone", False, False), ("s", True, False), ("t", False, True)]
    assert [asked.who for asked in ask(open_, open_, other)] == ["anyone"]
