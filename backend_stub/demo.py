"""``python -m backend_stub.demo``: the service with the proxy in front of it.

Starts both as an operator would, as programs, and knows only their flags and
environment. Keys are made for development and kept in a private folder.
"""

import argparse
import base64
import contextlib
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.1
KEY_NAMES = ("JWT_SECRET", "ENCRYPTION_KEY")
NOT_WANTED = (
    *("REDIS_URL", "METRICS_TOKEN", "TRUSTED_PROXIES", "WORKERS"),
    *("LISTEN", "METRICS_LISTEN", "BACKEND_URL", "POLICY", *KEY_NAMES),
)
"""What the demonstration says itself, whatever a shell or a .env has set."""

COMMANDS = """
# The proxy is at {url}, the service behind it at {backend}.
# Paste this into another terminal, all of it or step by step.

# Register a teacher, log in and keep the token. (Whoever is there from an earlier run
# is not registered again: 400.)
curl -s {url}/api/auth/register -H 'Content-Type: application/json' \\
  -d '{{"email":"tess@example.org","name":"Tess Teacher",\
"password":"correct horse","role":"teacher"}}'
TOKEN=$(curl -s {url}/api/auth/login -H 'Content-Type: application/json' \\
  -d '{{"email":"tess@example.org","password":"correct horse"}}' \\
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')

# Without a token: 401.
curl -si {url}/api/users

# A student may not create users: 403.
curl -s {url}/api/auth/register -H 'Content-Type: application/json' \\
  -d '{{"email":"sam@example.org","name":"Sam Student","password":"battery staple"}}'
STUDENT=$(curl -s {url}/api/auth/login -H 'Content-Type: application/json' \\
  -d '{{"email":"sam@example.org","password":"battery staple"}}' \\
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
curl -si {url}/api/users -H "Authorization: Bearer $STUDENT" \\
  -H 'Content-Type: application/json' \\
  -d '{{"email":"ada@example.org","name":"Ada Lovelace"}}'

# A teacher may, and reads the name back in plain.
curl -s {url}/api/users -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -d '{{"email":"ada@example.org","name":"Ada Lovelace"}}'
curl -s {url}/api/users -H "Authorization: Bearer $TOKEN"

# The database never saw it: every count is 0.
grep -c 'Ada Lovelace' {database}*

# Six log-ins in a row, five a minute are allowed: 429 with Retry-After.
for i in 1 2 3 4 5 6; do curl -s -o /dev/null -D - {url}/api/auth/login \\
  -H 'Content-Type: application/json' \\
  -d '{{"email":"tess@example.org","password":"wrong"}}' \\
  | grep -iE '^(HTTP|Retry-After)'; done

# What the proxy counted.
curl -s {metrics}/metrics | grep -v '^#'

# Ctrl-C in this terminal stops both.
"""


class DemoError(Exception):
    """The demonstration cannot go on; the message is one line for people."""


def load_keys(folder: Path) -> dict[str, str]:
    """Return the folder's development keys, made on first use.

    Each is 32 random bytes in URL-safe base64, in a file only the owner reads.

    Raises:
        DemoError: the file is there without one of the keys.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder / "dev-keys.env"
    if not path.exists():
        text = "".join(
            f"{name}={base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}\n"
            for name in KEY_NAMES
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - its mode
            file.write(text)
    path.chmod(0o600)
    lines = (line.partition("=") for line in path.read_text("ascii").splitlines())
    keys = {name: value for name, _, value in lines if name in KEY_NAMES and value}
    if len(keys) < len(KEY_NAMES):
        raise DemoError(f"{path} lacks one of {', '.join(KEY_NAMES)}")
    return keys


def check_port(port: int) -> None:
    """Make sure that a port can be listened on.

    Raises:
        DemoError: it cannot.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemoError(
                f"port {port} cannot be used: {error.strerror}; another one with "
                'make run RUN="--proxy-port N --metrics-port N --backend-port N"'
            ) from None


