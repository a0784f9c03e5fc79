"""The YAML of a policy: what it compiles to, and every way to get it wrong."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.backends import (
    Backend,
    BackendTls,
    Balance,
    Breaker,
    Ejection,
    HealthCheck,
    Server,
    Timeouts,
    Verify,
)
from proxy.core.bucket import RateLimit
from proxy.core.errors import Finding, PolicyError, Refused
from proxy.core.limit import OnStoreFailure, Per, Precision
from proxy.core.listeners import DEFAULT_LISTENER, Address, Listener, ListenerTls
from proxy.core.policy import Policy, Upgrade, View
from proxy.core.policy_parser import compile_policy, parse_policy
from proxy.core.policy_rules import OWN_METRICS
from proxy.core.reasons import Reason
from proxy.core.responses import Cookies, Cors, SameSite
from proxy.core.routing import Ambiguity
from proxy.edge import families

ROOT = Path(__file__).parents[2]
POLICIES = Path(__file__).parents[1] / "policies"
GOOD = sorted((POLICIES / "good").iterdir())
BAD = sorted(one for one in (POLICIES / "bad").iterdir() if one.suffix != ".expected")

SECRET = "c0ffee" * 12
ENVIRONMENT = {"JWT_SECRET": SECRET, "ROLE": "student"}

BEGINNING = 'version: 1\nbackends: {lms: {servers: ["http://127.0.0.1:9000"]}}\n'
RULE = "rules: [{id: home, match: GET /, allow: anyone}]\n"


def files_of(path: Path) -> list[tuple[str, str]]:
    """Return name and text of a file, or of each file in a folder."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return [(file.name, file.read_text("utf-8")) for file in files]


def findings_of(
    files: list[tuple[str, str]], environment: Mapping[str, str] = ENVIRONMENT
) -> tuple[Finding, ...]:
    """Return errors and warnings alike."""
    try:
        return parse_policy(files, environment)[1]
    except PolicyError as error:
        return error.findings


def parse(text: str, environment: Mapping[str, str] = ENVIRONMENT) -> Policy:
    """Compile one file that has no findings."""
    policy, findings = parse_policy([("policy.yaml", text)], environment)
    assert findings == ()
    return policy


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_policy_has_no_findings(path: Path) -> None:
    """Every policy in good/ compiles without a word."""
    assert findings_of(files_of(path)) == ()


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_mistake_is_found_where_it_is(path: Path) -> None:
    """Every mistake in bad/ yields exactly the findings beside it, in their order."""
    expected = path.with_name(f"{path.stem}.expected").read_text("utf-8")

    assert "".join(f"{one}\n" for one in findings_of(files_of(path))) == expected


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_finding_never_shows_a_secret(path: Path) -> None:
    """What came from the environment is in no finding."""
    assert not any(SECRET in str(one) for one in findings_of(files_of(path)))


def test_rule_says_whether_it_protects_a_body(everything: Policy) -> None:
    """Nothing is buffered for a rule that does not."""
    protecting = {rule.id for rule in everything.rules if rule.protects_body}

    assert "files" not in protecting
    assert protecting == {
        rule.id
        for rule in everything.rules
        if rule.protect_request is not None or rule.protect_form is not None
    }


@pytest.mark.parametrize(
    ("view", "shows"),
    [
        (View.PLAIN, False),
        (View.MASK, True),
        (View.MASK_YEAR, True),
        (View.MASK_FIXED, False),
        (View.PSEUDONYM, False),
        (View.NULL, True),
        (View.DROP, False),
    ],
)
def test_view_says_whether_it_shows_null_for_a_value(
    view: View, *, shows: bool
) -> None:
    """So that a null which comes back can be told from a wish to clear."""
    assert view.shows_null is shows


def test_no_file_is_a_finding() -> None:
    """A policy of no files is refused like any other mistake."""
    with pytest.raises(PolicyError, match="there is no file of a policy"):
        parse_policy([], {})


@pytest.fixture(name="everything", scope="module")
def everything_fixture() -> Policy:
    """The policy that uses every feature."""
    return parse_policy(files_of(POLICIES / "good" / "everything.yaml"), ENVIRONMENT)[0]


