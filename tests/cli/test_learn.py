"""``lumina-proxy learn`` and ``init --openapi``: drafts that a proxy can serve with."""

import json
import signal
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result

from proxy.__main__ import main
from proxy.core.policy_parser import parse_policy
from proxy.edge import learner
from tests.proxy_process import proxy_process
from tests.wire import Client, backend

SECRET = "c0ffee" * 12
OBSERVE = """\
version: 1
mode: shadow
backends: {lms: {servers: ["${BACKEND_URL}"]}}
issuers:
  lms:
    {issuer: lms, audience: lms, algorithms: [HS256], secret: "${JWT_SECRET}",
     roles: $.role}
roles: [teacher]
rules:
  - {id: everything, match: "* /{path...}", allow: [teacher]}
"""
PERSON = b'{"email": "ada@example.org", "id": 7}'


def run(*arguments: str, **environment: str) -> Result:
    """Run a command."""
    env = {"METRICS_URL": "", "METRICS_TOKEN": "", **environment}
    return CliRunner().invoke(main, arguments, env=env)


async def people(client: Client) -> None:
    """Answer with a person: whole to GET, in pieces to POST."""
    while True:
        head = await client.reader.readuntil(b"\r\n\r\n")
        json_type = b"Content-Type: application/json\r\n"
        if head.startswith(b"GET"):
            length = b"Content-Length: %d\r\n\r\n" % len(PERSON)
            await client.send(b"HTTP/1.1 200 OK\r\n" + json_type + length + PERSON)
            continue
        await client.reader.readexactly(len(PERSON))
        chunked = b"Transfer-Encoding: chunked\r\n\r\n"
        await client.send(b"HTTP/1.1 201 Created\r\n" + json_type + chunked)
        for part in (PERSON[:10], PERSON[10:]):
            await client.send(b"%x\r\n%b\r\n" % (len(part), part))
        await client.send(b"0\r\n\r\n")


async def ask(
    port: int, method: str, path: str, body: bytes = b"", token: str = ""
) -> bytes:
    """Send one request; return the answer's body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    client = await Client.connect(port)
    answer = await client.request("\r\n".join([*lines, "\r\n"]).encode() + body)
    await client.close()
    return answer.body


async def test_policy_is_drafted_from_what_passed(tmp_path: Path) -> None:
    """Rules for what was asked, by whom; and the draft serves the same requests."""
    token = jwt.encode(
        {"iss": "lms", "aud": "lms", "sub": "ada", "role": "teacher", "exp": 4e9},
        SECRET,
    )
    draft = tmp_path / "draft.yaml"
    async with backend(people) as port:
        settings = {
            "BACKEND_URL": f"http://127.0.0.1:{port}",
            "JWT_SECRET": SECRET,
            "POLICY_POLL": "0",
        }
        with proxy_process(tmp_path, OBSERVE, LEARN="on", **settings) as proxy:
            for number in range(3):
                got = await ask(proxy.data, "GET", f"/users/{number}", token=token)
                assert got == PERSON
            assert await ask(proxy.data, "POST", "/users", PERSON) == PERSON
            url = f"http://127.0.0.1:{proxy.metrics}"
            seen = run("learn", "--url", url, "--json")
            result = run("learn", "--url", url, "-o", str(draft), "--for", "10ms")
            again = run("learn", "--url", url, "-o", str(draft))
            proxy.policy.write_text(draft.read_text())
            proxy.tell(signal.SIGHUP)
            digest = parse_policy([("d", draft.read_text())], settings)[0].digest
            while proxy.ask("/policy")[1]["digest"] != digest:
                assert proxy.ask("/policy")[1]["last_error"] is None
            assert await ask(proxy.data, "GET", "/users/9", token=token) == PERSON

    assert "ada@example.org" not in seen.output
    assert (result.exit_code, again.exit_code) == (0, 1), result.output
    assert "2 rules, 1 fields that look personal; nothing is enforced yet" in (
        result.output
    )
    assert f"{draft} is there already" in again.output
    text = draft.read_text()
    assert 'match: "GET /users/{user}"\n    allow: [teacher]' in text
    assert 'match: "POST /users"\n    allow: anyone' in text
    assert 'request: {"$.email": person.email}' in text
    assert "limits: [{rate: 10/hour, per: subject}]  # 3 seen" in text


async def test_longer_bodies_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They pass all the same."""
    monkeypatch.setattr(learner, "MOST", 10)
    async with backend(people) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, BACKEND_URL=url) as proxy:
            assert await ask(proxy.data, "GET", "/") == PERSON
            where = f"http://127.0.0.1:{proxy.metrics}"
            result = run("learn", "--url", where)

    assert result.exit_code == 1
    assert "This proxy does not learn; start it with LEARN=on" in result.output


@pytest.mark.parametrize("length", ["soon", "10"])
def test_duration_has_a_unit(length: str) -> None:
    """What is none is wrong usage."""
    result = run("learn", "--for", length)

    assert result.exit_code == 2
    assert "is no duration such as 10m or 24h" in result.output


DOCUMENT = {
    "openapi": "3.0.0",
    "paths": {
        "/users/{id}": {
            "get": {"operationId": "getUser", "security": [{"bearer": []}]},
        }
    },
}


@pytest.mark.parametrize("kind", ["json", "yaml", "bom"])
def test_policy_is_drafted_from_openapi(tmp_path: Path, kind: str) -> None:
    """From JSON and YAML, to standard output."""
    text = json.dumps(DOCUMENT, indent=1)
    if kind == "yaml":
        text = "# A comment makes it YAML\n" + text
    file = tmp_path / "openapi"
    file.write_text(text, encoding="utf-8-sig" if kind == "bom" else "utf-8")
    result = run("init", "--openapi", str(file))

    assert result.exit_code == 0
    assert "  - id: get-user\n" in result.stdout
    assert "mode: shadow" in result.stdout


async def test_openapi_is_read_over_http() -> None:
    """As services publish it."""
    body = json.dumps(DOCUMENT).encode()

    async def script(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    async with backend(script) as port:
        import asyncio  # noqa: PLC0415 - one test of many has to wait

        url = f"http://127.0.0.1:{port}/openapi.json"
        result = await asyncio.to_thread(run, "init", "--openapi", url)

    assert 'match: "GET /users/{id}"' in result.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read"),
        ("{", "is neither JSON nor YAML"),
        ("a: [", "is neither JSON nor YAML"),
        ("[]", "it has no paths, so it is no OpenAPI document"),
        ('{"paths": {}}', "there is nothing in it that a rule could be written for"),
    ],
    ids=["missing", "json", "yaml", "list", "empty"],
)
def test_what_is_no_openapi_is_told(
    tmp_path: Path, text: str | None, expected: str
) -> None:
    """In a line, with status 1."""
    file = tmp_path / "openapi"
    if text is not None:
        file.write_text(text)
    result = run("init", "--openapi", str(file))

    assert result.exit_code == 1
    assert expected in result.output


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--openapi", "ftp://a/b"], 1),
        (["--openapi", "http://127.0.0.1:9/x"], 1),
        (["--openapi", "x", "production", "--domain", "a.example"], 2),
        ([], 2),
    ],
    ids=["scheme", "nobody", "both", "neither"],
)
def test_wrong_usage_of_init(arguments: list[str], status: int) -> None:
    """Nothing is fetched from anywhere else, and one thing is done at a time."""
    assert run("init", *arguments).exit_code == status
