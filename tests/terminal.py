"""A terminal in which a test types what a document tells its reader to type.

One shell for one document, from top to bottom, so that what a command leaves behind is
there for the next one; in a folder that looks like a clone after ``make run``.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.documents import ROOT, Block
from tests.e2e.conftest import Stack
from tests.ports import free_port

SECONDS = 60.0

_DATA, _METRICS, _LMS = "127.0.0.1:8080", "127.0.0.1:8000", "127.0.0.1:9000"
"""The data port, the metrics port and the LMS, as documents write them."""

_SERVING = re.compile(r"lumina-proxy serve --(?!help)")
_PROLOGUE = """\
set -e
serve_until_ready() {
  "$@" & local proxy=$!
  until curl -sf "http://$METRICS_LISTEN/ready" >/dev/null; do kill -0 $proxy; done
  kill -TERM $proxy
  wait $proxy
}
"""
"""``serve`` goes on until it is told to stop: so it is told, once it is ready."""


class Terminal:
    """A shell beside a running stack.

    Args:
        folder: becomes the working folder; empty.
        stack: what listens on the ports that documents name.
        extra: variables of the environment.
    """

    def __init__(self, folder: Path, stack: Stack, extra: Mapping[str, str]) -> None:
        self.folder = folder
        self._data, self._lms = f"127.0.0.1:{stack.data}", f"127.0.0.1:{stack.backend}"
        self._metrics = f"127.0.0.1:{stack.metrics}"
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "METRICS_URL": f"http://{self._metrics}",
            "LISTEN": f"127.0.0.1:{free_port()}",
            "METRICS_LISTEN": f"127.0.0.1:{free_port()}",
            "DRAIN_GRACE": "0",
            **extra,
        }
        shutil.copytree(ROOT / "policies", folder / "policies")
        shutil.copy(ROOT / ".env.example", folder)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        (folder / ".run").symlink_to(stack.database.parent)

    def type(self, blocks: Sequence[Block]) -> list[str]:
        """Type every block, and return what each printed.

        A block without an output to compare fails with its first command that does.
        """
        script = _PROLOGUE
        for number, block in enumerate(blocks):
            careful = "-" if block.output is None else "+"
            script += f"exec >{number}.out 2>&1\nset {careful}e\n{self._here(block)}\n"
        status = self._run(script + "exit 0\n")
        files = [self.folder / f"{number}.out" for number in range(len(blocks))]
        outputs = [file.read_text("utf-8") for file in files if file.exists()]
        last = blocks[len(outputs) - 1]
        assert status == 0, f"{last.where}: exit status {status}: {outputs[-1]}"
        return outputs

    def _run(self, script: str) -> int:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment,
            start_new_session=True,
        )
        try:
            return shell.wait(SECONDS)
        except subprocess.TimeoutExpired:
            # With all that it started: they are in a session of their own.
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
            raise

    def _here(self, block: Block) -> str:
        """Return a block's commands with the ports of this machine."""
        text = block.text.replace(_LMS, self._lms)
        if _SERVING.search(text):
            # The stack is on the ports that are named, and stays there.
            text = _SERVING.sub(r"serve_until_ready \g<0>", text)
            return text.replace(_DATA, self._environment["LISTEN"])
        return text.replace(_DATA, self._data).replace(_METRICS, self._metrics)


def make_verbs(text: str) -> list[str]:
    """Return the line behind each ``make`` of a block, without a comment."""
    lines = re.findall(r"^make\b([^#>\n]*)", text, re.MULTILINE)
    return [line.strip() for line in lines]
