"""What a sound policy may still risk."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.core.policy_parser import compile_policy
from proxy.core.workbench.audit import audit
from proxy.core.workbench.lints import Lint

SECRET = "c0ffee-4d7b-98a1-" * 3
POLICY = """\
version: 1
deployment: school
backends: {lms: {servers: ["http://127.0.0.1:9000", "http://localhost:9001"]}}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [EdDSA]
    public_key: |
      -----BEGIN PUBLIC KEY-----
      MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
      -----END PUBLIC KEY-----
    roles: $.role
    leeway: 60s
roles: [student]
limits:
  door: {rate: 30/minute, per: client}
  form: {rate: 5/minute, per: client}
  loose: {rate: 31/minute, per: client}
  free: {rate: unlimited, per: client}
fields: {name: {mode: random}}
views: {anyone: {name: plain}, student: {name: plain}}
rules:
  - {id: home, match: GET /, allow: anyone}
  - {id: login, match: POST /login, allow: anyone, limits: [door], max_body: 1KiB}
  - id: user
    match: GET,PUT /users/{id}
    allow: [student]
    protect: {request: {$.name: name}, response: {$.name: name}}
  - {id: user-delete, match: "DELETE /users/{id}", allow: [student]}
"""
PUBLIC = POLICY[POLICY.index("    algorithms") : POLICY.index("    roles")]


def risks(text: str, *ignored: Lint, **environment: str) -> list[tuple[str, str]]:
    """Return lint and message of every risk; unused limits are no matter."""
    compiled = compile_policy([("p.yaml", text)], environment)
    found = audit(compiled.policy, compiled.draft, ignored)
    return [(risk.lint.slug, risk.message) for risk in found]


TLS = (
    '"http://localhost:9001"]}}',
    '"http://localhost:9001"], tls: {verify: %s}}}',
)


def verified(what: str) -> str:
    """Return the policy with a backend over TLS of which so much is checked."""
    before, after = TLS
    return edited(("http://127.0.0.1", "https://10.0.0.1"), (before, after % what))


def edited(*edits: tuple[str, str]) -> str:
    """Return the policy with each text replaced, once."""
    text = POLICY
    for before, after in edits:
        assert before in text
        text = text.replace(before, after, 1)
    return text


def with_rule(rule: str) -> str:
    """Return the policy with one more rule."""
    return f"{POLICY}  - {{{rule}}}\n"


def issuer_of(algorithm: str, key: str) -> str:
    """Return the policy with an issuer of this algorithm and key."""
    return POLICY.replace(PUBLIC, f"    algorithms: [{algorithm}]\n    {key}\n")


def public_key(bits: int) -> str:
    """Return a new RSA public key as a YAML value."""
    pem = (
        rsa.generate_private_key(65537, bits)
        .public_key()
        .public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    )
    return f'public_key: "{pem.decode()}"'.replace("\n", "\\n")


def test_policy_without_risks_has_none() -> None:
    """A policy that a reviewer has nothing to ask about is left alone."""
    assert risks(POLICY) == []


@pytest.mark.parametrize(
    ("text", "lint", "message"),
    [
        pytest.param(
            with_rule('id: all, match: "GET /{path...}", allow: [student]'),
            *("catch-all", "/{path...} is every path"),
            id="catch-all",
        ),
        pytest.param(
            with_rule('id: all, match: "GET /{a}/{path...}", allow: [student]'),
            *("catch-all", "/{a}/{path...} is every path"),
            id="catch-all-but-one",
        ),
        pytest.param(
            with_rule('id: note, match: "* /notes", allow: [student]'),
            *("every-method", "note is for every method"),
            id="every-method",
        ),
        pytest.param(
            with_rule("id: talk, match: POST /talk, allow: anyone, max_body: 1KiB"),
            *("unlimited-write", "anyone may use talk without a limit"),
            id="no-limit",
        ),
        pytest.param(
            with_rule(
                "id: talk, match: POST /talk, allow: anyone, max_body: 1KiB, "
                "limits: [free]"
            ),
            *("unlimited-write", "anyone may use talk without a limit"),
            id="unlimited",
        ),
        pytest.param(
            with_rule("id: talk, match: POST /talk, allow: anyone, limits: [form]"),
            *("large-anonymous-body", "talk has no max_body"),
            id="max-body",
        ),
        pytest.param(
            edited(("limits: [door]", "limits: [loose]")),
            *("generous-login", "login may be tried 31/minute"),
            id="generous",
        ),
        pytest.param(
            with_rule(
                "id: form, match: POST /signIn, allow: anyone, max_body: 1KiB, "
                "limits: [form]"
            ),
            *("second-door", "form and login do not share a limit"),
            id="second-door",
        ),
        pytest.param(
            with_rule('id: find, match: "GET /find/{userEmail}", allow: [student]'),
            *("personal-path", "{userEmail} looks personal (email)"),
            id="personal-path",
        ),
        pytest.param(
            with_rule("id: list, match: GET /users, allow: [student]"),
            *("unprotected-person", "list is about people (user)"),
            id="unprotected-person",
        ),
        pytest.param(
            edited(("request: {$.name: name}, ", "")),
            *("written-in-clear", "$.name (name) is written as it is by user"),
            id="written-in-clear",
        ),
        pytest.param(
            edited(
                ("GET,PUT /users/{id}", "GET /users/{id}"),
                (
                    "  - {id: user-d",
                    (
                        '  - {id: edit, match: "PATCH /users/{x}", allow: [student],\n'
                        "     protect: {response: {$.name: name}}}\n  - {id: user-d"
                    ),
                ),
            ),
            *("written-in-clear", "$.name (name) is written as it is by edit"),
            id="written-in-clear-by-another",
        ),
        pytest.param(
            with_rule(
                "id: note, match: POST /notes, allow: [student], protect: "
                "{request: {$.author: name}}"
            ),
            *("ciphertext-shown", "$.author (name) is only encrypted by note"),
            id="ciphertext-shown",
        ),
        pytest.param(
            with_rule(
                "id: wall, match: GET /wall, allow: anyone, protect: "
                "{response: {$.author: name}}"
            ),
            *("plain-for-anyone", "anyone reads name by wall"),
            id="plain-for-anyone",
        ),
        pytest.param(
            issuer_of("RS256", public_key(2048)),
            *("short-key", "a key of lumina has 2048 bits"),
            id="short-key",
        ),
        pytest.param(
            edited(("leeway: 60s", "leeway: 61s")),
            *("long-leeway", "lumina forgives 61s"),
            id="leeway",
        ),
        pytest.param(
            POLICY.replace("student", "Everyone"),
            *("word-for-all", "'Everyone' is the name of a role"),
            id="word-for-all",
        ),
        pytest.param(
            with_rule(
                "id: room, match: GET /room, allow: [student], "
                "upgrade: {protocols: [websocket], close_on_expiry: false}"
            ),
            *("tunnel-outlives-token", "room does not close on expiry"),
            id="tunnel",
        ),
        pytest.param(
            edited(
                ("backends:", 'listeners: {out: {listen: ":8081"}}\nbackends:'),
                ("id: home,", "id: home, listener: out,"),
            ),
            *("listener-in-clear", "out listens at 0.0.0.0:8081 without TLS"),
            id="listener",
        ),
        pytest.param(
            edited(("localhost", "lms")),
            *("backend-in-clear", "lms is asked at lms over http"),
            id="backend",
        ),
        pytest.param(
            edited(("127.0.0.1", "10.0.0.1")),
            *("backend-in-clear", "lms is asked at 10.0.0.1 over http"),
            id="backend-address",
        ),
        pytest.param(
            verified("none"),
            *("backend-unverified", "nothing of the certificates of lms is checked"),
            id="backend-unverified",
        ),
        pytest.param(
            verified("chain"),
            *(
                "backend-unverified",
                "only the chain of the certificates of lms is checked",
            ),
            id="backend-unnamed",
        ),
        pytest.param(
            edited(
                (
                    "match: GET /, allow: anyone",
                    "match: GET /, allow: anyone, mode: shadow",
                )
            ),
            *("not-enforced", "home is in shadow mode"),
            id="shadow",
        ),
        pytest.param(
            edited(("deployment: school\n", "")),
            *("default-deployment", "the deployment has no name of its own"),
            id="deployment",
        ),
    ],
)
def test_risk_is_asked_about(text: str, lint: str, message: str) -> None:
    """Each risk is one question, by its name."""
    assert risks(text) == [(lint, message)]


def test_shared_secret_is_asked_about_and_never_shown() -> None:
    """A secret from the environment is a note; one in the file is a warning, too."""
    kept = issuer_of("HS256", 'secret: "${S}"')
    written = issuer_of("HS256", f'keys: [{{kid: a, secret: "{SECRET}"}}]')
    weak = issuer_of("HS256", 'secret: "${S}"')

    note = ("shared-secret", "lumina signs with HS256")
    assert risks(kept, S=SECRET) == [note]
    assert risks(written) == [
        note,
        ("secret-in-file", "the secret of lumina is written"),
    ]
    assert risks(weak, S="abcdefghi" * 4) == [
        note,
        ("guessable-secret", "the secret of lumina has few different characters"),
    ]
    assert SECRET not in str(risks(written))


def test_default_of_a_secret_is_in_the_file() -> None:
    """A default that is in use is a secret that everybody has."""
    text = issuer_of("HS256", f'secret: "${{S:-{SECRET}}}"')

    assert "secret-in-file" in dict(risks(text))
    assert "secret-in-file" not in dict(risks(text, S=SECRET[::-1]))


def test_long_key_is_not_asked_about() -> None:
    """A key that will do beyond 2030 is left alone."""
    assert risks(issuer_of("PS256", public_key(3072))) == []


def test_doors_that_share_a_limit_are_one() -> None:
    """A login form with the limit of the login gives no more guesses."""
    rule = "id: form, match: POST /session, allow: anyone, max_body: 1KiB"

    assert risks(with_rule(f"{rule}, limits: [door, form]")) == []


def test_masked_value_may_be_for_anyone() -> None:
    """What anyone gets to see masked is no question."""
    rule = "id: wall, match: GET /wall, allow: anyone, protect: {response: {$.a: name}}"
    text = with_rule(rule).replace("anyone: {name: plain}", "anyone: {name: mask}")

    assert risks(text) == []


def test_answered_question_is_left_out() -> None:
    """A lint that is ignored finds nothing; the others go on."""
    text = with_rule("id: talk, match: POST /talk, allow: anyone")

    assert [lint for lint, _ in risks(text)] == [
        "large-anonymous-body",
        "unlimited-write",
    ]
    assert [lint for lint, _ in risks(text, Lint.UNLIMITED_WRITE)] == [
        "large-anonymous-body"
    ]


def test_risk_is_told_as_a_finding() -> None:
    """A risk has the place, the name of its lint, and what can happen."""
    compiled = compile_policy([("p.yaml", edited(("leeway: 60s", "leeway: 2m")))], {})
    [risk] = audit(compiled.policy, compiled.draft)

    assert str(risk.finding) == (
        "p.yaml:14:13: warning: issuers.lumina.leeway: long-leeway: lumina forgives "
        "120s (an expired or stolen token counts that much longer)"
    )
