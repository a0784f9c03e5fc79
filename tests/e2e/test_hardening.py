"""The threat model, attack by attack, against a process of its own.

What one module can show is shown by that module's tests. Here is what only the whole
can: that an attack which is refused never reaches the backend, and what the backend
gets when a request is served.
"""

import base64
import contextlib
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.conftest import DEADLINE, ROOT
from tests.e2e.sidecar import FAR, Sidecar
from tests.e2e.wiretap import Wiretap, answer, json_answer, saying
from tests.edge.test_listener import MALFORMED
from tests.redis_server import redis_server

POLICY = """\
version: 1
deployment: hardening
backends:
  lms: {servers: ["${BACKEND_URL}"]}
issuers:
  people:
    {issuer: people, audience: lms, algorithms: [HS256], secret: "${JWT_SECRET}",
     roles: $.role}
  machines:
    {issuer: machines, audience: lms, algorithms: [RS256], public_key: "${RSA_KEY}",
     roles: $.role}
roles: [student, teacher, admin]
limits:
  login: {rate: 3/hour, per: client}
  few: {rate: 3/hour, per: subject}
fields:
  user.name: {mode: random}
  note.text: {mode: random}
views:
  teacher: {"*": plain}
rules:
  - {id: public, match: "* /public/{path...}", allow: anyone}
  - {id: files, match: "GET /files/{path...}", allow: anyone, tolerate: [encoded-slash]}
  - {id: admin, match: "* /admin/{path...}", allow: [admin]}
  - {id: mine, match: "* /mine", allow: [student, teacher]}
  - {id: login, match: POST /login, allow: anyone, limits: [login]}
  - {id: few, match: GET /few, allow: [teacher], limits: [few]}
  - {id: upload, match: PUT /upload, allow: [teacher], max_body: 1KiB}
  - id: people
    match: GET,POST /people
    allow: [student, teacher]
    protect:
      request: {"$.items[*].name": user.name, $.note: note.text}
      response: {"$.items[*].name": user.name, $.note: note.text}
"""


def public_key(key: rsa.RSAPrivateKey) -> str:
    """Return the PEM of a key's public half."""
    form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(*form).decode()


@pytest.fixture(scope="module")
def machine() -> rsa.RSAPrivateKey:
    """The key of the issuer that signs with RSA."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def wiretap() -> Iterator[Wiretap]:
    """The backend of all tests of this module."""
    tap = Wiretap()
    yield tap
    tap.stop()


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
    wiretap: Wiretap,
    machine: rsa.RSAPrivateKey,
) -> Iterator[Sidecar]:
    """One proxy for all tests that leave it as they found it."""
    environment = {
        "BACKEND_URL": f"http://127.0.0.1:{wiretap.port}",
        "RSA_KEY": public_key(machine),
        "METRICS_TOKEN": "metrics-token",
    }
    one = Sidecar(tmp_path_factory.mktemp("sidecar"), POLICY, environment)
    try:
        yield one.wait()
    finally:
        one.stop()


@pytest.fixture
def sidecar(running: Sidecar, wiretap: Wiretap) -> Sidecar:
    """Give the proxy with a backend that has heard nothing."""
    wiretap.clear()
    wiretap.answers.clear()
    return running


def spoken(port: int, data: bytes) -> bytes:
    """Send bytes and return everything until the proxy closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as raw:
        received = b""
        with contextlib.suppress(ConnectionError):
            raw.sendall(data)
            while chunk := raw.recv(65536):
                received += chunk
        return received


def refused(status: int, body: bytes) -> tuple[int, str]:
    """Return the status and the reason of a problem document."""
    return status, json.loads(body)["reason"]


SMUGGLED = b"GET /admin/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def test_no_request_is_smuggled(sidecar: Sidecar, wiretap: Wiretap) -> None:
    """Whatever can be framed in two ways is answered once, and reaches no backend."""
    for name, head in MALFORMED:
        target = b"/public/x"
        data = head.replace(b" / ", b" " + target + b" ") + b"\r\n" + SMUGGLED
        answered = spoken(sidecar.data, data)

        assert answered.startswith(b"HTTP/1.1 400 "), name
        assert len(re.findall(rb"HTTP/1\.1 \d{3} ", answered)) == 1, name
    assert wiretap.heard == []


