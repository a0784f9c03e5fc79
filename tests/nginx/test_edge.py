"""The edge as clients meet it: TLS, names, streams, replicas, reloads and its log."""

import contextlib
import gzip
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.conftest import DEADLINE, Stack, wait_until_up
from tests.nginx.conftest import ORIGIN_SECRETS
from tests.nginx.edge import HOST, Edge, Talker, edge, talker
from tests.nginx.test_headers import said


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(int(DEADLINE / 0.05)):
        if true():
            return
        threading.Event().wait(0.05)
    pytest.fail("it did not come to be so")


# TLS


def handshake(to: Edge, *options: str, name: str = HOST) -> str:
    """Return what openssl says of a handshake; without a name where it is ""."""
    named = ("-servername", name) if name else ("-noservername",)
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{to.https}"),
            *(*named, "-CAfile", to.certificate, *options),
        ],
        input=b"",
        capture_output=True,
        check=False,
        timeout=DEADLINE,
    )
    return (done.stdout + done.stderr).decode("latin-1")


@pytest.mark.parametrize(
    ("fixture", "options", "expected"),
    [
        ("front", ("-tls1_3",), "New, TLSv1.3, Cipher is TLS_"),
        ("front", ("-tls1_3", "-groups", "X25519"), "Server Temp Key: X25519"),
        ("front", ("-tls1_3", "-groups", "P-384"), "Server Temp Key: ECDH, secp384r1"),
        ("front", ("-tls1_2",), "alert protocol version"),
        ("front", ("-tls1_3", "-groups", "P-521"), "alert handshake failure"),
        ("front", ("-tls1_3", "-alpn", "h2"), "ALPN protocol: h2"),
        ("front", ("-tls1_3", "-early_data", "/dev/null"), "Early data was not sent"),
        ("front", ("-tls1_3", "-status"), "OCSP response: no response sent"),
        ("alone", ("-tls1_2",), "New, TLSv1.2, Cipher is ECDHE-ECDSA-"),
        ("alone", ("-tls1_2", "-cipher", "AES128-SHA"), "alert handshake failure"),
        (
            *("alone", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256")),
            "alert handshake failure",
        ),
        ("alone", ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "alert protocol version"),
    ],
)
def test_what_is_agreed_on(
    fixture: str,
    options: tuple[str, ...],
    expected: str,
    request: pytest.FixtureRequest,
) -> None:
    """TLS 1.3, and 1.2 with forward secrecy and AEAD where it was asked for."""
    assert expected in handshake(request.getfixturevalue(fixture), *options)


def test_an_unknown_name_is_not_even_shown_a_certificate(front: Edge) -> None:
    """A scanner that knows no name learns none: the handshake is refused."""
    refused = handshake(front, name="other.example.test")
    nameless = handshake(front, name="")

    assert "tlsv1 unrecognized name" in refused
    assert "tlsv1 unrecognized name" in nameless
    assert "BEGIN CERTIFICATE" not in refused + nameless


# Names


def spoken(connection: socket.socket, host: str) -> bytes:
    """Return everything that is answered to a request for a host."""
    with connection, contextlib.suppress(ConnectionResetError):
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return connection.recv(4096)
    return b""


@pytest.mark.parametrize("host", ["other.example.test", "127.0.0.1", "localhost"])
def test_an_unknown_host_gets_no_answer(front: Edge, host: str) -> None:
    """The connection is closed without a byte, on both ports."""
    plain = socket.create_connection(("127.0.0.1", front.http), DEADLINE)

    assert spoken(plain, host) == b""
    assert spoken(front.connect(), host) == b""


def test_plain_http_leads_to_https(front: Edge) -> None:
    """All but the proof for a certificate is sent to the same place on HTTPS."""
    (front.folder / "acme" / ".well-known" / "acme-challenge").mkdir(parents=True)
    proof = front.folder / "acme" / ".well-known" / "acme-challenge" / "token"
    proof.write_text("proof")

    moved = front.ask_plainly(front.http, "/a%20b?c=d")
    served = front.ask_plainly(front.http, "/.well-known/acme-challenge/token")

    assert (moved.status, moved.all("Location")) == (
        301,
        [f"https://{HOST}/a%20b?c=d"],
    )
    assert (served.status, served.body) == (200, b"proof")


@pytest.mark.parametrize(
    ("secret", "status"),
    [
        (ORIGIN_SECRETS[0], 413),
        (ORIGIN_SECRETS[1], 413),
        (ORIGIN_SECRETS[1].lower(), 403),
        (ORIGIN_SECRETS[0] + "a", 403),
        ("", 403),
    ],
)
def test_only_the_cdn_reaches_the_origin(tight: Edge, secret: str, status: int) -> None:
    """Its secret is asked for, as it is written; an old and a new one may be good."""
    answer = tight.ask("/", "POST", b"x" * 2000, {"X-Origin-Secret": secret})

    # 413 is what only an accepted request gets here.
    assert answer.status in {status, 413}
    small = tight.ask("/", "POST", b"x", {"X-Origin-Secret": secret})
    assert (small.status == 403) == (status == 403)


# What the proxy is told


def test_what_a_client_claims_of_itself_ends_here(echo: Edge) -> None:
    """Address, scheme, request id and secret are the edge's own word."""
    forged = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "http",
        "X-Request-ID": "forged",
        "X-Origin-Secret": "guess",
        "X_Lumina_Role": "admin",
        "Accept-Encoding": "gzip, br",
        "Upgrade": "h2c",
        "Connection": "Upgrade",
    }

    answer = echo.ask("/x", headers=forged)
    heard = json.loads(answer.body)["fields"]

    assert heard == {
        "host": HOST,
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "https",
        "x-request-id": answer.fields["X-Request-ID"],
    }


