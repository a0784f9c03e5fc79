"""Canaries: what must stay secret is looked for everywhere it must not be."""

import asyncio
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
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from proxy.app import App
from proxy.core.authn import Authenticator
from proxy.core.ciphers import Ciphers
from proxy.core.errors import PolicyError, Refused
from proxy.core.headers import examine
from proxy.core.jws import parse
from proxy.core.keyring import Keyring
from proxy.core.keyset import Keyset
from proxy.core.message import Request
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.core.yaml_source import read_yaml
from proxy.edge.keystore.changing import made, roots_of
from proxy.edge.keystore.configured import open_keks, open_store
from proxy.ports import Snapshot
from proxy.settings import Environment, Settings
from tests.certificates import Authority
from tests.e2e.conftest import DEADLINE
from tests.e2e.sidecar import FAR, Sidecar
from tests.e2e.wiretap import Heard, Wiretap, answer, json_answer, saying
from tests.ports import free_port
from tests.redis_server import RedisServer, redis_server

NAME = "Canarina Serinus"
NOTE = "sings at dawn in C sharp"
METRICS_TOKEN = "canary-of-the-metrics-port"
REDIS_PASSWORD = "canary-of-redis"

POLICY = """\
version: 1
deployment: canaries
backends:
  lms: {servers: ["${BACKEND_URL}"], timeouts: {first_byte: 1s}}
  busy: {servers: ["${BACKEND_URL}"]}
  gone: {servers: ["${GONE_URL}"]}
  untrusted: {servers: ["${UNTRUSTED_URL}"]}
issuers:
  people:
    {issuer: people, audience: lms, algorithms: [HS256], roles: $.role,
     keys: [{kid: "1", secret: "${JWT_SECRET}"}]}
  far:
    issuer: far
    audience: lms
    algorithms: [ES256]
    jwks: "${JWKS_URL:-https://far.example/jwks}"
    roles: $.role
roles: [student, teacher]
logins:
  people:
    account: {json: $.name}
    per_account: {free: 1, wait: 1m, most: 1h, forget: 24h}
limits:
  few: {rate: 1/hour, per: client}
  bug: {rate: 1/hour, per: client}
  strict: {rate: 1/hour, per: client, on_store_failure: deny}
fields:
  user.name: {mode: random, max_bytes: 999}
  user.login: {mode: deterministic}
  note.text: {mode: random}
views:
  teacher: {"*": plain}
  student: {"*": mask}
rules:
  - id: person
    match: GET,POST /person/{id}
    allow: [student, teacher]
    backend: lms
    protect:
      request: {$.name: user.name, $.note: note.text}
      response: {$.name: user.name, $.note: note.text}
  - id: people
    match: GET,POST /people
    allow: [student, teacher]
    backend: lms
    protect:
      query: {login: user.login}
      form: {login: user.login}
      response: {$.login: user.login}
  - {id: teachers, match: GET /teachers, allow: [teacher], backend: lms}
  - {id: few, match: GET /few, allow: anyone, backend: lms, limits: [few]}
  - {id: strict, match: GET /strict, allow: anyone, backend: lms, limits: [strict]}
  - {id: bug, match: POST /bug, allow: [teacher], backend: lms, limits: [bug]}
  - {id: busy, match: GET /busy, allow: [teacher], backend: busy}
  - {id: gone, match: GET /gone, allow: [teacher], backend: gone}
  - {id: untrusted, match: GET /untrusted, allow: [teacher], backend: untrusted}
  - {id: written, match: GET /written, allow: [teacher], backend: lms, audit: required}
  - id: pages
    match: GET /pages
    allow: [teacher]
    backend: lms
    audit: noted
    responses: {cors: {origins: ["https://lms.example"]}}
  - id: door
    match: POST /door
    allow: anyone
    backend: lms
    login: people
    protect: {request: {$.name: user.name, $.note: note.text}}
  - id: strong
    match: GET /strong
    allow: [teacher]
    backend: lms
    require: {acr: gold}
  - {id: own, match: "GET /own/{id}", allow: [teacher], backend: lms, owner: id}
  - {id: scoped, match: GET /scoped, allow: [teacher], backend: lms, scopes: [all]}
  - {id: level, match: GET /level, allow: [teacher], backend: lms, when: claims.n > 1}
  - id: office
    match: GET /office
    allow: [teacher]
    backend: lms
    addresses: {allow: [192.0.2.1]}
"""