def test_a_hidden_request_stays_a_body(sidecar: Sidecar, wiretap: Wiretap) -> None:
    """A request inside a body, or inside chunks, is forwarded as the body it is."""
    chunked = b"%x\r\n%b\r\n0\r\nX-Trailer: t\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    for framing, body in (
        (b"Content-Length: %d" % len(SMUGGLED), SMUGGLED),
        (b"Transfer-Encoding: chunked", chunked),
    ):
        head = b"POST /public/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        answered = spoken(sidecar.data, head + framing + b"\r\n\r\n" + body)

        assert answered.startswith(b"HTTP/1.1 200 ")
    assert [heard.body for heard in wiretap.heard] == [SMUGGLED, SMUGGLED]
    assert all(b"railer" not in heard.head for heard in wiretap.heard)


DOUBTFUL = r"""
    /public/../admin/x        /public/%2e%2e/admin/x   /public/.%2E/admin/x
    /public/%252e%252e/admin  /public/..;/admin/x      /public/..%2fadmin/x
    /public/..%5cadmin/x      /public/..\admin/x       /public//admin/x
    /public/x;/../admin       /public/%00/admin        /public/%c0%ae%c0%ae/admin
    /files/..%2fadmin         /files/%2e%2e%2fadmin    /files/..%252fadmin
    //admin/x                 /./admin/x               /public/x#/../../admin
    http://a/public/../admin  http://b/public/x        /public/%2e
"""


def test_the_backend_gets_the_path_that_matched(
    sidecar: Sidecar, wiretap: Wiretap
) -> None:
    """No spelling of a path gets through one rule to what belongs to another."""
    expected = dict.fromkeys(DOUBTFUL.split(), 400) | {
        "/%61dmin/x": 401,
        "/%41dmin/x": 404,
    }
    outcomes = {}
    for path in expected:
        head = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        outcomes[path] = int(spoken(sidecar.data, head.encode()).split(b" ", 2)[1])

    assert outcomes == expected
    assert wiretap.heard == []
    for path, forwarded in (
        ("/public/%7Ex|y", "/public/~x%7Cy"),
        ("/files/a%2fb?q=%2e%2e", "/files/a%2Fb?q=%2e%2e"),
        ("/%70ublic/x", "/public/x"),
    ):
        head = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        spoken(sidecar.data, head.encode())

        assert wiretap.heard.pop().target == forwarded


FORGED = """\
X-Lumina-Subject: root
X-Lumina-Role: admin
x_lumina_role: admin
X-Lumina_Subject: root
Remote-User: root
REMOTE_USER: root
X-Forwarded-User: root
X-Auth-Request-User: root
X-Auth-Request-Email: root@example.org
X-Forwarded-For: 203.0.113.9
X_Forwarded_For: 203.0.113.9
X-Forwarded-Proto: https
X-Forwarded-Host: evil.example
X-Forwarded-Prefix: /admin
X-Real-IP: 203.0.113.9
True-Client-IP: 203.0.113.9
CF-Connecting-IP: 203.0.113.9
Forwarded: for=203.0.113.9;host=evil.example
X-HTTP-Method-Override: DELETE
X-HTTP-Method: DELETE
X-Method-Override: DELETE
X_HTTP_Method_Override: DELETE
X-Original-URL: /admin
X-Rewrite-URL: /admin
X-Request-ID: chosen-by-the-client
Proxy-Authorization: Basic cm9vdDpyb290
Upgrade: h2c
HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA
TE: trailers
Keep-Alive: timeout=9
Proxy-Connection: keep-alive
X-Named: by Connection
Connection: close, x-named, upgrade, http2-settings, x-lumina-role, host, content-length
"""


def test_the_backend_is_told_by_the_proxy_alone(
    sidecar: Sidecar, wiretap: Wiretap
) -> None:
    """Who asks, whence and how is the proxy's word, whatever the client says."""
    token = sidecar.token(subject="Zoë\u202e%0d%0aX-Role: admin", role="student")
    head = f"GET /mine HTTP/1.1\nHost: lms.example\nAuthorization: Bearer {token}\n"
    data = (head + FORGED + "\n").replace("\n", "\r\n").encode()
    answered = spoken(sidecar.data, data)
    [heard] = wiretap.heard
    fields = dict(heard.fields)

    assert answered.startswith(b"HTTP/1.1 200 ")
    assert len(fields) == len(heard.fields)
    request_id = fields.pop("x-request-id")
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", request_id)
    assert f"X-Request-ID: {request_id}\r\n".encode() in answered
    assert fields == {
        "authorization": f"Bearer {token}",
        "host": "lms.example",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "lms.example",
        "x-forwarded-proto": "http",
        "x-lumina-role": "student",
        "x-lumina-subject": "Zo%C3%AB%E2%80%AE%250d%250aX-Role:%20admin",
    }


