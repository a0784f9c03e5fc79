"""Questions and answers between a supervisor and a worker, over a pair of sockets.

A frame is a length in four bytes, big endian, and JSON: ``[number, what, argument]`` is
a question, ``[number, kind, value]`` a part of an answer or its end. Questions are
answered as they come, the quick before the slow. Each side believes the other, which
is another process of the same program.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

log = logging.getLogger("lumina")

_LENGTH: Final = 4
_PART, _END, _DECLINED, _FAILED = "part", "end", "declined", "failed"

Answers = Callable[[str, Any], AsyncGenerator[object, None]]
"""From what is asked, and with which argument, to the parts of the answer.

Raises Declined.
"""


class Declined(Exception):
    """The other side says no; the message is for people."""


class Lost(Exception):
    """The other side is gone, failed, or did not answer in time."""


async def _read(reader: asyncio.StreamReader) -> tuple[int, str, Any]:
    length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
    number, word, value = json.loads(await reader.readexactly(length))
    return number, word, value


def _write(writer: asyncio.StreamWriter, *frame: object) -> None:
    text = json.dumps(frame).encode()
    writer.write(len(text).to_bytes(_LENGTH, "big") + text)


class Questioner:
    """The side that asks.

    Args:
        reader: from the other side.
        writer: to it.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._asked = 0
        self._parts: dict[int, list[Any]] = {}
        self._ends: dict[int, asyncio.Future[list[Any]]] = {}

    async def ask(
        self, what: str, argument: object = None, *, seconds: float
    ) -> list[Any]:
        """Return the parts of the answer.

        Raises:
            Declined: the other side said no.
            Lost: there was no answer for ``seconds``, or nobody is there.
        """
        if self._writer.is_closing():
            raise Lost("nobody is there")
        self._asked += 1
        number = self._asked
        end = self._ends[number] = asyncio.get_running_loop().create_future()
        self._parts[number] = []
        try:
            _write(self._writer, number, what, argument)
            async with asyncio.timeout(seconds):
                parts: list[Any] = await end
        except TimeoutError:
            raise Lost(f"no answer to {what!r} for {seconds} s") from None
        else:
            return parts
        finally:
            del self._parts[number], self._ends[number]

    async def listen(self) -> None:
        """Take answers until the other side is gone; nobody is answered after that."""
        try:
            while True:
                self._take(*await _read(self._reader))
        except (asyncio.IncompleteReadError, OSError):
            pass  # which is how it says that it is gone
        finally:
            self._writer.close()
            for end in list(self._ends.values()):
                if not end.done():
                    end.set_exception(Lost("it is gone"))

    def _take(self, number: int, kind: str, value: Any) -> None:
        end = self._ends.get(number)
        if end is None or end.done():
            return  # an answer that nobody waits for any more
        if kind == _PART:
            self._parts[number].append(value)
        elif kind == _END:
            end.set_result(self._parts[number])
        elif kind == _DECLINED:
            end.set_exception(Declined(value))
        else:
            end.set_exception(Lost("it failed; its log says why"))


class Answerer:
    """The side that answers.

    Args:
        reader: from the other side.
        writer: to it.
        answers: makes the answers.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: Answers,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answers = answers
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Answer until the other side is gone."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                task = loop.create_task(self._answer(*await _read(self._reader)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (asyncio.IncompleteReadError, OSError):
            pass  # which is how it says that it is gone
        finally:
            for task in self._tasks:
                task.cancel()
            self._writer.close()

    async def _answer(self, number: int, what: str, argument: Any) -> None:
        try:
            async for part in self._answers(what, argument):
                _write(self._writer, number, _PART, part)
                await self._writer.drain()
        except Declined as declined:
            _write(self._writer, number, _DECLINED, str(declined))
        except OSError:
            pass  # it is gone
        except Exception:
            log.exception("the question %r failed", what)
            _write(self._writer, number, _FAILED, None)
        else:
            _write(self._writer, number, _END, None)
