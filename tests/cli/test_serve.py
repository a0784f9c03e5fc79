"""``lumina-proxy serve`` as a program: what refuses its start, and how that reads."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from proxy import __version__
from proxy.__main__ import main
from tests.proxy_process import DEADLINE, POLICY, ROOT, environment, proxy_process

BAD_POLICY = POLICY + "roels: []\nlimits: []\n"


@pytest.fixture(name="policy")
def policy_fixture(tmp_path: Path) -> Path:
    """A file with a good policy."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


class Done(NamedTuple):
    """How a program ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run(*flags: str, **variables: str) -> Done:
    """Run ``serve`` in this process until it ends by itself."""
    only = dict.fromkeys(os.environ) | environment(**variables)
    result = CliRunner().invoke(main, ["serve", *flags], env=only)
    assert isinstance(result.exception, SystemExit), result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def program(*arguments: str, **variables: str) -> Done:
    """Run the program in a process of its own until it ends by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def plain(done: Done) -> list[str]:
    """Return the lines on standard error that are not the log's."""
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if " lumina" not in line]


def test_missing_key_is_one_line(policy: Path) -> None:
    """Exit status 1: no key is made up."""
    done = program("serve", POLICY=str(policy), ENCRYPTION_KEY="")
    [line] = plain(done)

    assert done.returncode == 1
    assert line.startswith("ENCRYPTION_KEY or ENCRYPTION_KEY_FILE must be set: 32 byte")


@pytest.mark.parametrize("key", ["hush", "hush" * 11, "h" * 43 + "\u00fc"])
def test_key_that_is_none_is_one_line(policy: Path, key: str) -> None:
    """Which does not repeat it."""
    done = run(POLICY=str(policy), ENCRYPTION_KEY=key)
    [line] = plain(done)

    assert done.returncode == 1
    assert line.startswith("ENCRYPTION_KEY: ")
    assert "hush" not in done.stderr


def test_every_wrong_setting_is_a_line(policy: Path) -> None:
    """All at once, in the order of the settings."""
    done = run(
        POLICY=str(policy), LISTEN="x", DRAIN_GRACE="y", WORKERS="2", ENCRYPTION_KEY=""
    )

    assert done.returncode == 1
    assert [line.split(":")[0].split(" ")[0] for line in plain(done)] == [
        "LISTEN",
        "ENCRYPTION_KEY",
        "DRAIN_GRACE",
        "WORKERS",
    ]


def test_bad_policy_is_a_line_for_each_finding(policy: Path) -> None:
    """With its place, as ``check`` prints it, and nothing listens."""
    policy.write_text(BAD_POLICY)
    done = program("serve", POLICY=str(policy))

    assert done.returncode == 1
    unknown, twice = plain(done)
    assert unknown == (
        f"{policy}:9:1: error: roels: unknown key 'roels' (did you mean 'roles'?)"
    )
    assert twice.startswith(f"{policy}:10:1: error: limits: the key 'limits' is writ")
    assert "listening" not in done.stderr


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere.yaml", "No such file or directory"), (".", "there is no *.yaml")],
    ids=["no-file", "empty-folder"],
)
def test_policy_that_is_not_there_is_one_line(
    tmp_path: Path, path: str, message: str
) -> None:
    """With the path that was tried."""
    done = run(POLICY=str(tmp_path / path))
    [line] = plain(done)

    assert done.returncode == 1
    assert line.startswith(f"{tmp_path / path}:1:1: error: {message}")


def test_unset_secret_of_a_policy_is_one_line(policy: Path) -> None:
    """The policy says which variable; the start is refused."""
    policy.write_text(POLICY.replace("5/minute", "'${PLACE}'"))
    done = run(POLICY=str(policy))
    [line] = plain(done)

    assert done.returncode == 1
    assert "the variable PLACE is not set" in line


@pytest.mark.parametrize(
    ("url", "line"),
    [
        (
            "http://hush:6379",
            (
                "REDIS_URL is not redis://host:port, rediss://host:port, unix:///path, "
                "redis+sentinel://host:port,…/name or redis+cluster://host:port,…."
            ),
        ),
        ("redis://hush?db=x", "REDIS_URL: an option in it has no such value."),
        ("redis://hush?x=1", "REDIS_URL: there is no such option as in it."),
    ],
    ids=["scheme", "value", "name"],
)
def test_url_that_is_not_redis_is_one_line(policy: Path, url: str, line: str) -> None:
    """Without the URL, which may hold a password."""
    done = run(POLICY=str(policy), REDIS_URL=url)

    assert done.returncode == 1
    assert plain(done) == [line]
    assert "hush" not in done.stderr