@pytest.mark.parametrize(
    "path", ["/a%2Fb", "/a//b", "/a/../b", "/a/%2e%2e/b", "/a;b=c", "/a?b=%20&c=/../d"]
)
def test_a_path_is_passed_on_as_it_came(echo: Edge, path: str) -> None:
    """It is the proxy that judges paths, so it sees what the client sent."""
    assert json.loads(echo.ask(path).body)["path"] == path


def test_the_client_is_who_the_cdn_says(tmp_path: Path, backend: Talker) -> None:
    """Behind named networks, the address from the right that is not one of them."""
    cdn = {"CDN_NETWORKS": "127.0.0.0/8 192.0.2.0/24"}
    with edge(tmp_path, f"127.0.0.1:{backend.port}", cdn) as behind:
        chain = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7, 192.0.2.1"}

        heard = json.loads(behind.ask("/", headers=chain).body)["fields"]

    assert heard["x-forwarded-for"] == "203.0.113.7"


# Bodies


def test_nothing_with_a_secret_in_it_is_compressed(echo: Edge) -> None:
    """Whatever the client accepts, an answer of the proxy comes as it is."""
    answer = echo.ask(
        said(200, "Content-Type:text/html"), headers={"Accept-Encoding": "gzip"}
    )

    assert answer.all("Content-Encoding") == []


def test_assets_are_compressed_validated_and_kept(front: Edge) -> None:
    """A file of the folder has an ETag, a long life, and its compressed twin."""
    folder = front.folder / "assets" / "static"
    (folder / "app.3f2a9c41.css").write_text("body {}\n" * 200)
    (folder / "app.3f2a9c41.css.gz").write_bytes(gzip.compress(b"twin"))
    (folder / "link.css").symlink_to("/etc/passwd")
    path = "/static/app.3f2a9c41.css"

    plain = front.ask(path)
    packed = front.ask(path, headers={"Accept-Encoding": "gzip"})
    again = front.ask(path, headers={"If-None-Match": plain.fields["ETag"]})
    part = front.ask(path, headers={"Range": "bytes=0-3"})

    assert (plain.status, plain.all("Content-Type")) == (200, ["text/css"])
    assert plain.all("Cache-Control") == ["public, max-age=31536000, immutable"]
    assert gzip.decompress(packed.body) == b"twin"
    assert packed.all("Vary") == ["Accept-Encoding"]
    assert (again.status, again.all("Cache-Control")) == (
        304,
        plain.all("Cache-Control"),
    )
    assert (part.status, part.body) == (206, b"body")
    assert front.ask("/static/link.css").status == 404
    assert front.ask("/static/not-there.css").status == 404


def test_events_pass_as_they_come(front: Edge, stack: Stack) -> None:
    """The first event of a stream is there long before the second is sent."""
    document = {"email": "eve@example.org", "password": "correct horse"}
    person = json.dumps({**document, "name": "Eve", "role": "student"}).encode()
    json_body = {"Content-Type": "application/json"}
    assert front.ask("/api/auth/register", "POST", person, json_body).status == 201
    login = front.ask(
        "/api/auth/login", "POST", json.dumps(document).encode(), json_body
    )
    bearer = {"Authorization": f"Bearer {json.loads(login.body)['token']}"}
    connection = http.client.HTTPConnection(HOST)
    connection.sock = front.connect()
    with contextlib.closing(connection):
        connection.request("GET", "/api/events?count=2&interval=3600", None, bearer)
        response = connection.getresponse()

        assert response.readline() == b"id: 1\n"
    wait_for(lambda: front.lines()[-1]["path"] == "/api/events")
    assert front.lines()[-1]["upstream"] == f"127.0.0.1:{stack.data}"


class _Here(aiohttp.abc.AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=port,
                family=family,
                proto=0,
                flags=0,
            )
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_websocket_passes(tmp_path: Path, stack: Stack) -> None:
    """Both ends talk through the edge until one of them has said all."""
    with edge(tmp_path, f"127.0.0.1:{stack.backend}") as before:
        connector = aiohttp.TCPConnector(ssl=before.context(), resolver=_Here())
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(f"wss://{HOST}:{before.https}/api/rooms/a/ws") as room,
        ):
            await room.send_str("hello")
            heard = await room.receive_str(timeout=DEADLINE)

    assert heard == "hello"


