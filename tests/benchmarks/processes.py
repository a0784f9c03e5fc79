"""Programs under measure: started, pinned to a core, accounted for, ended by pid."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
START_SECONDS = 15.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


class BenchmarkError(Exception):
    """A program did not start, or did not do its job; the message is for the table."""


@dataclasses.dataclass(frozen=True)
class Running:
    """A program that was started, with every process that it has started since."""

    pid: int

    def cpu_seconds(self) -> float:
        """Return the user and system time spent so far, all threads and children."""
        ticks = 0
        for pid in self._pids():
            # proc(5): utime and stime are the 14th and 15th fields. The second may
            # hold anything, so count from its closing parenthesis.
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
            fields = stat.rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_PER_SECOND

    def resident_bytes(self) -> int:
        """Return the memory that is resident now."""
        return PAGE_BYTES * sum(
            int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
            for pid in self._pids()
        )

    def _pids(self) -> list[int]:
        """Return the process and its descendants."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").iterdir():
                children = (task / "children").read_text(encoding="ascii")
                found.extend(int(child) for child in children.split())
        return found


def accepts(port: int) -> bool:
    """Tell whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    core: int | str,
    folder: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Run a program on one core until the block ends, whichever way it ends.

    Args:
        command: the program and its arguments.
        core: the only core it may use, counted from 0; or several, as taskset has it.
        folder: where its output is kept.
        ready: polled until it says that the program serves.
        env: variables beside the inherited ones.

    Raises:
        BenchmarkError: the program ended, or was not ready in time.
    """
    log = folder / "output.log"
    with log.open("wb") as output:
        # A session of its own: Ctrl-C is for the harness, which then ends everybody.
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, ready, log)
        yield Running(process.pid)
    finally:
        _end(process)


def _wait_until_ready(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path
) -> None:
    for _ in range(int(START_SECONDS / POLL_SECONDS)):
        try:
            process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if ready():
                return
        else:
            break
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    raise BenchmarkError(f"does not start: {said}")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(STOP_SECONDS)
    # Whatever it started and left behind is in its session's process group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
