"""``lumina-proxy limits`` against a running proxy, and against what is none."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.__main__ import main
from tests.proxy_process import ProxyProcess, proxy_process

OTHERS = ("top", "reset", "grant")
TOKEN = "tökén-of-the-metrics-port"
POLICY = """\
version: 1
backends:
  lms: {servers: ["http://127.0.0.1:9"]}
issuers:
  lumina: {issuer: lumina, audience: lms, algorithms: [HS256], roles: $.role,
           secret: "0123456789abcdef0123456789abcdef"}
roles: [student, admin]
limits:
  login: {rate: 5/minute, per: client}
  api: {per: subject, rate: {student: 100/hour, admin: unlimited}}
rules:
  - {id: home, match: GET /, allow: anyone}
  - {id: login, match: POST /api/auth/login, allow: anyone, limits: [login]}
  - {id: user, match: "GET /api/users/{id}", allow: [student, admin], limits: [api]}
"""


@pytest.fixture(name="proxy", scope="module")
def proxy_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """A proxy that asks for a token; nobody has used up anything yet."""
    folder = tmp_path_factory.mktemp("proxy")
    with proxy_process(folder, POLICY, METRICS_TOKEN=TOKEN) as proxy:
        yield proxy


def run(*arguments: str, **variables: str) -> Result:
    """Run ``limits show``, or another one, with nothing but these variables set."""
    env = {
        "METRICS_URL": None,
        "METRICS_TOKEN": None,
        "METRICS_TOKEN_FILE": None,
        **variables,
    }
    command = [] if {*arguments[:1]} & {*OTHERS} else ["show"]
    return CliRunner().invoke(main, ["limits", *command, *arguments], env=env)


def ask(proxy: ProxyProcess, *arguments: str) -> Result:
    """Run the command against the proxy, as somebody who knows its token."""
    url = f"http://127.0.0.1:{proxy.metrics}"
    return run(*arguments, METRICS_URL=url, METRICS_TOKEN=TOKEN)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["ada", "login"], ["login (per client): 5 of 5 left"]),
        (["ada", "/api/auth/login"], ["login (per client): 5 of 5 left"]),
        (
            ["ada", "/api/users/{id}"],
            [
                "api (per subject, role student): 100 of 100 left",
                "api (per subject, role admin): unlimited",
            ],
        ),
        (
            ["ada", "user", "--role", "student"],
            ["api (per subject, role student): 100 of 100 left"],
        ),
        (["a/b?c=d%&#ö", "login"], ["login (per client): 5 of 5 left"]),
        (["ada", "home"], ["home has no limits"]),
    ],
    ids=["id", "path", "every-role", "one-role", "odd-subject", "no-limits"],
)
def test_what_is_left_is_a_line_for_each_rate(
    proxy: ProxyProcess, arguments: list[str], lines: list[str]
) -> None:
    """Of a rule by its id or its path, whoever it is about."""
    result = ask(proxy, *arguments)

    assert (result.exit_code, result.stdout.splitlines()) == (0, lines)
    assert result.stderr == ""


def test_json_is_what_the_proxy_answered(proxy: ProxyProcess) -> None:
    """For scripts, which find every number in it."""
    result = ask(proxy, "ada", "user", "--role=student", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "rule": "user",
        "remaining": 100,
        "limits": [
            {
                "id": "api",
                "per": "subject",
                "role": "student",
                "burst": 100,
                "remaining": 100,
                "reset_after": 0.0,
                "retry_after": 0.0,
            }
        ],
    }


def test_looking_takes_nothing_and_taking_is_seen(
    proxy: ProxyProcess,
) -> None:
    """After three requests two are left, however often somebody looks."""
    with socket.create_connection(("127.0.0.1", proxy.data)) as client:
        for _ in range(3):
            client.sendall(
                b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
            )
            while not client.recv(65536).endswith(b"}"):
                pass
    for _ in range(3):
        line = ask(proxy, "127.0.0.1", "login").stdout
        assert line.startswith("login (per client): 2 of 5 left, full in 3")
        assert line.endswith(" s\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ada", "nowhere"], "The policy has no such rule"),
        (["ada", ""], "Say which rule: ?rule=ID, its id or its path"),
        (
            ["ada", "user", "--role=nobody"],
            "A limit of this rule has no rate for this role",
        ),
    ],
    ids=["no-rule", "empty-rule", "no-rate"],
)
def test_what_the_proxy_refuses_is_one_line(
    proxy: ProxyProcess, arguments: list[str], message: str
) -> None:
    """In its words, on standard error, with exit status 1."""
    result = ask(proxy, *arguments)

    assert (result.exit_code, result.stderr) == (1, f"{message}\n")
    assert result.stdout == ""


@pytest.mark.parametrize("token", ["", "wrong", "tökén", TOKEN.upper()])
def test_wrong_token_is_one_line(proxy: ProxyProcess, token: str) -> None:
    """Which does not repeat it."""
    url = f"http://127.0.0.1:{proxy.metrics}"
    result = run("ada", "login", METRICS_URL=url, METRICS_TOKEN=token)

    assert result.exit_code == 1
    assert result.stderr == "The metrics token is missing or wrong\n"


def test_flags_win_over_variables(proxy: ProxyProcess) -> None:
    """And a slash at the end of the address does no harm."""
    url = f"http://127.0.0.1:{proxy.metrics}/"
    flags = (f"--url={url}", f"--token={TOKEN}")
    wrong = {"METRICS_URL": "http://127.0.0.1:9", "METRICS_TOKEN": "wrong"}

    assert run("ada", "login", *flags, **wrong).exit_code == 0


def test_token_may_be_in_a_file(proxy: ProxyProcess, tmp_path: Path) -> None:
    """As every secret: METRICS_TOKEN_FILE names the file."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    url = f"http://127.0.0.1:{proxy.metrics}"
    result = run("ada", "login", METRICS_URL=url, METRICS_TOKEN_FILE=str(file))

    assert result.exit_code == 0


