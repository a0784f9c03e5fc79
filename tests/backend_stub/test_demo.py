"""``make run``: what it prints does what it says, and it leaves nothing behind."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from backend_stub import demo
from tests.ports import free_ports

DEADLINE = 30.0
LAST_LINE = "# Ctrl-C in this terminal stops both.\n"


class Demo:
    """A running demonstration.

    Args:
        state: its folder of data and keys.
        by_make: whether ``make run`` starts it.
        variables: of its environment.
    """

    def __init__(self, state: Path, *, by_make: bool = False, **variables: str) -> None:
        self.ports = free_ports(3)
        kinds = ("proxy", "metrics", "backend")
        flags = [
            f"--{kind}-port={n}" for kind, n in zip(kinds, self.ports, strict=True)
        ]
        flags.append(f"--state-dir={state}")
        command = [sys.executable, "-m", "backend_stub.demo", *flags]
        if by_make:
            command = ["make", "--silent", "run", f"RUN={' '.join(flags)}"]
        # `make test` tells its own make what it was told; that one is another.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        self.process = subprocess.Popen(
            command,
            cwd=demo.ROOT,
            env={**inherited, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def guide(self) -> str:
        """Return what it prints when both services serve."""
        assert self.process.stdout is not None
        text = ""
        while not text.endswith(LAST_LINE):
            line = self.process.stdout.readline()
            assert line, self.process.stderr and self.process.stderr.read()
            text += line
        return text[text.index("# The proxy is at") :]

    def family(self) -> list[psutil.Process]:
        """Return the process and all that it started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def end(self, number: signal.Signals, *, to_group: bool = False) -> tuple[int, str]:
        """Send a signal; return exit status and standard error.

        Args:
            number: the signal.
            to_group: whether the whole group gets it, as a terminal does it.
        """
        pid = self.process.pid
        if to_group:
            os.killpg(pid, number)
        else:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, errors


@contextlib.contextmanager
def running(state: Path, *, by_make: bool = False, **variables: str) -> Iterator[Demo]:
    """Run the demonstration for the length of a block."""
    one = Demo(state, by_make=by_make, **variables)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)