def segments(header: dict[str, object], claims: dict[str, object]) -> str:
    """Return the first two segments of a token, whatever they say."""
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode()
        for one in (header, claims)
    )


def forgeries(secret: str, pem: str) -> Iterator[tuple[str, str, str]]:
    """Yield (name, token, reason for which it is refused)."""
    claims: dict[str, object] = {
        "iss": "people",
        "aud": "lms",
        "exp": FAR,
        "sub": "ada",
        "role": "admin",
    }
    machines = claims | {"iss": "machines"}
    eternal = {key: value for key, value in claims.items() if key != "exp"}
    good = jwt.encode(claims, secret, "HS256")
    head, body, signature = good.split(".")
    other = signature.translate(str.maketrans("AaBb", "BbAa")).swapcase()
    confused = segments({"alg": "HS256"}, machines)
    mac = jwt.get_algorithm_by_name("HS256").sign(confused.encode(), pem.encode())
    by_public_key = f"{confused}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"

    def signed(changed: dict[str, object], **header: object) -> str:
        return jwt.encode(changed, secret, "HS256", header or None)

    yield "alg none", segments({"alg": "none"}, claims) + ".", "token-malformed"
    none = segments({"alg": "none"}, claims) + ".eHh4"
    yield "alg none, signed", none, "algorithm-not-allowed"
    yield "key confusion", by_public_key, "algorithm-not-allowed"
    yield "another secret", jwt.encode(claims, "x" * 43, "HS256"), "signature-invalid"
    yield "another signature", f"{head}.{body}.{other[:-1]}A", "signature-invalid"
    yield "crit", signed(claims, crit=["exp"]), "token-malformed"
    yield (
        "key of its own",
        (jwt.encode(claims, "y" * 43, "HS256", {"kid": "../../dev/null", "jwk": {}})),
        "signature-invalid",
    )
    yield "expired", signed(claims | {"exp": 1}), "token-expired"
    yield "not yet valid", signed(claims | {"nbf": FAR}), "token-not-yet-valid"
    yield "without end", signed(eternal), "claim-invalid"
    yield "for somebody else", signed(claims | {"aud": "bank"}), "audience-mismatch"
    yield "of somebody else", signed(claims | {"iss": "bank"}), "issuer-not-trusted"
    yield "said twice", f"{good}, Bearer {good}", "token-malformed"
    yield "huge", good + "A" * 9000, "token-malformed"


def test_no_forged_token_reaches_the_backend(
    sidecar: Sidecar, wiretap: Wiretap, machine: rsa.RSAPrivateKey
) -> None:
    """Each of the old attacks on tokens has its own refusal, and a challenge."""
    expected, outcomes = {}, {}
    for name, token, reason in forgeries(sidecar.secret, public_key(machine)):
        headers = {"Authorization": f"Bearer {token}"}
        status, fields, body = sidecar.ask("GET", "/admin/x", headers=headers)
        assert fields["WWW-Authenticate"].startswith("Bearer "), name
        expected[name], outcomes[name] = (401, reason), refused(status, body)

    assert outcomes == expected
    good = sidecar.token(role="admin")
    status, _, body = sidecar.ask("GET", f"/admin/x?access_token={good}")
    assert refused(status, body) == (401, "token-missing")
    assert wiretap.heard == []
    headers = {"Authorization": f"Bearer {good}"}
    assert sidecar.ask("GET", "/admin/x", headers=headers)[0] == 200


def test_no_claim_of_a_client_evades_a_limit(
    sidecar: Sidecar, wiretap: Wiretap
) -> None:
    """Neither another X-Forwarded-For nor another token of one subject helps."""
    guesses = [
        sidecar.ask("POST", "/login", b"{}", {"X-Forwarded-For": f"203.0.113.{n}"})
        for n in range(5)
    ]
    reads = []
    for n in range(5):
        token = sidecar.token(subject="ada", jti=str(n))
        headers = {"Authorization": f"bearer {token}", "X-Lumina-Subject": str(n)}
        reads.append(sidecar.ask("GET", "/few", headers=headers))

    for answers in (guesses, reads):
        assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
        assert int(answers[-1][1]["Retry-After"]) > 0
    assert len(wiretap.heard) == 6


