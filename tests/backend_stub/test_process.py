"""The service and the demonstration as programs."""

import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from backend_stub import demo

SECRET = "a secret of more than thirty-two bytes"


def start(
    module: str,
    *flags: str,
    secret: str = SECRET,
) -> subprocess.Popen[str]:
    """Start ``python -m`` with pipes for what it says."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        cwd=demo.ROOT,
        env={**os.environ, "JWT_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_service_cleanly(
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    """SIGTERM and SIGINT end the service with 0 and not a word on stderr."""
    with start("backend_stub", "--port=0", f"--database={tmp_path / 'd'}") as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        url = line.split()[-1] + "/health"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
            assert answer.status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """The service and the demonstration both refuse a port in use with exit 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = (f"--port={port}", f"--database={tmp_path / 'd'}")
        with start("backend_stub", *flags) as process:
            _, err = process.communicate(timeout=10)
        assert (process.returncode, err.count("\n")) == (1, 1)
        flags = (f"--proxy-port={port}", f"--state-dir={tmp_path / 'run'}")
        with start("backend_stub.demo", *flags) as process:
            _, err = process.communicate(timeout=10)
        assert (process.returncode, err.count("\n")) == (1, 1)
        assert str(port) in err


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """A file that is no database ends the service with 1."""
    (tmp_path / "d").write_text("this is no SQLite database, and long enough to see\n")
    with start("backend_stub", "--port=0", f"--database={tmp_path / 'd'}") as process:
        _, err = process.communicate(timeout=10)
    assert (process.returncode, err.count("\n")) == (1, 1)


def test_a_short_secret_is_refused() -> None:
    """A secret that HS256 must not use ends the service with 2."""
    with start("backend_stub", "--port=0", secret="short") as process:
        _, err = process.communicate(timeout=10)
    assert (process.returncode, err.count("\n")) == (2, 1)
    assert "short" not in err


def test_development_keys_are_private_and_kept(tmp_path: Path) -> None:
    """Keys are made once, differ, and only the owner reads file and folder."""
    folder = tmp_path / "run"
    keys = demo.load_keys(folder)
    assert len(set(keys.values())) == 2
    assert demo.load_keys(folder) == keys
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "dev-keys.env").stat().st_mode) == 0o600
    (folder / "dev-keys.env").write_text("JWT_SECRET=x\n")
    with pytest.raises(demo.DemoError, match="ENCRYPTION_KEY"):
        demo.load_keys(folder)


def test_a_child_that_dies_is_named(tmp_path: Path) -> None:
    """The name and the exit code of a program that ended by itself are told."""
    children = demo.Children()
    flags = ["backend_stub", "--port=0", f"--database={tmp_path / 'd'}"]
    children.start("survivor", flags, {"JWT_SECRET": SECRET})
    children.start("victim", flags, {"JWT_SECRET": "short"})
    try:
        children._running["victim"].wait(10)
        with pytest.raises(demo.DemoError, match=r"victim .* exit code 2"):
            children.check()
    finally:
        children.stop()
    assert children._running["survivor"].returncode is not None