def test_http_2_is_spoken(front: Edge, tmp_path: Path) -> None:
    """A client that can gets HTTP/2, with the same fields."""
    done = subprocess.run(
        [
            *("curl", "--silent", "--http2", "--cacert", front.certificate),
            *("--resolve", f"{HOST}:{front.https}:127.0.0.1"),
            *("--write-out", "%{http_version} %header{x-content-type-options}"),
            *("--output", tmp_path / "page", f"https://{HOST}:{front.https}/login"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )

    assert done.stdout == "2 nosniff"


# Replicas


def test_connections_to_a_proxy_are_used_again(echo: Edge, backend: Talker) -> None:
    """Many requests need few connections."""
    before = len(backend.connections)
    for _ in range(40):
        assert echo.ask("/x").status == 200

    assert len(backend.connections) - before <= 4  # idle ones are kept by each worker


def test_a_lost_replica_costs_nobody_an_answer(tmp_path: Path) -> None:
    """Requests go on to the other one, and to none that failed for a while."""
    with talker() as one, talker() as other:
        servers = f"127.0.0.1:{one.port} 127.0.0.1:{other.port}"
        with edge(tmp_path, servers) as before:
            asked = [before.ask("/x").status for _ in range(10)]
            both = {str(line["upstream"]) for line in before.lines()}
            one.stop()
            statuses = {before.ask("/x").status for _ in range(20)}
            tried = [str(line["upstream"]) for line in before.lines()[10:]]

    assert asked == [200] * 10
    assert len(both) == 2
    assert statuses == {200}
    assert sum("," in upstreams for upstreams in tried) <= 2


# Reloads


def test_a_new_certificate_is_served_without_a_lost_request(
    tmp_path: Path, backend: Talker
) -> None:
    """Whoever replaces the files need tell nobody, and no client notices."""
    with edge(tmp_path, f"127.0.0.1:{backend.port}") as before:
        first = ssl.DER_cert_to_PEM_cert(served(before))
        other = tmp_path / "other"
        other.mkdir()
        made = Edge(other, "127.0.0.1:1")
        assert made.run("check").returncode == 0
        other_one = made.certificate.read_text()
        statuses: set[int] = set()

        def renewed() -> bool:
            statuses.add(before.ask("/x", trust=other_one).status)
            return ssl.DER_cert_to_PEM_cert(served(before)) != first

        # First the key alone, which does not fit: what is in force stays.
        shutil.copy(made.key, before.key)
        assert not renewed()
        shutil.copy(made.certificate, before.certificate)
        wait_for(renewed)
        log = (tmp_path / "edge.log").read_text()

    assert statuses == {200}
    assert "edge: reloaded" in log


def served(by: Edge) -> bytes:
    """Return the certificate that is served, whoever issued it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", by.https), DEADLINE)
    with context.wrap_socket(raw, server_hostname=HOST) as client:
        shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_the_edge_comes_up_before_the_proxy_does(alone: Edge) -> None:
    """Without a proxy that has an address it answers 502, and health says ok."""
    assert alone.ask("/").status == 502
    assert alone.ask_plainly(alone.status, "/health").body == b"ok\n"


# Logs and numbers


def test_the_log_has_a_line_for_each_request_and_no_secret(echo: Edge) -> None:
    """JSON with the id that the client got; no query, token, cookie or referrer."""
    secrets = {
        "Authorization": "Bearer canary-1",
        "Cookie": "sessionid=canary-2",
        "Referer": "https://example.test/?canary-3",
        "User-Agent": 'quo"te',
    }

    answer = echo.ask("/a/b?token=canary-4", headers=secrets)
    line = echo.lines()[-1]
    written = (echo.folder / "edge.log").read_text() + echo.log.read_text()

    assert line["request_id"] == answer.fields["X-Request-ID"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/a/b", 200)
    assert (line["tls"], line["agent"]) == ("TLSv1.3", 'quo"te')
    assert "canary" not in written


def test_the_status_port_has_numbers_for_the_exporter(echo: Edge) -> None:
    """The exporter finds its page there, and nothing else is."""
    shown = echo.ask_plainly(echo.status, "/stub_status")

    assert shown.body.startswith(b"Active connections: ")
    assert echo.ask_plainly(echo.status, "/x").status == 404
    assert echo.ask("/stub_status").body.startswith(b'{"path": "/stub_status"')


def test_the_watcher_ends_with_nginx(tmp_path: Path, backend: Talker) -> None:
    """Nothing of the edge is left when it has stopped."""
    with edge(tmp_path, f"127.0.0.1:{backend.port}") as before:
        wait_until_up(f"http://127.0.0.1:{before.status}/health", before.process)
        before.process.terminate()
        before.process.wait(DEADLINE)

        def nobody() -> bool:
            done = subprocess.run(
                ["pgrep", "--session", str(before.process.pid)],
                capture_output=True,
                check=False,
            )
            return done.stdout == b""

        wait_for(nobody)