def test_limits_hold_while_redis_is_lost(tmp_path: Path, wiretap: Wiretap) -> None:
    """When Redis dies the process counts by itself, and says that it does."""
    with redis_server(tmp_path) as redis:
        environment = {
            "BACKEND_URL": f"http://127.0.0.1:{wiretap.port}",
            "RSA_KEY": public_key(rsa.generate_private_key(65537, 2048)),
            "REDIS_URL": redis.url,
        }
        sidecar = Sidecar(tmp_path, POLICY, environment)
        try:
            sidecar.wait()
            before = [sidecar.ask("POST", "/login", b"{}")[0] for _ in range(7)]
            keys = redis.command("KEYS", "lb:*login*")
            redis.kill()
            after = [sidecar.ask("POST", "/login", b"{}")[0] for _ in range(4)]
            _, ready = sidecar.look("/ready")
        finally:
            sidecar.stop()

    # On a busy machine Redis may be late, and a request counted locally instead.
    assert 3 <= before.count(200) <= 6
    assert before[-1] == after[-1] == 429
    assert len(keys) == 1
    assert json.loads(ready)["checks"]["limits"] == "degraded"


def test_a_ciphertext_cannot_be_moved_or_changed(
    sidecar: Sidecar, wiretap: Wiretap
) -> None:
    """What a hostile database gives back in another place or form is not shown."""
    plain = {"items": [{"name": "Ada"}, {"name": "Bob"}], "note": "fractions"}
    status, written = sidecar.ask_json("POST", "/people", plain)
    stored = json.loads(wiretap.heard[-1].body)
    ada, bob = (one["name"] for one in stored["items"])
    changed = ada[:40] + ("A" if ada[40] != "A" else "B") + ada[41:]

    assert (status, written) == (200, plain)
    for document, outcome in (
        (stored, 200),
        ({"items": [], "note": ada}, 502),
        ({"items": [{"name": stored["note"]}]}, 502),
        ({"items": [{"name": changed}]}, 502),
        ({"items": [{"name": ada[:-8]}]}, 502),
        ({"items": [{"name": ada + bob[4:]}]}, 502),
    ):
        wiretap.answers["/people"] = saying(json_answer(document))
        status, shown = sidecar.ask_json("GET", "/people", None)

        assert status == outcome
        if status != 200:
            assert shown["reason"] == "field-undecryptable"
            assert "Ada" not in json.dumps(shown)


def test_no_nonce_is_used_twice(sidecar: Sidecar, wiretap: Wiretap) -> None:
    """Equal values, request after request, are never encrypted alike."""
    count = 3000
    document = {"items": [{"name": "Ada"}] * count}
    for _ in range(2):
        sidecar.ask_json("POST", "/people", document)
    texts = re.findall(rb'"lm1r([\w-]+)"', b"".join(one.body for one in wiretap.heard))
    salts = {base64.urlsafe_b64decode(text + b"==")[6:30] for text in texts}

    assert len(texts) == len(salts) == 2 * count


def test_what_cannot_be_encrypted_is_not_forwarded(
    sidecar: Sidecar, wiretap: Wiretap
) -> None:
    """Encryption fails closed: a body that cannot be read in one way goes nowhere."""
    ada = {"items": [{"name": "Ada"}]}
    plain = json.dumps(ada).encode()
    kind = {"Content-Type": "application/json"}
    outcomes = []
    for headers, body in (
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"name=Ada"),
        ({"Content-Type": "text/plain"}, plain),
        ({"Content-Type": "application/json; charset=utf-16"}, plain),
        ({**kind, "Content-Encoding": "gzip"}, gzip.compress(plain)),
        (kind, gzip.compress(plain)),
        (kind, plain[:-1]),
        (kind, plain + plain),
        (kind, b'{"note": "x", "note": "Ada"}'),
        (kind, b'{"note": "x", "\\u006eote": "Ada"}'),
        (kind, b'{"note": "\\ud800"}'),
        (kind, plain.decode().encode("utf-16")),
        (kind, b"[" * 100_000),
        (kind, b'{"note": "' + b"x" * 1_100_000 + b'"}'),
        (kind, json.dumps({"note": "A••• L•••"}).encode()),
        (kind, b'{"note": "lm1rAAAA"}'),
        (kind, b'{"note": "\\u006cm1rAAAA"}'),
    ):
        token = {"Authorization": f"Bearer {sidecar.token()}"}
        status, _, answered = sidecar.ask("POST", "/people", body, token | headers)
        outcomes.append(refused(status, answered))
        assert b"Ada" not in answered

    assert outcomes == [
        *[(415, "media-type-not-allowed")] * 4,
        *[(400, "body-not-json")] * 8,
        (413, "body-too-large"),
        (422, "mask-in-request"),
        *[(422, "ciphertext-in-request")] * 2,
    ]
    assert wiretap.heard == []


