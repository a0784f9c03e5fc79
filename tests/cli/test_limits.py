"""``lumina-proxy limits``, against the metrics port and against what is none."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli.limits import limits
from proxy.edge.admin import Admin, AdminPorts
from tests.e2e.conftest import free_port
from tests.wire import Client, backend

TOKEN = "the token of the metrics port"
STATUS: dict[str, Any] = {
    "rule": "login",
    "remaining": 3,
    "limits": [
        {
            "id": "login",
            "per": "client",
            "role": None,
            "burst": 5,
            "remaining": 3,
            "reset_after": 24.0,
            "retry_after": 0.0,
        },
        {
            "id": "api",
            "per": "subject",
            "role": "admin",
            "burst": None,
            "remaining": None,
            "reset_after": 0.0,
            "retry_after": 0.0,
        },
    ],
}


async def status_of(who: str, rule: str, role: str | None) -> Mapping[str, Any] | None:
    """Know one rule, and one person by a name that a path cannot hold as it is."""
    asked = (who, rule, role)
    return STATUS if asked == ("urn:x/Zoë", "/login", "admin") else None


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Give a metrics port that asks for its token."""
    ports = AdminPorts(
        metrics=lambda _: (b"", ""),
        ready=lambda: (True, {}),
        policy=dict,
        limits=status_of,
    )
    admin = Admin(ports, TOKEN)
    await admin.start("127.0.0.1", 0)
    yield admin.port
    await admin.stop()


async def run(port: int, *arguments: str, **variables: str) -> Result:
    """Run the command beside this loop, which serves it."""
    environment = {
        "METRICS_URL": f"http://127.0.0.1:{port}",
        "METRICS_TOKEN": None,
        **variables,
    }

    def invoke() -> Result:
        return CliRunner().invoke(limits, arguments, env=environment)

    return await asyncio.to_thread(invoke)


WHO = ("urn:x/Zoë", "/login", "--role", "admin")


async def test_each_limit_is_a_line(port: int) -> None:
    """What is left, of how many, until when, and whose rate it is."""
    result = await run(port, *WHO, METRICS_TOKEN=TOKEN)

    assert (result.exit_code, result.output.splitlines()) == (
        0,
        [
            "login (per client): 3 of 5 left, full in 24.0 s",
            "api (per subject, role admin): unlimited",
        ],
    )


async def test_json_is_what_the_proxy_answered(port: int) -> None:
    """Scripts get the document itself."""
    result = await run(port, *WHO, "--json", "--token", TOKEN)

    assert json.loads(result.output) == STATUS


async def test_the_token_may_be_in_a_file(port: int, tmp_path: Path) -> None:
    """As every secret: METRICS_TOKEN_FILE names the file."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    result = await run(port, *WHO, METRICS_TOKEN_FILE=str(file))

    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("token", "rule", "told"),
    [
        ("wrong", "/login", "The metrics token is missing or wrong"),
        (TOKEN, "/logon", "The policy has no such rule"),
    ],
)
async def test_a_refusal_is_one_line(
    port: int, token: str, rule: str, told: str
) -> None:
    """What the metrics port says is passed on, and the exit status is 1."""
    result = await run(port, "ada", rule, METRICS_TOKEN=token)

    assert (result.exit_code, result.output) == (1, f"{told}\n")


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        (b"200 OK", "does not answer in JSON: no metrics port of ours?"),
        (b"404 Not Found", "answers 404 Not Found: no metrics port of ours?"),
    ],
)
async def test_another_service_is_not_believed(answered: bytes, told: str) -> None:
    """A page of somebody else's is one line, too, and no traceback."""

    async def page(client: Client) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 %b\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n"
        await client.send(head % answered + b"<hr>")

    async with backend(page) as other:
        result = await run(other, "ada", "/login")

    assert result.exit_code == 1
    assert result.output == f"http://127.0.0.1:{other} {told}\n"


async def test_nobody_there_is_one_line() -> None:
    """A port that nobody listens on is said to be one."""
    result = await run(free_port(), "ada", "/login")

    assert result.exit_code == 1
    assert "does not answer: [Errno" in result.output


async def test_other_addresses_are_wrong_usage() -> None:
    """Only http:// and https:// are asked."""
    result = await run(0, "ada", "/login", METRICS_URL="file:///etc")

    assert result.exit_code == 2