def paste(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Let a shell in another folder do what a text says."""
    return subprocess.run(
        ["bash"],
        input=text,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def steps(guide: str) -> dict[str, str]:
    """Return the commands of a guide by the first words of the comment before them."""
    found: dict[str, str] = {}
    for block in guide.split("\n\n"):
        comment = re.sub(r"\n?# ?", " ", block.partition("\n")[0]).strip()
        found[" ".join(comment.split()[:3])] = block
    return found


def test_guide_does_what_it_says(tmp_path: Path) -> None:
    """Step by step or whole, once or again: 401, 403, plain names, no trace, 429."""
    state = tmp_path / "it's a folder"
    # What a shell may have set for another proxy does not matter.
    demonstration = running(
        state,
        METRICS_TOKEN="hush",
        WORKERS="7",
        REDIS_URL="redis://127.0.0.1:1",
        ENCRYPTION_KEY_FILE="/nowhere",
        TRUSTED_PROXIES="everybody",
    )
    with demonstration as one:
        told = steps(one.guide())
        assert [*told] == [
            "The proxy is",
            "Register a teacher,",
            "Without a token:",
            "A student may",
            "A teacher may,",
            "The database never",
            "Six log-ins in",
            "What the proxy",
            "Ctrl-C in this",
        ]
        # One shell for all, as a terminal is; a mark between the steps.
        text = "\necho '=== step'\n".join(told.values())
        done = paste(text, tmp_path)
        said = dict(zip(told, done.stdout.split("=== step\n"), strict=True))

        assert (done.returncode, done.stderr) == (0, "")
        assert said["The proxy is"] == said["Ctrl-C in this"] == ""
        assert '"name": "Tess Teacher"' in said["Register a teacher,"]
        assert said["Without a token:"].startswith("HTTP/1.1 401 ")
        assert '"reason": "token-missing"' in said["Without a token:"]
        assert "HTTP/1.1 403 " in said["A student may"]
        assert '"reason": "role-not-allowed"' in said["A student may"]
        assert said["A teacher may,"].count('"name": "Ada Lovelace"') == 2
        counts = said["The database never"].splitlines()
        assert [line.rpartition(":")[::2] for line in counts] == [
            (str(file), "0") for file in sorted(state.glob("lms.sqlite3*"))
        ]
        log_ins = said["Six log-ins in"].splitlines()
        assert log_ins[0].startswith("HTTP/1.1 401 ")
        assert log_ins[-2].startswith("HTTP/1.1 429 ")
        assert re.fullmatch(r"Retry-After: ([1-9]|1[0-2])", log_ins[-1].strip())
        for sample in (
            "lumina_request_duration_seconds_bucket{",
            'lumina_decisions_total{reason="rate-limited",role="",rule="login"}',
            "lumina_system_cpu_usage ",
            "lumina_system_memory_usage ",
            "lumina_active_users ",
            "lumina_pathways_generated_total ",
            "lumina_assessments_completed_total ",
        ):
            assert f"\n{sample}" in f"\n{said['What the proxy']}"
        stored = b"".join(file.read_bytes() for file in state.glob("lms.sqlite3*"))
        assert b"Lovelace" not in stored
        assert b"Tess" not in stored
        assert b"tess@" not in stored
        assert b"teacher" in stored  # it is that database

    # Another day, with the same data, all at once.
    with running(state) as one:
        done = paste(one.guide(), tmp_path)

        assert (done.returncode, done.stderr) == (0, "")
        assert '"name": "Ada Lovelace"' in done.stdout
        assert "HTTP/1.1 429 " in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_leaves_no_process_and_no_traceback(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C, SIGTERM or a closed terminal: both services end, with exit status 0."""
    with running(tmp_path / "run") as one:
        one.guide()
        family = one.family()
        assert len(family) == 3
        status, errors = one.end(number)

        assert status == 0
        assert "Traceback" not in errors
        assert not [each for each in family if each.is_running()]


def test_signal_at_the_start_is_heeded(tmp_path: Path) -> None:
    """Before anything serves, both services have been started and are ended."""
    with running(tmp_path / "run") as one:
        until = time.monotonic() + DEADLINE
        while len(family := one.family()) < 3:
            assert time.monotonic() < until
        status, errors = one.end(signal.SIGINT)

        assert status == 0
        assert not [line for line in errors.splitlines() if "demo" in line]
        assert not [each for each in family if each.is_running()]


def test_open_stream_does_not_hold_it_up(tmp_path: Path) -> None:
    """A client that listens for events is cut off, not waited for."""
    with running(tmp_path / "run") as one:
        told = steps(one.guide())
        port = one.ports[0]
        events = f'curl -sN http://{demo.HOST}:{port}/api/events -H "Authorization: '
        script = told["Register a teacher,"] + f'\n{events}Bearer $TOKEN"\n'
        with subprocess.Popen(
            ["bash", "-c", script], stdout=subprocess.PIPE, text=True
        ) as listener:
            assert listener.stdout is not None
            for line in listener.stdout:
                if line.startswith(("data:", "event:", "id:")):
                    break
            began = time.monotonic()
            status, errors = one.end(signal.SIGINT)

            assert time.monotonic() - began < demo.STOP_SECONDS
            assert status == 0
            assert "Traceback" not in errors


def test_make_run_ends_with_the_terminals_interrupt(tmp_path: Path) -> None:
    """Ctrl-C reaches make, the demonstration and nobody's orphans."""
    with running(tmp_path / "run", by_make=True) as one:
        one.guide()
        family = one.family()
        _, errors = one.end(signal.SIGINT, to_group=True)

        assert len(family) == 4
        assert "Traceback" not in errors
        assert not [each for each in family if each.is_running()]


def test_taken_port_says_how_to_choose_another(tmp_path: Path) -> None:
    """Each of the three is looked at before anything is started."""
    with socket.create_server((demo.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        for kind in (kinds := ("proxy", "metrics", "backend")):
            others = dict(zip(kinds, free_ports(3), strict=True))
            flags = [
                f"--{name}-port={n}" for name, n in (others | {kind: port}).items()
            ]
            done = subprocess.run(
                [sys.executable, "-m", "backend_stub.demo", *flags],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(demo.ROOT)},
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )

            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert f"port {port} cannot be used" in done.stderr
            assert f"--{kind}-port N" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_service_that_fails_ends_the_other(tmp_path: Path) -> None:
    """One line names it, and nothing stays behind."""
    state = tmp_path / "run"
    state.mkdir()
    (state / "lms.sqlite3").write_text("this is no SQLite database, and long enough\n")
    with running(state) as one:
        _, errors = one.process.communicate(timeout=DEADLINE)

        assert one.process.returncode == 1
        assert "demo: backend_stub ended by itself with exit code 1\n" in errors
        assert "Traceback" not in errors