def test_an_answer_that_cannot_be_decrypted_is_not_shown(
    sidecar: Sidecar, wiretap: Wiretap
) -> None:
    """Compressed, too long or ambiguous answers are 502; nothing is inflated."""
    bomb = gzip.compress(bytes(50_000_000))
    json_type = "Content-Type: application/json"
    for data in (
        answer(bomb, json_type, "Content-Encoding: gzip"),
        answer(b'{"note": "' + b"x" * 1_100_000 + b'"}', json_type),
        answer(b'{"note": "a", "note": "b"}', json_type),
        answer(b"not JSON", json_type),
    ):
        wiretap.answers["/people"] = saying(data)
        status, problem = sidecar.ask_json("GET", "/people", None)

        assert (status, problem["reason"]) == (502, "response-unreadable")
    assert {one.values("accept-encoding")[0] for one in wiretap.heard} == {"identity"}


def test_what_no_view_allows_is_masked(sidecar: Sidecar, wiretap: Wiretap) -> None:
    """A role that no view names sees masks, of older plaintext too; nulls stay."""
    sidecar.ask_json("POST", "/people", {"items": [{"name": "Ada"}], "note": "x"})
    stored = json.loads(wiretap.heard[-1].body)
    stored["items"] += [{"name": "Older Than The Proxy"}, {"name": None}, {"name": 7}]
    wiretap.answers["/people"] = saying(json_answer(stored))
    seen = [
        sidecar.ask_json("GET", "/people", None, role=role)[1]["items"]
        for role in ("student", "teacher")
    ]

    assert [one["name"] for one in seen[0]] == ["A•••", "O••• T••• T•••", None, None]
    assert [one["name"] for one in seen[1]] == ["Ada", "Older Than The Proxy", None, 7]


def test_an_answer_that_nobody_asked_for_reaches_nobody(
    sidecar: Sidecar, wiretap: Wiretap
) -> None:
    """A backend that says more than one answer cannot poison the next exchange."""
    wiretap.answers["/public/twice"] = saying(answer(b"mine") + answer(b"not yours"))
    wiretap.answers["/public/more"] = saying(answer(b"mine")[:-1] + b"e and more")
    wiretap.answers["/public/next"] = saying(answer(b"next"))
    for path in ("/public/twice", "/public/more"):
        first = sidecar.ask("GET", path)
        others = [sidecar.ask("GET", "/public/next")[2] for _ in range(5)]

        assert first[2] == b"mine" or json.loads(first[2])["status"] == 502
        assert others == [b"next"] * 5


def test_sizes_are_bounded(sidecar: Sidecar, wiretap: Wiretap) -> None:
    """A body, head, target or field count past its limit is refused, unread."""
    token = {"Authorization": f"Bearer {sidecar.token()}"}
    body = sidecar.ask("PUT", "/upload", b"x" * 1025, token)
    fits = sidecar.ask("PUT", "/upload", b"x" * 1024, token)

    assert (body[0], fits[0]) == (413, 200)
    bearer = b"Authorization: Bearer %b\r\n" % sidecar.token().encode()
    announced = b"Content-Length: 9999999999\r\nExpect: 100-continue\r\n"
    for target, lines, status in (
        (b"PUT /upload", bearer + announced, 413),
        (b"GET /public/" + b"x" * 9000, b"", 414),
        (b"GET /public/x", b"X: " + b"x" * 40_000 + b"\r\n", 431),
        (b"GET /public/x", b"X: y\r\n" * 100, 431),
    ):
        head = b"%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n"
        answered = spoken(sidecar.data, head % (target, lines))

        assert answered.startswith(b"HTTP/1.1 %d " % status)
    assert len(wiretap.heard) == 1