JSON = {"Content-Type": "application/json"}
CONTENT_TYPE = ["Content-Type: application/json"]
PERSON = json.dumps({"name": NAME, "note": NOTE}).encode()


class Canaries:
    """A proxy that is provoked in every way, and what it let out.

    Attributes:
        shown: where and what: everything that must hold no secret.
        secrets: what must be nowhere in it.
    """

    def __init__(
        self,
        sidecar: Sidecar,
        wiretap: Wiretap,
        redis: RedisServer,
        environment: Mapping[str, str],
    ) -> None:
        self.sidecar = sidecar
        self.environment = environment
        self.redis = redis
        self.wiretap = wiretap
        self.shown: dict[str, str] = {}
        key = base64.urlsafe_b64decode(sidecar.key)
        texts = (sidecar.secret, sidecar.key, key.hex(), METRICS_TOKEN)
        self.secrets = {*texts, REDIS_PASSWORD, *NAME.split(), NOTE, "sings"}
        self.secrets.add(environment["KEY_ENCRYPTION_KEY"])

    @property
    def reasons(self) -> set[str]:
        """The reasons of every refusal so far."""
        shown = "".join(list(self.shown.values()))
        return set(re.findall(r'"reason": "([a-z-]+)"', shown))

    def token(self, *, role: str = "teacher", kid: str = "1", **claims: object) -> str:
        """Return a token, whose signature is a secret from now on."""
        usual = {"iss": "people", "aud": "lms", "sub": "ada", "exp": FAR, "role": role}
        token = jwt.encode(
            {**usual, **claims}, self.sidecar.secret, headers={"kid": kid}
        )
        self.secrets.add(token.rpartition(".")[2])
        return token

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, bytes]:
        """Ask with a teacher's token unless told otherwise; keep a refusal."""
        given = self.token() if token is None else token
        fields = {"Authorization": f"Bearer {given}", **(headers or {})}
        status, lines, answered = self.sidecar.ask(method, path, body, fields)
        if lines.get_content_type() == "application/problem+json":
            self.keep(f"{method} {path}", f"{lines}{answered.decode()}")
        return status, answered

    def say(self, head: bytes) -> None:
        """Send the beginning of a request with a token in it; keep the answer."""
        bearer = f"Host: a\r\nAuthorization: Bearer {self.token()}\r\n".encode()
        where = ("127.0.0.1", self.sidecar.data)
        with socket.create_connection(where, timeout=DEADLINE) as raw:
            received = b""
            with contextlib.suppress(ConnectionError):
                raw.sendall(head.replace(b"*", bearer))
                while chunk := raw.recv(65536):
                    received += chunk
        self.keep(repr(head[:40]), received.decode())

    def keep(self, where: str, text: str) -> None:
        """Keep what was let out."""
        self.shown[f"{len(self.shown)}: {where}"] = text

    def found(self) -> list[tuple[str, str]]:
        """Return every place where a secret is, and which."""
        return [
            (where, secret)
            for where, text in self.shown.items()
            for secret in self.secrets
            if secret in text
        ]


def a_keystore(folder: Path) -> dict[str, str]:
    """Make a keystore that has to be looked at every second; return what opens it."""
    kek = base64.urlsafe_b64encode(os.urandom(32)).decode()
    environment = {"KEYSTORE": str(folder / "keys"), "KEY_ENCRYPTION_KEY": kek}
    where = open_store(environment["KEYSTORE"]), open_keks(environment)
    asyncio.run(made(where, now=time.time(), settings={"bound": 1.0}))
    return environment