@pytest.mark.parametrize("number", [1, 9])
def test_port_where_nobody_listens_is_one_line(number: int) -> None:
    """With the address that was asked."""
    result = run("ada", "login", f"--url=http://127.0.0.1:{number}")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"http://127.0.0.1:{number} does not answer: ")
    assert result.stderr.count("\n") == 1


def test_name_that_does_not_resolve_is_one_line() -> None:
    """Also one that cannot be a name."""
    for host in ("nowhere.invalid", "a" * 64 + ".invalid"):
        result = run("ada", "login", f"--url=http://{host}:8000")

        assert result.exit_code == 1
        assert result.stderr.startswith(f"http://{host}:8000 does not answer: ")
        assert result.stderr.count("\n") == 1


@contextlib.contextmanager
def serving(
    status: int, body: bytes, **headers: str
) -> Iterator[tuple[str, list[str]]]:
    """Run a server that is no proxy; yield its address and the tokens it got."""
    tokens: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", tokens
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"<html>", "{} is not the metrics port of a proxy"),
        (200, b"[]", "{} is not the metrics port of a proxy"),
        (200, b"{}", "{} is not the metrics port of a proxy"),
        (200, b'{"limits": 1}', "{} is not the metrics port of a proxy"),
        (200, b"\xff", "{} is not the metrics port of a proxy"),
        (404, b"<html>", "{} answered 404 Not Found"),
        (500, b"[1]", "{} answered 500 Internal Server Error"),
        (502, b'{"error": "x"}', "{} answered 502 Bad Gateway"),
    ],
)
def test_server_that_is_no_proxy_is_one_line(
    status: int, body: bytes, message: str
) -> None:
    """Somebody mistyped the port; that is no traceback."""
    with serving(status, body) as (url, _):
        result = run("ada", "login", f"--url={url}")

    assert (result.exit_code, result.stderr) == (1, message.format(url) + "\n")


def test_token_follows_no_redirect() -> None:
    """Nor does the question: the answer says where it would have gone."""
    with serving(200, b"{}") as (other, tokens):
        with serving(302, b"", Location=other) as (url, _):
            result = run("ada", "login", f"--url={url}", "--token=hush")

        assert (result.exit_code, result.stderr) == (1, f"{url} answered 302 Found\n")
        assert tokens == []


def test_token_goes_through_no_proxy(proxy: ProxyProcess) -> None:
    """What http_proxy says does not matter to a port on loopback."""
    with serving(200, b"{}") as (other, tokens):
        result = run(
            "ada",
            "login",
            f"--url=http://127.0.0.1:{proxy.metrics}",
            f"--token={TOKEN}",
            http_proxy=other,
            no_proxy="",
        )

        assert (result.exit_code, tokens) == (0, [])


def test_port_that_speaks_something_else_is_one_line() -> None:
    """Redis, say."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def speak() -> None:
            client, _ = server.accept()
            client.recv(65536)
            client.sendall(b"-ERR \x1b[2Jwrong number of arguments\r\n")
            client.close()

        thread = threading.Thread(target=speak)
        thread.start()
        result = run("ada", "login", f"--url={url}")
        thread.join()

    assert result.exit_code == 1
    assert result.stderr == (
        f"{url} does not answer: -ERR  [2Jwrong number of arguments\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ada"],
        ["ada", "login", "more"],
        ["ada", "login", "--fast"],
        ["ada", "login", "--url=127.0.0.1:8000"],
        ["ada", "login", "--url=ftp://127.0.0.1"],
        ["ada", "login", "--url=http://"],
        ["ada", "login", "--url=http://a b"],
        ["ada", "login", "--url=http://[::1"],
        ["ada", "login", "--url=http://127.0.0.1:port"],
        ["ada", "login", "--url=http://127.0.0.1:0"],
        ["ada", "login", "--url=http://127.0.0.1\n"],
        ["ada", "login", "--token=hush\r\nX: y"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_wrong_usage_has_its_own_status(arguments: list[str]) -> None:
    """2, with what is wrong; a token is not repeated."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "hush" not in result.output