def test_slow_clients_do_not_keep_others_waiting(
    sidecar: Sidecar, wiretap: Wiretap
) -> None:
    """Three hundred unfinished requests cost one that is finished nothing."""
    with contextlib.ExitStack() as slow:
        for _ in range(300):
            where = ("127.0.0.1", sidecar.data)
            raw = slow.enter_context(socket.create_connection(where))
            raw.sendall(b"POST /public/x HTTP/1.1\r\nHost: a\r\nX: ")
        status, _, body = sidecar.ask("POST", "/public/x", b"quick")

    assert (status, body) == (200, b"quick")
    assert len(wiretap.heard) == 1


def test_the_metrics_port_answers_to_its_token(sidecar: Sidecar) -> None:
    """But for health and readiness, and its port does not serve the data path."""
    sidecar.ask("GET", "/public/x")
    for path in ("/metrics", "/policy", "/limits/ada?rule=few"):
        assert sidecar.look(path)[0] == 401
        assert sidecar.look(path, "metrics-tokeN")[0] == 401
        assert sidecar.look(path, "metrics-token")[0] == 200
        assert sidecar.ask("GET", path.partition("?")[0])[0] == 404
    for path in ("/health", "/ready"):
        assert sidecar.look(path)[0] == 200
    assert sidecar.look("/public/x", "metrics-token")[0] == 404


def test_no_client_makes_a_series(sidecar: Sidecar) -> None:
    """Whatever is asked, by whomever, the metrics have as many series as before."""

    def series() -> set[str]:
        text = sidecar.look("/metrics", "metrics-token")[1]
        return {line.rpartition(" ")[0] for line in text.splitlines()}

    methods = ("GET", "PURGE", "MKCOL", "SEARCH", "UNLINK")
    first = [sidecar.ask(method, "/unheard/of") for method in methods]
    sidecar.ask("GET", "/mine", headers={"Authorization": f"Bearer {sidecar.token()}"})
    before = series()
    for n in range(50):
        bearer = {"Authorization": f"Bearer {sidecar.token(subject=f'new-{n}')}"}
        sidecar.ask("GET", f"/mine?n={n}", headers=bearer)
        for method in methods:
            sidecar.ask(method, f"/unheard/of/{n}", headers=bearer)

    assert {status for status, _, _ in first} == {404}
    assert series() == before
    assert not any("new-" in line or "unheard" in line for line in before)


def test_a_bad_reload_changes_nothing(sidecar: Sidecar, wiretap: Wiretap) -> None:
    """A typo leaves the last good policy in force, and is told where people look."""
    token = "metrics-token"
    good = sidecar.policy.read_text()

    def reloaded(policy: str) -> dict[str, object]:
        """Put a policy in place and return what /policy says once it was read."""
        sidecar.policy.write_text(policy)
        stamp = r"^lumina_policy_last_reload_timestamp_seconds (\S+)$"

        def last() -> list[str]:
            return re.findall(stamp, sidecar.look("/metrics", token)[1], re.MULTILINE)

        before = last()
        sidecar.process.send_signal(signal.SIGHUP)
        while last() == before:
            assert sidecar.process.poll() is None
        answered: dict[str, object] = json.loads(sidecar.look("/policy", token)[1])
        return answered

    first = json.loads(sidecar.look("/policy", token)[1])
    bad = reloaded(good.replace("allow: [admin]", "alow: anyone"))
    assert bad["digest"] == first["digest"]
    assert "unknown key 'alow' (did you mean 'allow'?)" in str(bad["last_error"])
    assert sidecar.ask("GET", "/admin/x")[0] == 401
    assert "last_reload_success 0.0" in sidecar.look("/metrics", token)[1]
    assert wiretap.heard == []
    again = reloaded(good)
    assert (again["digest"], again["last_error"]) == (first["digest"], None)


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ("ENCRYPTION_KEY", "ENCRYPTION_KEY or ENCRYPTION_KEY_FILE must be set"),
        ("JWT_SECRET", "the variable JWT_SECRET is not set"),
    ],
)
def test_no_key_is_made_up(tmp_path: Path, lacking: str, told: str) -> None:
    """Without a key the start is refused, with one line that names it."""
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("RSA_KEY", "RSA_KEY:-none"))
    environment = {
        "POLICY": str(policy),
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "127.0.0.1:0",
        "BACKEND_URL": "http://127.0.0.1:9",
        "JWT_SECRET": key,
        "ENCRYPTION_KEY": key,
        lacking: "",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "proxy", "serve"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert done.returncode == 1
    assert sum(told in line for line in done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert key not in done.stderr