def test_backend_has_servers_and_times_in_seconds(everything: Policy) -> None:
    """IPv6 has no brackets, variables their defaults, and durations are seconds."""
    backend = everything.backends["lms"]

    assert backend.servers == (
        Server(host="::1", port=9000),
        Server(host="lms_2.local", port=80),
        Server(host="10.0.0.7", port=9000),
    )
    assert backend.timeouts == Timeouts(connect=0.25, first_byte=60.0, idle=3600.0)
    assert backend.health == HealthCheck(path="/health?full=1", every=5.0)
    assert everything.backends["files"].timeouts == Timeouts()
    assert everything.backends["files"].health is None


def test_backends_are_what_they_say() -> None:
    """Every key of a backend, and what it is when it is missing."""
    policy = parse_policy(files_of(POLICIES / "good" / "backends.yaml"), {})[0]
    usual = Backend(id="notebooks", servers=(Server(path="/run/jupyter.sock"),))

    assert policy.backends["notebooks"] == usual
    assert policy.backends["lms"] == Backend(
        id="lms",
        servers=(Server(host="lms-1", port=9000), Server(host="lms-2", port=9000)),
        balance=Balance.ROUND_ROBIN,
        health=HealthCheck(
            path="/health",
            every=5.0,
            timeout=1.0,
            host="lms.example",
            down_after=3,
            up_after=2,
        ),
        ejection=Ejection(after=3, seconds=30.0, at_most=1),
        breaker=Breaker(connections=100, pending=200, in_flight=250),
        retry=False,
    )
    assert policy.backends["files"] == Backend(
        id="files",
        servers=(
            Server(host="files", port=443, tls=True),
            Server(host="::1", port=8443, tls=True),
        ),
        ejection=None,
        tls=BackendTls(
            ca="/etc/lumina/ca.pem",
            certificate="/etc/lumina/proxy.pem",
            key="/etc/lumina/proxy.key",
            server_name="files.example",
            verify=Verify.CHAIN,
        ),
    )


def test_rule_has_its_own_timeouts_over_its_backends() -> None:
    """What a rule does not say is the backend's; connecting always is."""
    policy = parse_policy(files_of(POLICIES / "good" / "backends.yaml"), {})[0]
    timeouts = {rule.id: rule.timeouts for rule in policy.rules}

    assert timeouts == {
        "home": None,
        "files": None,
        "events": Timeouts(first_byte=300.0, idle=3600.0),
        "notebook": Timeouts(idle=300.0),
    }


def test_rule_says_of_answers_what_the_policy_does_but_for_its_own() -> None:
    """Fields are laid over each other one by one, everything else as a whole."""
    policy = parse_policy(files_of(POLICIES / "good" / "responses.yaml"), {})[0]
    said = {rule.id: rule.responses for rule in policy.rules}
    home, things = said["home"], said["things"]
    assert home is not None
    assert things is not None
    fields = dict(home.set)
    assert things.set == (
        *((name, text) for name, text in home.set if not name.startswith("Cross")),
        ("Cache-Control", "no-store"),
    )
    assert fields["Cross-Origin-Opener-Policy"] == "same-origin"
    assert things.default == home.default
    assert (home.remove, things.remove) == (("Server", "X-Powered-By"), ())
    assert home.frame_ancestors == ("'self'", "https://portal.example")
    assert things.frame_ancestors == ("'none'",)
    assert home.cookies == Cookies(readable=frozenset({"csrftoken"}))
    assert things.cookies == Cookies(same_site=SameSite.STRICT)
    assert things.cors == Cors(
        origins=("https://app.example", "https://*.school.example:8443"),
        headers=(),
        expose=("X-Request-ID",),
        credentials=True,
        max_age=3600.0,
    )
    assert said["raw"] is None
    assert said["closed"] == home
    opened = said["open"]
    assert opened is not None
    assert (opened.cookies, opened.frame_ancestors) == (None, None)
    assert policy.has_cors


def test_own_answers_are_hardened_by_the_rule_that_matched() -> None:
    """Where none did, by what the policy says; where nothing is said, not at all."""
    policy = parse_policy(files_of(POLICIES / "good" / "responses.yaml"), {})[0]

    assert b"X-Frame-Options: DENY" in policy.own_lines("things", None)
    assert b"frame-ancestors 'self'" in policy.own_lines("", None)
    assert policy.own_lines("home", None) == policy.own_lines("", None)
    assert policy.own_lines("raw", None) == b""


