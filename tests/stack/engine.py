"""A container engine for ``make stack``: the one at hand, or one of our own.

Ours keeps its images in a folder of the checkout, so that the next run is quicker,
makes no firewall rules, and is ended by its process id.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.documents import ROOT

FOLDER = ROOT / ".cache" / "engine"
SUITE = "trixie"
BASE = f"local/debian:{SUITE}-slim"
START_SECONDS = 30.0
DOCKER = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
"""Debian's client comes with BuildKit; another one on PATH may not."""


class Engine:
    """An engine that answers.

    Args:
        host: what ``DOCKER_HOST`` has to be for it.
    """

    def __init__(self, host: str) -> None:
        self.environment = {
            **os.environ,
            "DOCKER_HOST": host,
            "DOCKER_BUILDKIT": "1",
        }

    def docker(self, *words: str) -> str:
        """Run the client and return what it prints.

        Raises:
            AssertionError: it fails; with what it says.
        """
        done = subprocess.run(
            [DOCKER, *words],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        assert done.returncode == 0, f"docker {words[0]}: {done.stderr[-2000:]}"
        return done.stdout.strip()

    def answers(self) -> bool:
        """Say whether the engine is there."""
        done = subprocess.run(
            [DOCKER, "info"], env=self.environment, capture_output=True, check=False
        )
        return done.returncode == 0

    def base(self) -> str:
        """Return the base image: published, or made by debootstrap where none is."""
        named = os.environ.get("BASE_IMAGE")
        if named:
            return named
        if not self._has(BASE):
            self._make_base()
        return BASE

    def _has(self, image: str) -> bool:
        done = subprocess.run(
            [DOCKER, "image", "inspect", image],
            env=self.environment,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def _make_base(self) -> None:
        root = FOLDER / "rootfs"
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(
            [
                *("debootstrap", "--variant=minbase", "--include=ca-certificates"),
                *(SUITE, root),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        # A test base trusts what this machine trusts, so that pip reaches its index.
        bundle = Path("etc/ssl/certs/ca-certificates.crt")
        shutil.copy(Path("/") / bundle, root / bundle)
        packed = subprocess.Popen(
            ["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE
        )
        with packed:
            subprocess.run(
                [DOCKER, "import", "-c", f"ENV PIP_CERT=/{bundle}", "-", BASE],
                stdin=packed.stdout,
                env=self.environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        shutil.rmtree(root)


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Use the engine that DOCKER_HOST or the usual socket leads to, or run our own."""
    usual = Engine(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    if usual.answers():
        yield usual
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    ours = Engine(f"unix://{FOLDER}/docker.sock")
    with (FOLDER / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                *("dockerd", "--host", f"unix://{FOLDER}/docker.sock"),
                *("--data-root", FOLDER / "data", "--exec-root", FOLDER / "exec"),
                *("--pidfile", FOLDER / "docker.pid", "--bridge=none"),
                *("--iptables=false", "--ip6tables=false", "--ip-masq=false"),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not ours.answers():
            assert daemon.poll() is None, "dockerd ended at its start"
            assert time.monotonic() < until, "dockerd does not answer"
        yield ours
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(START_SECONDS)
        for mount in (FOLDER / "exec" / "netns").glob("*"):
            subprocess.run(["umount", mount], check=False, capture_output=True)
