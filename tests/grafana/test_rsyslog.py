"""A real rsyslogd with the shipped configuration: one JSON line for each log line."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import DEADLINE, ROOT
from tests.grafana.stand import PATH
from tests.ports import free_port

CONFIG = ROOT / "grafana/rsyslog/rsyslog.conf"


class Rsyslog:
    """One in a folder of its own.

    Attributes:
        folder: where the files of the services are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self._port = free_port()
        settings = folder / "rsyslog.conf"
        text = CONFIG.read_text(encoding="utf-8")
        for shipped, here in {
            "/var/log/lumina": str(self.folder),
            "/var/spool/rsyslog": str(folder),
            'address="0.0.0.0" port="1514"': f'address="127.0.0.1" port="{self._port}"',
        }.items():
            assert shipped in text
            text = text.replace(shipped, here)
        settings.write_text(text, encoding="utf-8")
        self.process = subprocess.Popen(
            ["rsyslogd", "-n", "-f", settings, "-i", folder / "pid"],
            env={"PATH": PATH},
        )

    def send(self, *messages: tuple[str, bytes]) -> None:
        """Send (service, text) as Docker's syslog driver does: RFC 5424, by lines."""
        with self._connected() as connection:
            for service, text in messages:
                head = f"<30>1 2026-11-24T12:00:00.5Z host {service} 7 {service} - "
                connection.sendall(head.encode() + text + b"\n")

    def _connected(self) -> socket.socket:
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            try:
                return socket.create_connection(("127.0.0.1", self._port))
            except ConnectionRefusedError:
                assert self.process.poll() is None
        raise AssertionError("rsyslogd does not listen")

    def lines(self, service: str, count: int) -> list[dict[str, Any]]:
        """Return the lines of a service as soon as there are so many."""
        file = self.folder / f"{service}.jsonl"
        until = time.monotonic() + DEADLINE
        lines: list[bytes] = []
        while time.monotonic() < until:
            lines = file.read_bytes().splitlines() if file.exists() else []
            if len(lines) >= count:
                return [json.loads(line) for line in lines]
            time.sleep(0.02)  # nothing tells when it has written
        raise AssertionError(f"{service}: {lines}")


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Rsyslog]:
    """Run one."""
    running = Rsyslog(tmp_path)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(DEADLINE)


def test_rsyslog_accepts_the_configuration(rsyslog: Rsyslog) -> None:
    """Rsyslog's own check has nothing to say."""
    done = subprocess.run(
        ["rsyslogd", "-N1", "-f", CONFIG],
        env={"PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
    assert rsyslog.process.poll() is None


def test_a_request_is_found_in_the_logs_of_all_services(rsyslog: Rsyslog) -> None:
    """JSON stays JSON, in a file for each service, and its request id joins them."""
    entry = {"request_id": "0123-ab", "status": 200, "seconds": 0.002}
    services = ("nginx", "proxy", "backend")
    rsyslog.send(*((service, json.dumps(entry).encode()) for service in services))
    found = [line for service in services for line in rsyslog.lines(service, 1)]

    assert [line["service"] for line in found] == list(services)
    assert [line["log"] for line in found] == [entry] * len(services)
    assert found[0]["time"] == "2026-11-24T12:00:00.5Z"
    assert found[0]["severity"] == "info"


def test_what_is_no_json_is_text(rsyslog: Rsyslog) -> None:
    """A line of another program is kept as it is."""
    rsyslog.send(("redis", b"* Ready to accept connections tcp"))
    [line] = rsyslog.lines("redis", 1)

    assert line["log"] == {"message": "* Ready to accept connections tcp"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'"quoted" and \\ and {"half": ', id="quotes"),
        pytest.param(b"bell \x07, escape \x1b[31m, tab \t", id="control"),
        pytest.param(b"\xff\xfe is no UTF-8", id="utf-8"),
        pytest.param(b"x" * 20_000, id="long"),
        pytest.param(b'{"log": {"service": "nginx"}}', id="forged"),
    ],
)
def test_whatever_is_logged_is_one_valid_line(rsyslog: Rsyslog, text: bytes) -> None:
    """Nothing in a message breaks its line, or makes it another service's."""
    rsyslog.send(("proxy", text), ("proxy", b"the next one"))
    first, second = rsyslog.lines("proxy", 2)

    assert first["service"] == "proxy"
    assert set(first) == {"time", "service", "host", "severity", "log"}
    assert second["log"] == {"message": "the next one"}


@pytest.mark.parametrize("tag", ["../../etc/cron.d/x", "somebody", "-"])
def test_a_name_never_becomes_a_path(rsyslog: Rsyslog, tag: str) -> None:
    """What is no service of ours goes to one file, whatever it calls itself."""
    rsyslog.send((tag, b"hello"))
    [line] = rsyslog.lines("other", 1)

    assert line["log"] == {"message": "hello"}
    assert [path.name for path in rsyslog.folder.iterdir()] == ["other.jsonl"]