def test_connections_become_what_a_rule_names(everything: Policy) -> None:
    """Names are compared in lower case; the usual terms are an hour and the token."""
    terms = {rule.id: rule.upgrade for rule in everything.rules if rule.upgrade}

    assert terms == {
        "room": Upgrade(protocols=frozenset({b"websocket", b"shout/1.0"}), idle=3600.0),
        "hall": Upgrade(
            protocols=frozenset({b"websocket"}), idle=300.0, close_on_expiry=False
        ),
    }


def test_issuers_are_found_by_their_iss_value(everything: Policy) -> None:
    """The key is what tokens say; the id is the name in the policy."""
    people = everything.issuers["https://login.example"]

    assert people.id == "people"
    assert people.audience == ("lms", "files")
    assert people.algorithms == ("HS256", "HS512")
    assert [key.kid for key in people.keys] == ["2026-01", "2026-02"]
    assert people.roles == ("realm_access", "https://lms.example/roles")
    assert people.leeway == 300.0
    assert everything.issuers["machines"].algorithms == ("EdDSA",)
    assert everything.issuers["machines"].leeway == 0.0


def test_limits_have_a_rate_for_each_role(everything: Policy) -> None:
    """A role's own rate wins, default is for the others, unlimited is None."""
    minute, hour = 60_000_000, 3_600_000_000
    login, api = everything.limits["login"], everything.limits["api"]

    assert (login.per, api.per) == (Per.CLIENT, Per.SUBJECT)
    assert login.rate_for(None) == RateLimit.of(5, minute, 10)
    assert api.rate_for("student") == RateLimit.of(100, hour)
    assert api.rate_for("teacher") is None
    assert api.rate_for("urn:lti#Instructor") == RateLimit.of(10, minute // 2)


def test_limits_are_exact_and_local_unless_they_say_so(everything: Policy) -> None:
    """What is done without the store, and how exactly is counted, is each limit's."""
    [login, *_] = everything.rules
    first, second = login.limits
    api = everything.limits["api"]

    assert first.on_store_failure is OnStoreFailure.DENY
    assert second.precision is Precision.LEASED
    assert (api.on_store_failure, api.precision) == (
        OnStoreFailure.LOCAL,
        Precision.EXACT,
    )


def test_inline_limit_is_named_after_its_rule(everything: Policy) -> None:
    """A limit written in a rule has the rule's id and its place in the list."""
    [login, *_] = everything.rules

    assert [limit.id for limit in login.limits] == ["login", "login#1"]


def test_name_beats_glob_in_views(everything: Policy) -> None:
    """The longer glob beats the shorter, a name beats both, and the rest is masked."""
    seen = {field: everything.view("student", field) for field in everything.fields}

    assert seen == {
        "user.name": View.PLAIN,
        "user.mail": View.MASK,
        "note.text": View.MASK,
    }
    assert everything.view(None, "user.name") is View.MASK


def test_rule_is_compiled(everything: Policy) -> None:
    """Every key of a rule ends up in the frozen rule."""
    login, user, *_, files, egress, local = everything.rules

    assert login.allow is None
    assert login.max_body_bytes == 64 * 1024
    assert user.methods == {"GET", "PATCH"}
    assert user.allow == frozenset({"student", "teacher", "urn:lti#Instructor"})
    assert user.count == "lumina_users_read_total"
    assert user.protect_request
    assert user.protect_request.fields == {"user.name", "user.mail", "note.text"}
    assert user.protect_response == user.protect_request
    assert files.methods == frozenset()
    assert files.backend.id == "files"
    assert files.tolerate == {Ambiguity.ENCODED_SLASH, Ambiguity.EMPTY_SEGMENT}
    assert [one.listener for one in (user, egress, local)] == [
        *("default", "egress", "local"),
    ]
    assert files.max_body_bytes == 10**9
    assert everything.router.match("GET", "/users/7").rule is user


def test_listener_is_compiled(everything: Policy) -> None:
    """Where it listens, how, and how many it takes; the default one is always there."""
    tls = ListenerTls(
        certificate="/etc/lumina/tls.pem", key="/etc/lumina/tls.key", tls_1_2=True
    )
    here = Address(host="127.0.0.1", port=8081)
    local = Address(path="/run/lumina/local.sock")

    assert everything.listeners == {
        "default": Listener(tls=tls, proxy_protocol=True, max_connections=5000),
        "egress": Listener(id="egress", address=here),
        "local": Listener(
            id="local",
            address=local,
            tls=ListenerTls(certificate="/etc/lumina/all.pem"),
        ),
    }
    alone = parse_policy(files_of(POLICIES / "good" / "minimal.yaml"), ENVIRONMENT)[0]
    assert alone.listeners == {DEFAULT_LISTENER: Listener()}


def test_each_listener_has_its_own_rules(everything: Policy) -> None:
    """One path is of another rule at each of them, or of none."""
    ids = {
        name: everything.at(name).router.match("GET", "/users/7").rule.id
        for name in everything.listeners
    }

    assert ids == {"default": "user", "egress": "egress", "local": "local"}
    assert {rule.id for rule in everything.at("egress").rules} == {"egress"}
    assert everything.at("default").router is everything.router
    assert everything.at("nowhere").rules == ()
    with pytest.raises(Refused):
        everything.at("egress").router.match("GET", "/files/a")


def test_words_of_yaml_are_plain_strings() -> None:
    """What YAML 1.1 calls a boolean, a null or a number stays what was written."""
    policy, _ = parse_policy(files_of(POLICIES / "good" / "words.yaml"), ENVIRONMENT)

    assert policy.roles == ("no", "null", "1:30")
    assert list(policy.backends) == ["0x10"]
    assert policy.issuers["yes"].audience == ("010",)
    assert policy.rules[0].id == "1_000"


def test_folder_is_one_policy() -> None:
    """Lists of several files are laid together, and each may use the other's names."""
    policy, _ = parse_policy(files_of(POLICIES / "good" / "folder"), ENVIRONMENT)

    assert [rule.id for rule in policy.rules] == ["class", "me"]
    assert policy.roles == ("teacher", "student")
    assert policy.rules[1].limits == (policy.limits["api"],)


def test_variable_fills_a_value_in() -> None:
    """A set variable wins over the default; unset and empty mean the default."""
    text = BEGINNING + 'deployment: "a-${NAME:-b}-c"\n' + RULE

    assert parse(text, {"NAME": "x: {y: z}"}).deployment == "a-x: {y: z}-c"
    assert parse(text, {"NAME": ""}).deployment == "a-b-c"
    assert parse(text, {}).deployment == "a-b-c"


def test_control_character_of_a_variable_is_refused() -> None:
    """A variable can bring no NUL along, and is not shown when it tries."""
    text = BEGINNING + 'deployment: "${NAME}"\n' + RULE
    [finding] = findings_of([("policy.yaml", text)], {"NAME": "hunter2\0"})

    assert finding.message == "a control character is not allowed"
    assert "hunter2" not in str(finding)


def test_long_value_is_shortened() -> None:
    """A finding quotes the beginning of a value only."""
    text = BEGINNING + f"rules: [{{id: {'x' * 5000}, match: GET /, allow: anyone}}]\n"
    [finding] = findings_of([("policy.yaml", text)])

    assert len(str(finding)) < 200


def test_deployment_is_default_unless_named() -> None:
    """The deployment is bound into ciphertexts, so its default is one fixed word."""
    assert parse(BEGINNING + RULE).deployment == "default"


def test_digest_is_of_what_was_written() -> None:
    """The digest changes with the text, not with variables; file ends count."""
    text = BEGINNING + 'deployment: "${NAME}"\n' + RULE
    digest = parse(text, {"NAME": "a"}).digest

    assert len(digest) == 16
    assert digest == parse(text, {"NAME": "b"}).digest
    assert digest != parse(text + "# more\n", {"NAME": "a"}).digest


def test_findings_of_several_files_are_in_file_order() -> None:
    """Findings are sorted by file as given, then by line and column."""
    wrong = "version: 2\nfoo: 1\n"
    found = findings_of([("b.yaml", wrong), ("a.yaml", wrong)])

    places = [(one.file, one.line) for one in found]
    assert [place for place in places if place[0] == "a.yaml"] == places[-2:]
    assert places == sorted(places, key=lambda place: (place[0] != "b.yaml", place[1]))


def test_policy_error_is_one_line_for_each_finding() -> None:
    """The text of the error is what check prints."""
    with pytest.raises(PolicyError) as caught:
        parse_policy([("policy.yaml", "version: 2\n")], {})

    lines = str(caught.value).splitlines()
    assert lines == [str(finding) for finding in caught.value.findings]


def test_policy_of_the_lms_has_no_findings() -> None:
    """The policy that is delivered passes its own check, warnings and all."""
    file = ROOT / "policies" / "lms.yaml"

    policy = parse(file.read_text("utf-8"))
    assert {rule.count for rule in policy.rules if rule.count} == {
        "lumina_pathways_generated_total",
        "lumina_assessments_completed_total",
    }


@pytest.mark.parametrize(
    ("method", "path", "rule", "roles"),
    [
        ("POST", "/api/auth/login", "login", None),
        ("POST", "/api/users", "user-create", {"teacher", "admin"}),
        ("GET", "/api/users/7", "user", {"teacher", "admin"}),
        ("DELETE", "/api/users/7", "user-delete", {"admin"}),
        ("POST", "/api/notes/search", "note-search", {"student", "teacher", "admin"}),
        ("HEAD", "/api/files/a.pdf", "file", {"student", "teacher", "admin"}),
        ("GET", "/", "home", None),
    ],
)
def test_policy_of_the_lms_allows_whom_it_says(
    method: str, path: str, rule: str, roles: set[str] | None
) -> None:
    """Requests of the LMS meet the rule, and the roles, that one would expect."""
    policy = parse((ROOT / "policies" / "lms.yaml").read_text("utf-8"))
    found = policy.router.match(method, path).rule

    assert (found.id, found.allow) == (rule, roles)


def test_login_and_register_have_buckets_of_their_own() -> None:
    """Registering does not use up the logins, while both doors to login share one."""
    policy = parse((ROOT / "policies" / "lms.yaml").read_text("utf-8"))
    limits = {rule.id: [limit.id for limit in rule.limits] for rule in policy.rules}

    assert limits["login"] == limits["login-form-submit"] == ["login"]
    assert limits["register"] == ["register"]


def test_every_reason_is_documented() -> None:
    """The table of the policy guide is the table of reasons."""
    guide = (ROOT / "policies" / "README.md").read_text("utf-8")

    rows = [line for line in guide.splitlines() if line.startswith("| `")]
    for reason in Reason:
        assert f"| `{reason.slug}` | {reason.status} | {reason.title} |" in rows


@pytest.mark.parametrize("word", [word.value for word in Ambiguity])
def test_every_ambiguity_is_documented(word: str) -> None:
    """The policy guide explains every word that tolerate knows."""
    assert f"| `{word}` |" in (ROOT / "policies" / "README.md").read_text("utf-8")


def test_policy_is_frozen(everything: Policy) -> None:
    """Nobody changes a policy that is in force."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        everything.digest = "other"  # type: ignore[misc]


def test_two_thousand_rules_compile() -> None:
    """A policy is as large as it has to be."""
    rules = "".join(
        f"  - {{id: r{n}, match: 'GET /r{n}/{{id}}', allow: anyone}}\n"
        for n in range(2_000)
    )

    assert len(parse(f"{BEGINNING}rules:\n{rules}").rules) == 2_000


ODD = st.sampled_from(
    ["${A}", "${", "*a", "&a ", "!!x ", "? ", "- ", ": ", "{", "}", "[", "]", "\n  "]
)
PARTS = st.one_of(st.text(max_size=8), ODD, st.just("version: 1\n"))
TEXTS = st.lists(PARTS, max_size=12).map("".join)


@given(TEXTS)
@example('"\\UFFFFFFFF"')
@example("%YAML 9.9\n---\na")
@example("\ud800")
@example("[" * 2000)
@example("? {a: [b]}\n: *c")
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    """No text makes the parser raise anything else than PolicyError."""
    assert findings_of([("policy.yaml", text)])


WORDS = (
    *("id", "match", "allow", "limits", "protect", "request", "rate", "per", "mode"),
    *("servers", "anyone", "GET /", "5/minute", "", "${A}", "http://a:1", "lms", "$.a"),
)


def shapes() -> st.SearchStrategy[object]:
    """Return JSON values, which are YAML too, with the words of policies in them."""
    words = st.sampled_from(WORDS)
    return st.recursive(
        st.one_of(words, st.none(), st.booleans(), st.integers(), st.floats()),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=6)
        ),
        max_leaves=20,
    )


@given(st.dictionaries(st.sampled_from(["backends", "rules", "limits"]), shapes()))
def test_any_shape_is_a_policy_or_a_policy_error(document: dict[str, object]) -> None:
    """No structure makes the parser raise anything else than PolicyError."""
    text = json.dumps({"version": 1, **document})

    assert findings_of([("policy.yaml", text)])


def test_no_counter_of_a_policy_is_a_metric_of_the_proxy() -> None:
    """Every family of the proxy begins as no counter of a policy may."""
    for_policies = {"lumina_pathways_generated", "lumina_assessments_completed"}
    own = {*families.COUNTERS, *families.GAUGES, *families.HISTOGRAMS} - for_policies

    assert [
        name for name in own if not f"{name}_".startswith((*OWN_METRICS, "python_"))
    ] == []


def test_compiled_policy_knows_where_its_rules_stand() -> None:
    """In the file and at the line that a person has to open."""
    files = [("a.yaml", BEGINNING), ("b.yaml", f"version: 1\n{RULE}")]
    places = compile_policy(files, ENVIRONMENT).draft.rule_places()

    assert {rule: str(place) for rule, place in places.items()} == {
        "home": "b.yaml:2:9"
    }


@pytest.mark.parametrize(
    ("line", "path"),
    [("", "/health"), ("health: /-/alive\n", "/-/alive"), ("health: none\n", None)],
    ids=["usual", "moved", "dropped"],
)
def test_health_of_the_data_port_is_asked_for_at_its_path(
    line: str, path: str | None
) -> None:
    """By GET and HEAD, and nowhere else."""
    policy = parse(BEGINNING + RULE + line)
    asked = [
        (method, where)
        for method in ("GET", "HEAD", "POST")
        for where in ("/health", "/-/alive", "/", "none", "")
        if policy.is_health(method, where)
    ]

    assert asked == ([("GET", path), ("HEAD", path)] if path else [])


def test_role_of_a_token_is_told_if_the_policy_has_it(everything: Policy) -> None:
    """In the token's order; names that only a token knows are none."""
    known = everything.roles[0]
    asked = [everything.known_role(roles) for roles in (("x", known), ("x",), ())]

    assert asked == [known, "", ""]


GUARDED = POLICIES / "good" / "guards.yaml"


@pytest.fixture(name="guarded", scope="module")
def guarded_fixture() -> Policy:
    """A policy that asks for all there is beside a role."""
    return parse(GUARDED.read_text("utf-8"))


def test_roles_inherit_permission(guarded: Policy) -> None:
    """Near and far, and only upwards."""
    allowed = {rule.id: rule.allow for rule in guarded.rules}

    assert allowed == {
        "own": {"student", "teacher", "head"},
        "office-hours": {"teacher", "head"},
        "open": None,
        "audit": {"auditor", "head"},
    }
    assert guarded.roles == ("student", "teacher", "head", "auditor")


def test_rule_asks_for_what_is_written(guarded: Policy) -> None:
    """Scopes, owner, condition and addresses, those of a list among them."""
    guard = guarded.rules[0].guard
    assert guard is not None
    assert guard.addresses is not None
    assert guard.condition is not None

    assert (guard.scopes, guard.owner) == (("notes.read", "urn:lms:notes"), "id")
    assert guard.condition.names == {"claims", "path.note"}
    assert guard.addresses.admits("2001:db8::1")
    assert not guard.addresses.admits("10.9.0.1")
    assert guard.places == (("id", 2), ("note", 4))
    assert guarded.asks_claims
    assert not parse(BEGINNING + RULE).asks_claims


def test_mode_is_of_a_rule_or_of_all(guarded: Policy) -> None:
    """A policy that is in shadow mode as a whole serves what no rule matches, too."""
    whole = parse(GUARDED.read_text("utf-8").replace("mode: enforce", "mode: shadow"))

    assert [rule.shadow for rule in guarded.rules] == [False, True, False, False]
    assert all(rule.shadow for rule in whole.rules)
    assert guarded.unmatched is None
    assert whole.unmatched is not None
    assert (whole.unmatched.id, whole.unmatched.backend.id) == ("", "lms")
