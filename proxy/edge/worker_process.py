"""A process of ``lumina-proxy worker``: started, asked, waited for, killed."""

import asyncio
import socket
import sys
from collections.abc import Sequence
from typing import Any

from proxy.edge.control import Lost, Questioner
from proxy.edge.numbers import Numbers
from proxy.edge.people import Seen


class WorkerProcess:
    """A worker, as its supervisor sees it.

    Attributes:
        pid: its process id.
        heard: loop time of its last answer.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, questioner: Questioner
    ) -> None:
        self._process = process
        self._questioner = questioner
        self._loop = asyncio.get_running_loop()
        self._listening = self._loop.create_task(questioner.listen())
        self.pid = process.pid
        self.heard = self._loop.time()

    @classmethod
    async def spawn(cls, sockets: Sequence[socket.socket]) -> "WorkerProcess":
        """Start a process that inherits ``sockets``, and serves once it is asked to.

        Raises:
            OSError: the machine has no room for it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = [one.fileno() for one in (theirs, *sockets)]
            safe_path = ("-P",) if sys.flags.safe_path else ()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *safe_path, "-m", "proxy", "worker"),
                str(theirs.fileno()),
                pass_fds=inherited,
                # Ctrl-C in a terminal is for the supervisor alone.
                process_group=0,
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return cls(process, Questioner(reader, writer))

    async def ask(
        self, what: str, argument: object = None, *, seconds: float = 5.0
    ) -> Any:
        """Return the answer, which has one part.

        Raises:
            Declined: the worker said no.
            Lost: it is gone, failed, or did not answer for ``seconds``.
        """
        [answer] = await self._ask(what, argument, seconds)
        return answer

    async def numbers(self, seconds: float) -> tuple[Numbers, list[Seen]]:
        """Return what it shows, and who was there since it was last asked.

        Raises:
            Lost: it is gone, or did not answer for ``seconds``.
        """
        *parts, seen = await self._ask("numbers", None, seconds)
        numbers = Numbers()
        for part in parts:
            numbers.add(*part)
        return numbers, seen

    async def _ask(self, what: str, argument: object, seconds: float) -> list[Any]:
        parts = await self._questioner.ask(what, argument, seconds=seconds)
        self.heard = self._loop.time()
        return parts

    def kill(self) -> None:
        """End it at once, unless it has ended."""
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> str:
        """Wait for its end; return in words how that was."""
        status = await self._process.wait()
        await asyncio.gather(self._listening, return_exceptions=True)
        if status < 0:
            return f"was ended by signal {-status}"
        return f"ended with exit status {status}"


async def ask_all(
    workers: Sequence[WorkerProcess], what: str, argument: object, seconds: float
) -> list[Any]:
    """Return each worker's answer, or the exception (Declined or Lost) it ended in."""
    questions = (one.ask(what, argument, seconds=seconds) for one in workers)
    return await asyncio.gather(*questions, return_exceptions=True)


__all__ = ["Lost", "WorkerProcess", "ask_all"]