@pytest.mark.parametrize("name", ["LISTEN", "METRICS_LISTEN"])
def test_port_in_use_is_one_line(policy: Path, name: str) -> None:
    """Whichever of the two it is; the other one is given up."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(POLICY=str(policy), **{name: address})
    [line] = plain(done)

    assert done.returncode == 1
    assert line.startswith(f"Cannot listen on {address}: ")
    assert "address already in use" in line.lower()


def test_port_of_another_proxy_is_in_use(tmp_path: Path, policy: Path) -> None:
    """Two proxies never share a port without anybody's wish."""
    folder = tmp_path / "first"
    folder.mkdir()
    with proxy_process(folder) as first:
        done = program("serve", POLICY=str(policy), LISTEN=f"127.0.0.1:{first.data}")

    assert done.returncode == 1
    assert plain(done)[0].startswith("Cannot listen on ")


@pytest.mark.parametrize(
    "address", ["192.0.2.1:80", "[2001:db8::1]:80", "nowhere.invalid:80"]
)
def test_address_of_somebody_else_is_one_line(policy: Path, address: str) -> None:
    """As is a name that does not resolve."""
    done = run(POLICY=str(policy), LISTEN=address)
    [line] = plain(done)

    assert done.returncode == 1
    assert line.startswith(f"Cannot listen on {address}: ")


def test_flag_wins_over_its_variable(tmp_path: Path) -> None:
    """Each setting that is no secret has one."""
    done = run(
        "--listen=x",
        "--metrics-listen=y",
        f"--policy={tmp_path}",
        "--redis-url=redis://h",
        LISTEN="127.0.0.1:0",
        METRICS_LISTEN="127.0.0.1:0",
        ENCRYPTION_KEY="",
    )

    assert [line.split(" ")[0] for line in plain(done)] == [
        "LISTEN:",
        "METRICS_LISTEN:",
        "ENCRYPTION_KEY",
    ]


def test_backend_of_a_flag_is_what_policies_refer_to(policy: Path) -> None:
    """${BACKEND_URL} of the policy is --backend-url."""
    done = run("--backend-url=hush", POLICY=str(policy))
    [line] = plain(done)

    assert done.returncode == 1
    assert "backends.lms.servers[0]" in line
    assert "hush" not in line


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ((), 2),
        (("nonsense",), 2),
        (("serve", "--fast"), 2),
        (("serve", "more"), 2),
        (("serve", "--listen"), 2),
        (("--help",), 0),
        (("-h",), 0),
        (("serve", "--help"), 0),
        (("--version",), 0),
    ],
    ids=lambda value: (
        " ".join(value) or "nothing" if isinstance(value, tuple) else None
    ),
)
def test_usage_has_a_status(command: tuple[str, ...], status: int) -> None:
    """2 for what cannot be meant, 0 for help."""
    result = CliRunner().invoke(main, command)

    assert result.exit_code == status
    assert result.output.startswith(("Usage: ", "Error: ", "lumina-proxy, version"))


def test_program_has_a_version_and_commands() -> None:
    """As a module; the name is that of the console script."""
    version = program("--version")
    usage = program("--help")

    assert (version.returncode, usage.returncode) == (0, 0)
    assert version.stdout == f"lumina-proxy, version {__version__}\n"
    assert usage.stdout.startswith("Usage: lumina-proxy ")
    for command in ("serve", "check", "limits"):
        assert f"\n  {command} " in usage.stdout


def test_console_script_is_the_same_program() -> None:
    """What installing the package puts on the path."""
    script = Path(sys.executable).with_name("lumina-proxy")
    done = subprocess.run(
        [script, "--version"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )

    assert done.stdout == f"lumina-proxy, version {__version__}\n"


def test_help_of_serve_names_every_flag_and_secret() -> None:
    """And where each comes from."""
    text = CliRunner().invoke(main, ["serve", "--help"]).output

    for word in ("LISTEN", "BACKEND_URL", "POLICY", "REDIS_URL", "NAME_FILE", "SIGHUP"):
        assert word in text


def test_no_colours_without_a_terminal(policy: Path) -> None:
    """A log file holds text."""
    done = run(POLICY=str(policy), ENCRYPTION_KEY="")

    assert "\x1b" not in done.stderr
