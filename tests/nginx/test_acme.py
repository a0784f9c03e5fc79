"""Certificates from a real ACME authority: pebble, which Let's Encrypt tests with.

It is on loopback with a name server of its own. Everything else is as in production:
certbot, the proof that the edge serves, the deploy hook, the edge that notices.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.e2e.conftest import DEADLINE, ROOT, wait_until_up
from tests.nginx.edge import Edge, Talker, edge, fetched
from tests.nginx.test_edge import served, wait_for
from tests.ports import free_port, free_ports

ACME = ROOT / "nginx" / "acme.sh"
TEN_DAYS = 864_000
"""How long a certificate is good, in seconds: certbot renews what has less than 30."""


@contextlib.contextmanager
def running(
    *command: str, log: Path, **extra: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of a ``with`` block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **extra}
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(DEADLINE)


class Authority:
    """A running authority.

    Attributes:
        directory: where certbot begins.
        bundle: what to trust to talk to it.
        root: the certificate that it signs with, as PEM.
    """

    def __init__(self, folder: Path, http_port: int) -> None:
        self.bundle = folder / "pebble.pem"
        self._folder, self._http = folder, http_port
        self.port, self.management, self._dns, self._dns_admin, self._tls = free_ports(
            5
        )
        self.directory = f"https://localhost:{self.port}/dir"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-noenc", "-days", "1"),
                *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                *("-keyout", folder / "pebble.key", "-out", self.bundle),
            ],
            check=True,
            capture_output=True,
        )

    @contextlib.contextmanager
    def started(self) -> Iterator["Authority"]:
        """Run it for the length of a ``with`` block."""
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.bundle),
            "privateKey": str(self._folder / "pebble.key"),
            "httpPort": self._http,
            "tlsPort": self._tls,
            "certificateValidityPeriod": TEN_DAYS,
        }
        file = self._folder / "pebble.json"
        file.write_text(json.dumps({"pebble": settings}))
        off = ("-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "")
        names = (
            *("pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", *off),
            *("-dns01", f"127.0.0.1:{self._dns}"),
            *("-management", f"127.0.0.1:{self._dns_admin}"),
        )
        server = (
            "pebble",
            "-config",
            str(file),
            "-dnsserver",
            f"127.0.0.1:{self._dns}",
        )
        quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        with (
            running(*names, log=self._folder / "names.log"),
            running(*server, log=self._folder / "pebble.log", **quick) as pebble,
        ):
            wait_for(lambda: self._answers(pebble))
            yield self

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self._folder / "pebble.log").read_text()
        with contextlib.suppress(OSError):
            self.root = fetched(self.management, "/roots/0", self.bundle).decode()
            return True
        return False


@pytest.fixture
def before(tmp_path: Path, backend: Talker) -> Iterator[Edge]:
    """An edge with the certificate of its first start."""
    (tmp_path / "edge").mkdir()
    with edge(tmp_path / "edge", f"127.0.0.1:{backend.port}") as running_edge:
        yield running_edge


def test_a_certificate_is_issued_and_renewed_under_load(
    before: Edge, tmp_path: Path
) -> None:
    """The first one gives way to an issued one, and that to the next, unnoticed."""
    wait_until_up(f"http://127.0.0.1:{before.status}/health", before.process)
    first = x509.load_der_x509_certificate(served(before))
    serials, statuses = [first.serial_number], []
    with Authority(tmp_path, before.http).started() as authority:
        environment = {
            **before.environment,
            "ACME_DIRECTORY": authority.directory,
            "ACME_STATE": str(tmp_path / "state"),
            "REQUESTS_CA_BUNDLE": str(authority.bundle),
        }
        for _ in range(2):
            done = subprocess.Popen(
                [ACME, "once"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

            def asked(process: subprocess.Popen[str] = done) -> bool:
                statuses.append(before.ask("/x", trust=authority.root).status)
                return process.poll() is not None

            wait_for(asked)
            output, _ = done.communicate()
            assert done.returncode == 0, output
            wait_for(lambda: asked() and now(before) != serials[-1])
            assert "a new certificate is at" in output
            serials.append(now(before))
        last = x509.load_der_x509_certificate(served(before))

    assert len(set(serials)) == 3
    assert set(statuses) == {200}
    assert first.issuer == first.subject
    assert "Pebble" in last.issuer.rfc4514_string()
    assert before.key.stat().st_mode & 0o077 == 0


def now(by: Edge) -> int:
    """Return the serial number of the certificate that is served."""
    return x509.load_der_x509_certificate(served(by)).serial_number


def test_an_authority_that_is_down_changes_nothing(
    before: Edge, tmp_path: Path
) -> None:
    """What is in force stays in force, and the exit status says that it failed."""
    serial = now(before)
    done = subprocess.run(
        [ACME, "once"],
        env={
            **before.environment,
            "ACME_DIRECTORY": f"https://localhost:{free_port()}/dir",
            "ACME_STATE": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    assert done.returncode != 0
    assert "Connection refused" in done.stdout + done.stderr
    assert now(before) == serial
