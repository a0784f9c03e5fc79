"""Exactly one rule for a method and a path, or a refusal that says why."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.core.routing import MAX_DEPTH, Ambiguity, Pattern, Router


@dataclasses.dataclass(frozen=True)
class Rule:
    """As much of a rule as routing needs."""

    id: str
    methods: frozenset[str]
    pattern: Pattern
    tolerate: frozenset[Ambiguity] = frozenset()


def rule(match: str, *tolerate: Ambiguity) -> Rule:
    """Make a rule from ``GET,POST /path`` or ``* /path``, which is its id too."""
    methods, _, path = match.partition(" ")
    named = frozenset() if methods == "*" else frozenset(methods.split(","))
    return Rule(match, named, Pattern.parse(path), frozenset(tolerate))


def router(*matches: str) -> Router[Rule]:
    """Make a router of rules that tolerate nothing."""
    return Router(rule(match) for match in matches)


def refusal(routes: Router[Rule], method: str, path: str) -> Refused:
    """Return how ``routes`` refuse a request."""
    with pytest.raises(Refused) as caught:
        routes.match(method, path)
    return caught.value


@pytest.mark.parametrize(
    ("text", "segments", "params", "rest"),
    [
        ("/", ("",), (), False),
        ("/a/b", ("a", "b"), (), False),
        ("/a/", ("a", ""), (), False),
        ("/a/{id}", ("a", None), ("id",), False),
        ("/{a}/x/{b}/", (None, "x", None, ""), ("a", "b"), False),
        ("/files/{path...}", ("files",), ("path",), True),
        ("/{any...}", (), ("any",), True),
        ("/{a}/{b...}", (None,), ("a", "b"), True),
        ("/café/%7Ejo", ("caf%C3%A9", "~jo"), (), False),
        ("/jobs%3arun", ("jobs:run",), (), False),
        ("/a|b", ("a%7Cb",), (), False),
        ("/a%2fb;c", ("a%2Fb;c",), (), False),
    ],
)
def test_patterns_compile(
    text: str, segments: tuple[str | None, ...], params: tuple[str, ...], rest: bool
) -> None:
    """A pattern is its canonical literals and the places of its parameters."""
    expected = Pattern(text=text, segments=segments, params=params, rest=rest)

    assert expected == Pattern.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not start with '/'"),
        ("a/b", "does not start with '/'"),
        ("http://host/a", "does not start with '/'"),
        ("/a?b=c", "query"),
        ("/a#b", "fragment"),
        ("//a", "empty segment"),
        ("/a//b", "empty segment"),
        ("/a//", "empty segment"),
        ("/a/{b}c", "is not a parameter"),
        ("/a/x{b}", "is not a parameter"),
        ("/a/{}", "is not a parameter"),
        ("/a/{1}", "is not a parameter"),
        ("/a/{a-b}", "is not a parameter"),
        ("/a/{a..}", "is not a parameter"),
        ("/a/b}", "is not a parameter"),
        ("/a/{...}", "is not a parameter"),
        ("/a/{é}", "is not a parameter"),
        ("/{a}/{a}", "'a' occurs twice"),
        ("/{a}/{a...}", "'a' occurs twice"),
        ("/{a...}/b", "only possible as the last segment"),
        ("/{a...}/", "only possible as the last segment"),
        ("/a/*", "is no wildcard"),
        ("/a/**", "is no wildcard"),
        ("/a/../b", "dot segment"),
        ("/a/.", "dot segment"),
        ("/a/%2e%2E", "dot segment"),
        ("/a/..;x", "dot segment"),
        ("/a b", "no path may hold"),
        ("/a%0A", "no path may hold"),
        ("/100%", "no path may hold"),
        ("/x" * (MAX_DEPTH + 1), "more than 32 segments"),
    ],
)
def test_bad_patterns_are_explained(text: str, message: str) -> None:
    """What cannot be a pattern is refused at load, with a reason for people."""
    with pytest.raises(ValueError, match=message):
        Pattern.parse(text)


ROUTES = (
    "GET /",
    "GET /api/users",
    "POST /api/users",
    "GET,PATCH /api/users/{id}",
    "GET /api/users/me",
    "DELETE /api/{kind}/{id}",
    "* /api/users/{id}/notes",
    "GET /api/{rest...}",
    "GET /files/{path...}",
    "GET /files/{name}",
    "POST /jobs:run",
    "POST /jobs/{id}",
    "POST /{page}",
    "GET /dir/",
    "GET /caf%C3%A9",
    "GET /.well-known/a",
)


@pytest.mark.parametrize(
    ("method", "path", "match", "params"),
    [
        ("GET", "/", "GET /", {}),
        ("GET", "/api/users", "GET /api/users", {}),
        ("POST", "/api/users", "POST /api/users", {}),
        ("GET", "/api/users/7", "GET,PATCH /api/users/{id}", {"id": "7"}),
        ("GET", "/api/users/me", "GET /api/users/me", {}),
        ("PATCH", "/api/users/me", "GET,PATCH /api/users/{id}", {"id": "me"}),
        (
            "DELETE",
            "/api/users/me",
            "DELETE /api/{kind}/{id}",
            {"kind": "users", "id": "me"},
        ),
        ("PUT", "/api/users/7/notes", "* /api/users/{id}/notes", {"id": "7"}),
        ("*", "/api/users/7/notes", "* /api/users/{id}/notes", {"id": "7"}),
        ("GET", "/api/users/7/x", "GET /api/{rest...}", {"rest": "users/7/x"}),
        ("GET", "/api/users/", "GET /api/{rest...}", {"rest": "users/"}),
        ("GET", "/api/", "GET /api/{rest...}", {"rest": ""}),
        ("HEAD", "/api/users", "GET /api/users", {}),
        ("GET", "/files/", "GET /files/{path...}", {"path": ""}),
        ("GET", "/files/a", "GET /files/{name}", {"name": "a"}),
        ("GET", "/files/a/", "GET /files/{path...}", {"path": "a/"}),
        ("GET", "/files/a/b", "GET /files/{path...}", {"path": "a/b"}),
        ("GET", "/files/" + "a/" * 40, "GET /files/{path...}", {"path": "a/" * 40}),
        ("POST", "/jobs:run", "POST /jobs:run", {}),
        ("POST", "/jobs%3arun", "POST /jobs:run", {}),
        ("POST", "/jobs/a%40b%7e", "POST /jobs/{id}", {"id": "a%40b~"}),
        ("POST", "/%6aobs%3Arun", "POST /jobs:run", {}),
        ("GET", "/api/%75sers", "GET /api/users", {}),
        ("GET", "/dir/", "GET /dir/", {}),
        ("GET", "/caf%c3%a9", "GET /caf%C3%A9", {}),
        ("GET", "/.well-known/a", "GET /.well-known/a", {}),
        ("GET", "/%2Ewell-known/a", "GET /.well-known/a", {}),
        ("GET", "/files/.hidden", "GET /files/{name}", {"name": ".hidden"}),
        ("POST", "/ADMIN", "POST /{page}", {"page": "ADMIN"}),
    ],
)
def test_the_most_specific_rule_with_the_method_wins(
    method: str, path: str, match: str, params: dict[str, str]
) -> None:
    """Literal beats parameter beats rest, from the left, in any order of rules."""
    for matches in (ROUTES, ROUTES[::-1]):
        found = router(*matches).match(method, path)

        assert match == found.rule.id
        assert params == dict(found.params)


@pytest.mark.parametrize(
    ("method", "path", "reason", "allow"),
    [
        ("GET", "/files", Reason.METHOD_NOT_ALLOWED, "POST"),
        ("GET", "/nowhere/at/all", Reason.NO_RULE, None),
        ("GET", "/dir", Reason.METHOD_NOT_ALLOWED, "POST"),
        ("GET", "/jobs/", Reason.NO_RULE, None),
        ("POST", "/", Reason.METHOD_NOT_ALLOWED, "GET, HEAD"),
        ("PUT", "/api/users/me", Reason.METHOD_NOT_ALLOWED, "DELETE, GET, HEAD, PATCH"),
        ("get", "/", Reason.METHOD_NOT_ALLOWED, "GET, HEAD"),
        ("OPTIONS", "/dir/", Reason.METHOD_NOT_ALLOWED, "GET, HEAD"),
        ("GET", "/" + "a/" * 40, Reason.NO_RULE, None),
        ("OPTIONS", "*", Reason.MALFORMED, None),
        ("GET", "", Reason.MALFORMED, None),
        ("GET", "http://host/", Reason.MALFORMED, None),
        ("CONNECT", "host:443", Reason.MALFORMED, None),
    ],
)
def test_what_no_rule_matches_is_refused(
    method: str, path: str, reason: Reason, allow: str | None
) -> None:
    """Nothing is served by omission, and a 405 lists what would be (RFC 9110)."""
    refused = refusal(router(*ROUTES), method, path)

    assert reason is refused.reason
    assert (() if allow is None else (("Allow", allow),)) == refused.headers


@pytest.mark.parametrize(
    ("rules", "method", "expected"),
    [
        (("* /a", "GET /a"), "GET", "GET /a"),
        (("* /a", "GET /a"), "POST", "* /a"),
        (("* /a", "GET /a"), "HEAD", "GET /a"),
        (("HEAD /a", "GET /a"), "HEAD", "HEAD /a"),
        (("GET /a", "HEAD /a"), "HEAD", "HEAD /a"),
        (("HEAD /{x}", "GET /a"), "HEAD", "GET /a"),
        (("* /a", "GET /{x}"), "GET", "* /a"),
        (("POST /a", "* /{x}"), "GET", "* /{x}"),
    ],
)
def test_methods_choose_among_equal_paths(
    rules: tuple[str, ...], method: str, expected: str
) -> None:
    """An explicit method beats any method, but a more specific path beats both."""
    assert expected == router(*rules).match(method, "/a").rule.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /a", "GET /a"),
        ("GET /a", "GET,POST /a"),
        ("* /a", "* /a"),
        ("GET /{x}", "GET /{y}"),
        ("GET /a/{x...}", "GET /a/{y...}"),
        ("GET /a%3Ab", "GET /a:b"),
        ("GET /%7Ea", "GET /~a"),
    ],
)
def test_ties_are_an_error_at_load(one: str, other: str) -> None:
    """Two rules that match equally well are reported, not ranked."""
    first, between, second = rule(one), rule("GET /other"), rule(other)
    expected = [(first, second)]

    assert expected == Router.ties([first, between, second])
    with pytest.raises(ValueError, match="match the same requests"):
        Router([first, between, second])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /a", "POST /a"),
        ("GET /a", "* /a"),
        ("GET /a", "HEAD /a"),
        ("GET /a", "GET /a/"),
        ("GET /a", "GET /{x}"),
        ("GET /{x}", "GET /{x...}"),
        ("GET /{a}/b", "GET /a/{b}"),
    ],
)
def test_rules_that_differ_do_not_tie(one: str, other: str) -> None:
    """Another method or another shape is another rule."""
    assert Router.ties([rule(one), rule(other)]) == []


def test_every_pair_of_a_tie_is_reported_once() -> None:
    """Three rules that share two methods are three pairs."""
    one, two, three = (rule(f"GET,PUT /{{{name}}}") for name in "abc")

    assert [(one, two), (one, three), (two, three)] == Router.ties([one, two, three])


BYPASSES = {
    "/a/../admin": "dot-segment",
    "/a/%2e%2e/admin": "dot-segment",
    "/a/..%2fadmin": "dot-segment",
    "/a/..%5cadmin": "dot-segment",
    "/a/..;/admin": "dot-segment",
    "//admin": "empty-segment",
    "/....//admin": "empty-segment",
    "/admin;x=1": "semicolon",
    "/admin%3Bx": "semicolon",
    "/admin%2f": "encoded-slash",
    "/a%2Fadmin": "encoded-slash",
    "/%252e%252e/admin": "dot-segment",
    "/a%252fadmin": "double-encoding",
    "/admin#frag": "control-character",
    "/a\\admin": "backslash",
    "/a%5cadmin": "backslash",
    "/admin%00": "control-character",
    "/admin\x00": "control-character",
    "/%%32%65%%32%65/admin": "control-character",
    "/%c0%ae%c0%ae/admin": "control-character",
}


@pytest.mark.parametrize("path", BYPASSES)
@pytest.mark.parametrize(
    "rules",
    [("GET /admin",), ("GET /admin", "* /{all...}"), ("POST /{all...}",)],
    ids=["no-rule", "catch-all", "other-method"],
)
def test_ambiguous_paths_are_refused(path: str, rules: tuple[str, ...]) -> None:
    """Known bypasses are refused whether or not a rule would have matched."""
    refused = refusal(router(*rules), "GET", path)

    assert Reason.PATH_AMBIGUOUS is refused.reason
    assert f"Found in the path: {BYPASSES[path]}." == refused.detail


@pytest.mark.parametrize(
    ("tolerated", "path"),
    [
        (Ambiguity.ENCODED_SLASH, "/files/a%2Fb"),
        (Ambiguity.EMPTY_SEGMENT, "/files/a//b"),
        (Ambiguity.BACKSLASH, "/files/a\\b"),
        (Ambiguity.BACKSLASH, "/files/a%5Cb"),
        (Ambiguity.SEMICOLON, "/files/a;v=1"),
        (Ambiguity.DOUBLE_ENCODING, "/files/50%2541"),
    ],
)
def test_a_rule_may_tolerate_an_ambiguity(tolerated: Ambiguity, path: str) -> None:
    """What a rule tolerates passes with its bytes; the others stay refused."""
    found = Router([rule("GET /files/{path...}", tolerated)]).match("GET", path)
    others = frozenset(Ambiguity) - {tolerated}
    strict = Router([rule("GET /files/{path...}", *others)])

    assert path == found.path
    assert {"path": path.removeprefix("/files/")} == found.params
    assert Reason.PATH_AMBIGUOUS is refusal(strict, "GET", path).reason


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
@pytest.mark.parametrize("path", ["/files", "/files/a"])
def test_any_method_is_no_tunnel_and_no_echo(method: str, path: str) -> None:
    """A rule for ``*`` has neither; one that names TRACE does."""
    routes = Router([rule("* /files"), rule("* /files/{path...}")])

    assert Reason.METHOD_NOT_ALLOWED is refusal(routes, method, path).reason
    assert Router([rule("TRACE /files")]).match("TRACE", "/files").path == "/files"


def test_a_rest_keeps_the_spelling_of_the_path() -> None:
    """Parameters are parts of the forwarded path, encoded where it is."""
    rules = [rule("GET /f/{p...}", Ambiguity.ENCODED_SLASH)]

    found = Router(rules).match("GET", "/f/%61%3Ab%2f/c")

    assert (found.path, found.params) == ("/f/a%3Ab%2F/c", {"p": "a%3Ab%2F/c"})


@pytest.mark.parametrize("path", ["/files/../a", "/files/%2E%2e", "/files/a%00"])
def test_some_ambiguities_are_never_tolerated(path: str) -> None:
    """Dot segments and control characters are refused even where they are listed."""
    routes = Router([rule("GET /files/{path...}", *Ambiguity)])

    assert Reason.PATH_AMBIGUOUS is refusal(routes, "GET", path).reason


def test_an_ambiguous_literal_needs_tolerance_too() -> None:
    """A rule written with ``;`` still has to say that it lets ``;`` pass."""
    tolerant = Router([rule("GET /a;b", Ambiguity.SEMICOLON)])

    assert tolerant.match("GET", "/a;b").path == "/a;b"
    assert Reason.PATH_AMBIGUOUS is refusal(router("GET /a;b"), "GET", "/a;b").reason


def test_a_parameter_is_never_empty() -> None:
    """An empty segment that is tolerated still fills no parameter."""
    routes = Router([rule("GET /a/{x}/b", Ambiguity.EMPTY_SEGMENT)])

    assert Reason.PATH_AMBIGUOUS is refusal(routes, "GET", "/a//b").reason


def test_no_rules_match_nothing() -> None:
    """An empty policy refuses every path."""
    assert Reason.NO_RULE is refusal(router(), "GET", "/").reason


SEGMENTS = st.sampled_from(["a", "b", "a:b", "{}"])
METHODS = st.sampled_from(["*", "GET", "POST", "HEAD", "GET,POST"])


@st.composite
def rule_sets(draw: st.DrawFn) -> list[Rule]:
    """Draw rules without ties."""
    rules: list[Rule] = []
    for number in range(draw(st.integers(1, 12))):
        names = iter("abcdef")
        drawn = draw(st.lists(SEGMENTS, max_size=4))
        parts = [f"{{{next(names)}}}" if one == "{}" else one for one in drawn]
        parts.append(draw(st.sampled_from(["", "z", "{z}", "{z...}"])))
        made = rule(f"{draw(METHODS)} /{'/'.join(parts)}")
        tolerate = draw(st.sets(st.just(Ambiguity.EMPTY_SEGMENT)))
        made = dataclasses.replace(
            made, id=f"{made.id} #{number}", tolerate=frozenset(tolerate)
        )
        if not Router.ties([*rules, made]):
            rules.append(made)
    return rules


def naive_rank(one: Rule, method: str, segments: list[str]) -> list[int] | None:
    """Return how well a rule matches, smaller is better, or None."""
    rank = []
    pattern = one.pattern
    if pattern.rest and len(segments) <= len(pattern.segments):
        return None
    if not pattern.rest and len(segments) != len(pattern.segments):
        return None
    for literal, segment in zip(pattern.segments, segments, strict=False):
        if literal != segment if literal is not None else not segment:
            return None
        rank.append(0 if literal is not None else 1)
    rank.extend([2] if pattern.rest else [])
    if method in one.methods:
        return [*rank, 0]
    if method == "HEAD" and "GET" in one.methods:
        return [*rank, 1]
    return None if one.methods else [*rank, 2]


@given(
    rule_sets(),
    st.sampled_from(["GET", "POST", "HEAD", "PUT"]),
    st.lists(st.sampled_from(["a", "b", "z", "", "a:b", "a%3Ab", "%61"]), max_size=6),
)
def test_the_tree_agrees_with_trying_every_rule(
    rules: list[Rule], method: str, parts: list[str]
) -> None:
    """The tree is an optimisation of ranking all rules, and nothing else."""
    path = "/" + "/".join(parts)
    canonical = path.replace("%61", "a")
    segments = canonical.replace("%3A", ":")[1:].split("/")
    ranked = [(naive_rank(one, method, segments), one) for one in rules]
    matching = sorted((rank, one.id) for rank, one in ranked if rank is not None)
    tolerant = {one.id for one in rules if one.tolerate}
    routes = Router(rules)

    if matching and ("//" not in path or matching[0][1] in tolerant):
        found = routes.match(method, path)

        assert matching[0][1] == found.rule.id
        assert canonical == found.path
        assert set(found.rule.pattern.params) == found.params.keys()
        return
    known = any(
        naive_rank(one, other, segments) is not None
        for one in rules
        for other in ("GET", "POST", "HEAD", "PUT")
    )
    expected = Reason.METHOD_NOT_ALLOWED if known else Reason.NO_RULE
    if "//" in path:
        expected = Reason.PATH_AMBIGUOUS

    assert expected is refusal(routes, method, path).reason
