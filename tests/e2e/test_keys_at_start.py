"""A start that would lose look-ups or leave values in the clear does not happen."""

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.core.keyset import Keyset
from tests.e2e.conftest import DEADLINE, ROOT, wait_until_up
from tests.ports import free_port

OLD, NEW = bytes(range(32)), bytes(range(32, 64))

POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
fields: {user.login: {mode: deterministic KEY}}
views: {anyone: {user.login: plain}}
rules:
  - id: user
    match: GET /user
    allow: anyone
    protect: {QUERY response: {$.login: user.login}}
"""


def text_of(*roots: bytes) -> str:
    """Write keys as ENCRYPTION_KEY has them."""
    return ",".join(base64.urlsafe_b64encode(root).decode() for root in roots)


def starting(
    folder: Path, policy: str, *roots: bytes, port: int = 0
) -> subprocess.Popen[bytes]:
    """Start the proxy with a policy of its own."""
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    environment = {
        **os.environ,
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": f"127.0.0.1:{port}",
        "POLICY": str(folder / "policy.yaml"),
        "ENCRYPTION_KEY": text_of(*roots),
        "DRAIN_GRACE": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", "serve"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
    )


def the_policy(key: str = "", query: str = "") -> str:
    """Return the policy with a field that stays with a key, or protects a query."""
    return POLICY.replace("KEY", key).replace("QUERY", query)


def last_words(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Return the exit status and what was written last."""
    _, written = process.communicate(timeout=DEADLINE)
    return process.returncode, written.decode().strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (the_policy(), "user.login is deterministic and must say which key"),
        (the_policy(", key: 00000001"), "stays with the key 00000001, which is not"),
    ],
    ids=["no choice", "lost key"],
)
def test_an_unclear_key_refuses_the_start(
    tmp_path: Path, policy: str, words: str
) -> None:
    """One line says which field, and which keys there are to choose from."""
    status, line = last_words(starting(tmp_path, policy, NEW, OLD))

    assert status == 1
    assert words in line
    for key_id in Keyset([NEW, OLD]).key_ids:
        assert f"{key_id:08x}" in line


def test_an_unclear_key_refuses_a_reload(tmp_path: Path) -> None:
    """The policy in force stays, and says which key it stays with, until a good one."""
    port = free_port()
    pinned = the_policy(f", key: {Keyset([OLD]).primary:08x}")
    process = starting(tmp_path, pinned, NEW, OLD, port=port)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/ready", process)
        (tmp_path / "policy.yaml").write_text(the_policy(), encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        assert process.stderr
        # Ends with the pipe, if the process does.
        told = next(line for line in process.stderr if b"must say which key" in line)
        wait_until_up(f"http://127.0.0.1:{port}/ready", process)
    finally:
        process.terminate()
        _, rest = process.communicate(timeout=DEADLINE)

    assert b"add key: with one of" in told
    assert b"stopped" in rest