def a_public_key() -> dict[str, object]:
    """Return the key of an issuer that will be asked for another one."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {**ECAlgorithm.to_jwk(key, as_dict=True), "kid": "old", "alg": "ES256"}


def lose_the_keys(canaries: Canaries) -> None:
    """Take the keystore away until nothing is encrypted any more."""
    environment = canaries.environment
    where = open_store(environment["KEYSTORE"]), open_keks(environment)
    _, roots = asyncio.run(roots_of(where))
    for root in roots.values():
        text = base64.urlsafe_b64encode(root).decode()
        canaries.secrets |= {root.hex(), text, text.rstrip("=")}
    Path(environment["KEYSTORE"]).unlink()
    while canaries.ask("POST", "/person/1", PERSON, JSON)[0] != 503:
        assert canaries.sidecar.process.poll() is None


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    """A proxy whose every secret is known, in front of a backend that misbehaves."""
    wiretap, untrusted = Wiretap(), Wiretap(tls=Authority(tmp_path).sign("127.0.0.1"))
    options = ("--requirepass", REDIS_PASSWORD)
    with redis_server(tmp_path, *options, password=REDIS_PASSWORD) as redis:
        environment = {
            "BACKEND_URL": f"http://127.0.0.1:{wiretap.port}",
            "JWKS_URL": f"http://127.0.0.1:{wiretap.port}/jwks",
            "GONE_URL": f"http://127.0.0.1:{free_port()}",
            "UNTRUSTED_URL": f"https://127.0.0.1:{untrusted.port}",
            "METRICS_TOKEN": METRICS_TOKEN,
            "REDIS_URL": redis.url,
            "AUDIT_LOG": str(tmp_path / "audit.jsonl"),
            "ACCESS_LOG": str(tmp_path / "access.jsonl"),
            **a_keystore(tmp_path),
        }
        wiretap.answers["/jwks"] = saying(json_answer({"keys": [a_public_key()]}))
        sidecar = Sidecar(tmp_path, POLICY, environment, ("-m", "tests.e2e.impatient"))
        try:
            sidecar.wait()
            yield Canaries(sidecar, wiretap, redis, environment)
        finally:
            sidecar.stop()
            wiretap.stop()
            untrusted.stop()


def provoke_refusals_of_messages(canaries: Canaries) -> None:
    """Give every reason for which a request is refused for what it is."""
    ask, say = canaries.ask, canaries.say
    say(b"GET /person/1 HTTP/1.1\r\nHost: b\r\n*\r\n")
    say(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nConnection: close\r\n*\r\n")
    say(b"GET / HTTP/1.1\r\nConnection: close\r\nX: " + b"x" * 40_000 + b"\r\n*\r\n")
    say(b"GET /person/1 HTTP/1.1\r\n*")  # and no more
    query = "?name=" + NAME.replace(" ", "+")
    ask("GET", "/person/..%2f1" + query)
    ask("GET", "/person/1" + query, headers={"Expect": "the unexpected"})
    ask("GET", "/nowhere" + query)
    ask("DELETE", "/teachers" + query)
    asked = {"Origin": "https://other.example", "Access-Control-Request-Method": "GET"}
    ask("OPTIONS", "/pages" + query, headers=asked)
    ask("GET", "/few")
    ask("GET", "/few")
    canaries.redis.kill()
    ask("GET", "/strict")


def provoke_refusals_of_tokens(canaries: Canaries) -> None:
    """Give every reason for which a token is refused."""
    ask, token = canaries.ask, canaries.token
    other = jwt.encode({"iss": "people", "name": NAME}, "x" * 64, "HS512")
    canaries.secrets.add(other.rpartition(".")[2])
    ask("GET", "/teachers", headers={"Authorization": f"Basic {token()}"})
    for refused in (
        *(token() + "=", other, token(iss="bank"), token(kid="2"), token()[:-3]),
        *(token(exp=None), token(aud="bank"), token(exp=1), token(nbf=FAR)),
        token(role="student"),
    ):
        ask("GET", "/teachers", token=refused)
    for guarded in ("/office", "/own/bob", "/scoped", "/level"):
        ask("GET", guarded)
    ask("GET", "/level", token=token(n=1))
    ask("GET", "/strong")
    revoke(canaries, "--issuer", "people", "--jti", NOTE)
    ask("GET", "/teachers", token=token(jti=NOTE))
    canaries.wiretap.answers["/jwks"] = saying(answer(NAME.encode(), *CONTENT_TYPE))
    key = ec.generate_private_key(ec.SECP256R1())
    claims = {"iss": "far", "aud": "lms", "sub": "ada", "exp": FAR, "role": "teacher"}
    ask("GET", "/teachers", token=jwt.encode(claims, key, "ES256", {"kid": "new"}))


def revoke(canaries: Canaries, *which: str) -> None:
    """Revoke a token as an operator does."""
    told = {
        "METRICS_URL": f"http://127.0.0.1:{canaries.sidecar.metrics}",
        "METRICS_TOKEN": METRICS_TOKEN,
    }
    command = [sys.executable, "-m", "proxy", "token", "revoke", *which]
    done = subprocess.run(
        command, env={**os.environ, **told}, capture_output=True, text=True, check=True
    )
    canaries.keep("token revoke", done.stderr)


def provoke_refusals_of_bodies(canaries: Canaries) -> None:
    """Give every reason for which a protected body is refused."""
    ask, person = canaries.ask, "/person/1"
    ask("POST", person, PERSON + b" " * 1_100_000, JSON)
    ask("POST", person, PERSON, {"Content-Type": "text/plain"})
    ask("POST", person, gzip.compress(PERSON), {**JSON, "Content-Encoding": "gzip"})
    ask("POST", person, PERSON[:-1], JSON)
    ask("POST", person, b'{"name": 1, "name": %b}' % PERSON, JSON)
    ask("POST", person, json.dumps({"name": f"lm1r{NAME}"}).encode(), JSON)
    ask("POST", person, json.dumps({"name": f"{NAME} •••"}).encode(), JSON)
    ask("POST", person, json.dumps({"name": NAME * 100}).encode(), JSON)
    login = urllib.parse.quote(NAME)
    ask("GET", f"/people?LOGIN={login}")
    ask("GET", f"/people?login={login}", token=canaries.token(role="student"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    ask("GET", f"/people?login={login}")
    ask("POST", "/people", f"login={login}".encode(), form)


def provoke_refusals_of_answers(canaries: Canaries) -> None:
    """Give every reason that the backend or the proxy is to blame for."""
    ask, answers = canaries.ask, canaries.wiretap.answers
    broken = f"HTTP/1.1 200 OK\r\nContent-Length: {NAME}\r\n\r\n{NOTE}"
    for data in (
        json_answer({"name": f"lm1r{NAME}"}),
        answer(f"<h1>{NAME}".encode(), *CONTENT_TYPE),
        broken.encode(),
    ):
        answers["/person/1"] = saying(data)
        ask("GET", "/person/1")
    answers["/person/1"] = lambda _: None
    ask("GET", "/person/1")
    released = threading.Event()

    def silent(_: Heard) -> None:
        released.wait(DEADLINE)

    answers["/person/1"] = answers["/busy"] = silent
    ask("GET", "/person/1")
    both = [threading.Thread(target=ask, args=("GET", "/busy")) for _ in range(2)]
    for one in both:
        one.start()
    while all(one.is_alive() for one in both):
        both[0].join(0.01)
    released.set()
    for one in both:
        one.join()
    answers["/door"] = saying(answer(NOTE.encode(), *CONTENT_TYPE, status="401 No"))
    for _ in range(3):
        ask("POST", "/door", PERSON, JSON, token="")
    ask("GET", "/gone")
    ask("GET", "/untrusted")
    ask("POST", "/bug", b"")
    lose_the_audit_log(canaries)


def lose_the_audit_log(canaries: Canaries) -> None:
    """Let it not be written for a while; it is continued afterwards."""
    log = Path(canaries.environment["AUDIT_LOG"])
    old = log.rename(log.with_suffix(".old"))
    log.mkdir()
    canaries.ask("GET", "/written")
    log.rmdir()
    old.rename(log)


def serve(canaries: Canaries) -> None:
    """Write and read a person, and check who sees what."""
    stored = canaries.wiretap.answers.pop("/person/1", None)
    status, written = canaries.ask("POST", "/person/1", PERSON, JSON)
    body = canaries.wiretap.heard[-1].body
    canaries.wiretap.answers["/person/1"] = saying(
        answer(body, "Content-Type: application/json")
    )
    read = canaries.ask("GET", "/person/1")
    masked = canaries.ask("GET", "/person/1", token=canaries.token(role="student"))
    canaries.keep("what a student sees", masked[1].decode())

    assert stored is not None
    assert (status, written, read) == (200, PERSON, (200, PERSON))
    assert json.loads(masked[1]) == {"name": "C••• S•••", "note": "s••• a••• d•••"}


def reload(canaries: Canaries) -> None:
    """Reload a policy that has secrets where they do not belong."""
    sidecar = canaries.sidecar
    sidecar.policy.write_text(
        POLICY.replace(
            "1/hour, per: client", '"${JWT_SECRET}", per: "${METRICS_TOKEN}"'
        )
        .replace("mode: random", 'mode: "${ENCRYPTION_KEY}"')
        .replace("${BACKEND_URL}", "http://${JWT_SECRET}@lms:1")
    )
    sidecar.process.send_signal(signal.SIGHUP)
    while '"last_error": null' in sidecar.look("/policy", METRICS_TOKEN)[1]:
        assert sidecar.process.poll() is None


def test_no_secret_gets_out(canaries: Canaries) -> None:
    """After every success and every refusal there is, no canary is anywhere.

    Looked through: every refusal, what a student sees, everything on the metrics port,
    the log to its last line, and what the backend was given.
    """
    provoke_refusals_of_messages(canaries)
    provoke_refusals_of_tokens(canaries)
    provoke_refusals_of_bodies(canaries)
    provoke_refusals_of_answers(canaries)
    serve(canaries)
    lose_the_keys(canaries)
    reload(canaries)
    sidecar = canaries.sidecar
    for path in ("/metrics", "/policy", "/ready", "/health", "/limits/ada?rule=few"):
        canaries.keep(path, sidecar.look(path, METRICS_TOKEN)[1])
        canaries.keep(f"{path} without its token", sidecar.look(path, "canary")[1])
    for heard in canaries.wiretap.heard:
        # Whoever sent the token sent it to the backend: that is its only way.
        fields = [field for field in heard.fields if field[0] != "authorization"]
        given = f"{heard.target} {fields} {heard.body.decode('latin-1')}"
        canaries.keep(f"{heard.target} at the backend", given)
    status = sidecar.stop()
    log = sidecar.log.read_text()
    canaries.keep("the log", log)
    for name, known in (("ACCESS_LOG", "/person/1"), ("AUDIT_LOG", "request.refused")):
        lines = Path(canaries.environment[name]).read_text("utf-8")
        assert known in lines
        canaries.keep(name, lines)

    assert status == 0
    assert canaries.reasons == {reason.slug for reason in Reason}
    assert "RuntimeError: a bug" in log
    assert "the policy was refused" in log
    assert "encryption is stopped" in log
    counted = "".join(canaries.shown.values())
    assert all(f'reason="{reason.slug}"' in counted for reason in Reason)
    assert canaries.found() == []


def test_nothing_that_holds_a_secret_shows_it() -> None:
    """No ``repr`` and no message of an error holds a key, a token or a secret."""
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    secret = base64.urlsafe_b64encode(os.urandom(32)).decode()
    variables = {"ENCRYPTION_KEY": key, "JWT_SECRET": secret}
    variables |= {"METRICS_TOKEN": METRICS_TOKEN, "REDIS_URL": f"redis://:{secret}@a"}
    variables |= dict.fromkeys(
        ("BACKEND_URL", "GONE_URL", "UNTRUSTED_URL"), "http://a:1"
    )
    environment, settings = Environment(variables), Settings.read(variables)
    policy, _ = parse_policy([("policy.yaml", POLICY)], environment)
    claims = {
        "iss": "people",
        "aud": "lms",
        "sub": "ada",
        "exp": FAR,
        "role": "teacher",
    }
    token = jwt.encode(claims, secret, headers={"kid": "1"})
    authenticator = Authenticator(policy.issuers)
    bearer = f"Bearer {token}".encode()
    fields = [
        (b"host", b"Host", b"a"),
        (b"authorization", b"Authorization", bearer),
    ]
    request = Request("GET", "/", "1.1", fields, peer="127.0.0.1", peer_trusted=False)
    principal = authenticator.authenticate(bearer, 0.0)
    keyset = Keyset.from_text(key)
    keyring = Keyring(keyset)
    ciphers = Ciphers(keyring, "canaries", policy.fields, lambda: bytes(24))
    cipher = ciphers.of("")
    encrypted = cipher.encrypt("user.name", json.dumps(NAME))
    holders: list[object] = [
        *(environment, settings, policy, authenticator, principal, keyset, cipher),
        *(keyring, ciphers, ciphers.of("north")),
        *(Snapshot(policy, authenticator, ciphers), parse(token.encode()), encrypted),
        *(policy.issuers["people"].keys, read_yaml("policy.yaml", POLICY, environment)),
        *(cipher._modes, cipher._readers, cipher._pseudonyms),
        App(settings, environment),
        *(request, examine(request.headers, request.version)),
    ]
    for bad in ("a.b", token[:-1], token + "A"):
        with pytest.raises(Refused) as refused:
            authenticator.authenticate(f"Bearer {bad}".encode(), 0.0)
        holders.append(refused.value)
    with pytest.raises(PolicyError) as unreadable:
        parse_policy([("p", POLICY.replace("1/hour", '"${JWT_SECRET}"'))], environment)
    shown = "\n".join(f"{one!r} {one}" for one in (*holders, unreadable.value))

    for canary in (key, secret, METRICS_TOKEN, NAME, *token.split(".")):
        assert canary not in shown
