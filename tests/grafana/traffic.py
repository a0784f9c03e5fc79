"""What people, and others, do to the proxy of a stand: everything a panel shows."""

import base64
import contextlib
import itertools
import json
import socket
import ssl
import subprocess
import time
import urllib.request
from typing import Any

import jwt

from tests.e2e.conftest import DEADLINE
from tests.e2e.sidecar import FAR, fetch
from tests.grafana.stand import Stand

PASSWORD = "correct horse"


class Traffic:
    """Requests to one stand, in rounds.

    Args:
        stand: it runs already.
    """

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._proxy = f"http://127.0.0.1:{stand.stack.data}"
        self._lms = f"http://127.0.0.1:{stand.stack.backend}"
        self._names = itertools.count(1)
        self._tess = self.token("tess", "teacher")
        self._broken, self._old = self._store_what_is_no_good()

    def token(self, subject: str, role: str, **claims: object) -> str:
        """Return a token that the LMS could have issued, but for ``claims``."""
        usual = {"iss": "lumina", "aud": "lms", "sub": subject, "role": role}
        claims = {**usual, "exp": FAR, **claims}
        return jwt.encode(claims, self._stand.secret, "HS256")

    def ask(
        self, method: str, path: str, document: object = None, token: str = ""
    ) -> tuple[int, Any]:
        """Send one request to the proxy; return status and JSON document, if any."""
        return self._send(self._proxy, method, path, document, token)

    def _send(
        self, base: str, method: str, path: str, document: object, token: str
    ) -> tuple[int, Any]:
        body = None if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"} if body else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        status, fields, answer = fetch(base + path, method, body, headers)
        is_json = "json" in (fields["Content-Type"] or "")
        return status, json.loads(answer) if is_json and answer else None

    def _store_what_is_no_good(self) -> tuple[int, int]:
        """Return the ids of a user whose name was tampered with, and of an old one."""
        user = {"email": "broken@example.org", "name": "Broken"}
        _, made = self.ask("POST", "/api/users", user, self._tess)
        path = f"/api/users/{made['id']}"
        _, stored = self._send(self._lms, "GET", path, None, "")
        name = stored["name"]
        wrong = name[:-8] + ("A" if name[-8] != "A" else "B") + name[-7:]
        self._send(self._lms, "PATCH", path, {"name": wrong}, "")
        user = {"email": "old@example.org", "name": "From before the proxy"}
        _, old = self._send(self._lms, "POST", "/api/users", user, "")
        return made["id"], old["id"]

    # -- one round: each of these adds to what some panel shows

    def round(self) -> None:
        """Do everything once."""
        self.learn()
        self.protect()
        self.misbehave()
        self.forge()
        self.leave()
        self.talk()
        self.use_the_edge()
        self.use_the_database()

    def learn(self) -> None:
        """Somebody registers, logs in, learns, and is assessed."""
        number = next(self._names)
        person = {"email": f"p{number}@example.org", "password": PASSWORD}
        self.ask("POST", "/api/auth/register", {**person, "name": "P"})
        _, answer = self.ask("POST", "/api/auth/login", person)
        sam = answer["token"]
        self.ask("POST", "/api/pathways", {"title": "Fractions"}, sam)
        self.ask("GET", "/api/pathways", None, sam)
        teacher = self.token(f"teacher-{number}", "teacher")
        _, made = self.ask("POST", "/api/generate-assessment", {"topic": "x"}, teacher)
        path = f"/api/assessments/{made['id']}/complete"
        self.ask("POST", path, {"score": 90}, sam)
        self.ask("GET", "/")

    def protect(self) -> None:
        """Values are encrypted, decrypted, masked, found in plain, and found broken."""
        note = {"title": "t", "text": "Needs help", "embedding": [1, 0]}
        _, made = self.ask("POST", "/api/notes", note, self._tess)
        path = f"/api/notes/{made['id']}"
        self.ask("GET", path, None, self._tess)
        self.ask("GET", path, None, self.token("root", "admin"))
        self.ask("GET", f"/api/users/{self._old}", None, self._tess)
        self.ask("GET", f"/api/users/{self._broken}", None, self._tess)

    def misbehave(self) -> None:
        """Wrong passwords, paths, roles and bodies; and too much of it."""
        sam = self.token("sam", "student")
        wrong = {"email": "p1@example.org", "password": "wrong"}
        for _ in range(3):
            self.ask("POST", "/api/auth/login", wrong)
            self.ask("GET", "/api/pathways", None, self.token("greedy", "student"))
        self.ask("GET", "/api/unheard-of", None, sam)
        self.ask("DELETE", "/api/pathways", None, sam)
        self.ask("GET", "/api//users", None, sam)
        self.ask("POST", "/api/users", {"email": "x@example.org", "name": "x"}, sam)
        masked = {"email": "x@example.org", "name": "A•••"}
        self.ask("POST", "/api/users", masked, self._tess)
        self.ask("GET", "/api/me/trial", None, sam)  # served, for the rule is in shadow

    def forge(self) -> None:
        """Tokens that are none, old, for others, and signed by others."""
        forged = jwt.encode(
            {"iss": "lumina", "aud": "lms", "sub": "x", "exp": FAR, "role": "admin"},
            "another secret, as long as the real one is",
            "HS256",
        )
        for token in (
            "",
            "no token at all",
            forged,
            self.token("x", "student", exp=1),
            self.token("x", "student", aud="another"),
            self.token("x", "student", iss="another"),
        ):
            self.ask("GET", "/api/me", None, token)

    def leave(self) -> None:
        """A client goes away in the middle of a stream of events."""
        request = (
            "GET /api/events HTTP/1.1\r\nHost: lms\r\n"
            f"Authorization: Bearer {self._tess}\r\n\r\n"
        )
        address = ("127.0.0.1", self._stand.stack.data)
        with socket.create_connection(address, DEADLINE) as client:
            client.sendall(request.encode())
            client.recv(1)

    def talk(self) -> None:
        """Somebody enters a room, and leaves it again by ending the connection."""
        request = (
            "GET /api/rooms/7/ws HTTP/1.1\r\nHost: lms\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
            f"Authorization: Bearer {self._tess}\r\n\r\n"
        )
        address = ("127.0.0.1", self._stand.stack.data)
        with socket.create_connection(address, DEADLINE) as client:
            client.sendall(request.encode())
            status = client.makefile("rb").readline()
        assert b" 101 " in status, status

    def use_the_edge(self) -> None:
        """A browser comes through nginx."""
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{self._stand.ports['edge']}/"
        urllib.request.urlopen(url, timeout=DEADLINE, context=unverified).close()

    def use_the_database(self) -> None:
        """The LMS would ask its database through the pool."""
        port = str(self._stand.ports["pgbouncer"])
        subprocess.run(
            [
                *("psql", "-h", "127.0.0.1", "-p", port, "-U", "lumina", "-d", "lms"),
                *("-qc", "SELECT count(*) FROM pg_class"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    # -- what goes wrong once

    def lose_redis(self) -> None:
        """Redis dies; requests go on, with limits that each proxy counts for itself."""
        self._stand.redis.kill()
        for _ in range(20):
            self.ask("GET", "/api/me", None, self._tess)

    def lose_the_backend(self) -> None:
        """The LMS dies, and requests fail."""
        self._stand.stack.lms.kill()
        self._stand.stack.lms.wait(DEADLINE)
        for _ in range(20):
            self.ask("GET", "/api/me", None, self._tess)


def for_seconds(seconds: float, traffic: Traffic) -> int:
    """Go round for a while, about twice a second; return how often."""
    until = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < until:
        began = time.monotonic()
        traffic.round()
        rounds += 1
        with contextlib.suppress(ValueError):  # it took longer
            time.sleep(0.5 - (time.monotonic() - began))
    return rounds