def test_help_teaches() -> None:
    """What SUBJECT and RULE are, where the token comes from, and the exit status."""
    result = run("--help")

    assert result.exit_code == 0
    for word in ("SUBJECT", "RULE", "METRICS_URL", "METRICS_TOKEN", "Exit status"):
        assert word in result.output


def test_no_proxy_logs_a_token(proxy: ProxyProcess) -> None:
    """Right or wrong, it is in nobody's log."""
    run("ada", "login", f"--url=http://127.0.0.1:{proxy.metrics}", "--token=hush")

    assert "hush" not in proxy.log
    assert TOKEN not in proxy.log


def take(proxy: ProxyProcess, count: int) -> list[int]:
    """Return the statuses of so many log-ins from here."""
    statuses = []
    with socket.create_connection(("127.0.0.1", proxy.data)) as client:
        for _ in range(count):
            client.sendall(
                b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
            )
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(65536)
            statuses.append(int(answer.split()[1]))
    return statuses


@pytest.fixture(name="fresh")
def fresh_fixture(tmp_path: Path) -> Iterator[ProxyProcess]:
    """A proxy of the test's own, which writes an audit log."""
    with proxy_process(
        tmp_path, POLICY, METRICS_TOKEN=TOKEN, AUDIT_LOG=str(tmp_path / "audit.log")
    ) as proxy:
        yield proxy


def audited(folder: Path, event: str) -> list[dict[str, object]]:
    """Return the lines of the audit log about an event."""
    lines = (folder / "audit.log").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["event"] == event]


def test_whoever_presses_is_shown(fresh: ProxyProcess) -> None:
    """Nobody at first; then who was refused, how often, and what was left."""
    assert (
        ask(fresh, "top").stdout == "nobody was near a limit in the last ten minutes\n"
    )
    take(fresh, 7)

    result = ask(fresh, "top")
    assert result.stdout.startswith("c:127.0.0.1 login: over 2, near 1, 0 of 5 left ")
    [row] = json.loads(ask(fresh, "top", "--json", "--most=1").stdout)
    assert (row["owner"], row["limit"], row["over"]) == ("c:127.0.0.1", "login", 2)
    assert json.loads(ask(fresh, "top", "--json", "--most=0").stdout) == []


def test_what_was_taken_can_be_given_back(fresh: ProxyProcess, tmp_path: Path) -> None:
    """At once, and who wanted it and why is written down."""
    assert take(fresh, 6)[-1] == 429

    result = ask(fresh, "reset", "127.0.0.1", "login", "--reason", "ticket 7")

    assert result.stdout == "full again for 127.0.0.1: login\n"
    assert take(fresh, 1) != [429]
    [line] = audited(tmp_path, "limits.reset")
    assert line["who"] == "127.0.0.1"
    assert line["reason"] == "ticket 7"
    assert line["by"]


def test_somebody_can_be_lent_more(fresh: ProxyProcess, tmp_path: Path) -> None:
    """For a while, on top of what is left."""
    assert take(fresh, 6)[-1] == 429
    grant = ("grant", "127.0.0.1", "login", "--limit=login", "--tokens=3", "--for=2h")

    result = ask(fresh, *grant, "--reason", "exam week")

    assert result.stdout == "3 more for 127.0.0.1, for 2h: login\n"
    assert [status == 429 for status in take(fresh, 4)] == [False] * 3 + [True]
    [line] = audited(tmp_path, "limits.grant")
    assert (line["tokens"], line["seconds"]) == (3, 7200.0)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["reset", "ada", "nowhere", "--reason=x"], 1, "The policy has no such rule"),
        (["reset", "ada", "home", "--reason=x"], 1, "Nobody is limited there"),
        (
            ["reset", "ada", "login", "--limit=api", "--reason=x"],
            1,
            "The rule has no such limit",
        ),
        (
            ["reset", "ada", "login", "--reason=a\nb"],
            1,
            "reason is a text without line breaks, of 500 characters",
        ),
        (["reset", "ada", "login"], 2, "Missing option '--reason'"),
        (
            ["grant", "ada", "login", "--tokens=1", "--for=soon", "--reason=x"],
            2,
            "--for is a duration: 30m, 2h, 7d",
        ),
        (
            ["grant", "ada", "login", "--tokens=1", "--for=9999d", "--reason=x"],
            1,
            "seconds is a number from 1 to 31622400",
        ),
        (["ada", "login", "--with", "tenant"], 2, "write NAME=VALUE"),
    ],
)
def test_what_cannot_be_done_is_said(
    proxy: ProxyProcess, arguments: list[str], status: int, message: str
) -> None:
    """In a line, and nothing is changed."""
    result = ask(proxy, *arguments)

    assert result.exit_code == status
    assert message in result.stderr