class Children:
    """The programs started, each in a session of its own so that ^C is ours alone."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: list[str], added: dict[str, str]) -> None:
        """Start ``python -m`` with these arguments from the repository's root."""
        self._running[name] = subprocess.Popen(  # noqa: S603 - our own programs
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **added},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def check(self) -> None:
        """See that all are alive.

        Raises:
            DemoError: one ended by itself.
        """
        for name, process in self._running.items():
            code = process.poll()
            if code is not None:
                raise DemoError(f"{name} ended by itself with exit code {code}")

    def stop(self) -> None:
        """End all: SIGTERM, ``STOP_SECONDS`` for all together, then SIGKILL."""
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # Workers that outlived their parent are in its group still.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 - ours
            return bool(response.status == 200)  # noqa: PLR2004 - OK
    except (urllib.error.URLError, OSError):
        return False


def _await_ready(children: Children, url: str, stop: threading.Event) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not stop.is_set() and not _answers(url):
        children.check()
        if time.monotonic() > deadline:
            raise DemoError(f"{url} did not answer 200 in {START_SECONDS:.0f} s")
        stop.wait(POLL_SECONDS)


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    stop = threading.Event()
    # The last is what a terminal sends that is closed.
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = [signal.signal(number, lambda *_: stop.set()) for number in wanted]
    try:
        yield stop
    finally:
        for number, handler in zip(wanted, old, strict=True):
            signal.signal(number, handler)


def _start(children: Children, options: argparse.Namespace, state: Path) -> list[str]:
    """Start both programs; return the addresses that answer once they serve."""
    keys = load_keys(state)
    sys.stderr.write(
        f"*** {state}/dev-keys.env holds GENERATED DEVELOPMENT KEYS. ***\n"
        "*** Never use them in production.                          ***\n",
    )
    backend = f"{HOST}:{options.backend_port}"
    metrics = f"{HOST}:{options.metrics_port}"
    flags = ["--host", HOST, "--port", str(options.backend_port)]
    database = ["--database", str(state / "lms.sqlite3")]
    secret = {"JWT_SECRET": keys["JWT_SECRET"]}
    children.start("backend_stub", ["backend_stub", *flags, *database], secret)
    settings = {
        **dict.fromkeys(NOT_WANTED, ""),
        **{f"{name}_FILE": "" for name in NOT_WANTED},
        "LISTEN": f"{HOST}:{options.proxy_port}",
        "METRICS_LISTEN": metrics,
        "BACKEND_URL": f"http://{backend}",
        "POLICY": "policies",
        "DRAIN_GRACE": "0",
        "DRAIN_TIMEOUT": "2",
    }
    children.start("proxy", ["proxy", "serve"], {**settings, **keys})
    return [f"http://{backend}/health", f"http://{metrics}/ready"]


def run(options: argparse.Namespace, stop: threading.Event) -> None:
    """Start both programs and wait for a signal; both have ended on return.

    Raises:
        DemoError: a port is taken, or a program failed.
    """
    for port in (options.proxy_port, options.metrics_port, options.backend_port):
        check_port(port)
    state = Path(options.state_dir).absolute()
    children = Children()
    try:
        for url in _start(children, options, state):
            _await_ready(children, url, stop)
        if not stop.is_set():
            text = COMMANDS.format(
                url=f"http://{HOST}:{options.proxy_port}",
                backend=f"http://{HOST}:{options.backend_port}",
                metrics=f"http://{HOST}:{options.metrics_port}",
                database=shlex.quote(str(state / "lms.sqlite3")),
            )
            sys.stdout.write(text)
            sys.stdout.flush()
        while not stop.wait(POLL_SECONDS):
            children.check()
    finally:
        children.stop()


def main() -> int:
    """Return the exit code: 0 stopped by a signal, 1 something failed."""
    parser = argparse.ArgumentParser(prog="python -m backend_stub.demo")
    parser.add_argument("--proxy-port", type=int, default=8080)
    parser.add_argument("--metrics-port", type=int, default=8000)
    parser.add_argument("--backend-port", type=int, default=9000)
    parser.add_argument("--state-dir", default=".run")
    options = parser.parse_args()
    with _signals() as stop:
        try:
            run(options, stop)
        except DemoError as error:
            sys.stderr.write(f"demo: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
