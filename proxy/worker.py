"""One of several processes that serve: what its supervisor asks, and its life.

The supervisor reads policy and secrets, once for all; a worker compiles what it is
given, so that all have the same in force. It ends when it is told to, and when its
supervisor is gone: nobody could tell it anything any more.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from proxy import __version__
from proxy.core.authn import Trusted
from proxy.core.errors import PolicyError
from proxy.core.policy_parser import parse_policy
from proxy.data_keys import DataKeys
from proxy.edge import log_format
from proxy.edge.control import Answerer, Declined
from proxy.edge.metrics import Metrics
from proxy.edge.policy_source import collector_resting
from proxy.ports import Snapshot
from proxy.serving import Serving
from proxy.settings import Settings
from proxy.snapshots import snapshot_of
from proxy.starting import StartError

log = logging.getLogger("lumina")

Question = Callable[[Any], AsyncGenerator[object, None]]


class Worker:
    """A process that serves under a supervisor.

    Args:
        control: the socket to the supervisor.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._trusted = Trusted()
        self._metrics = Metrics(now=time.time, version=__version__)
        self._serving: Serving | None = None
        self._prepared: Snapshot | None = None
        self._keys: DataKeys | None = None
        self._told = asyncio.Event()
        self._hurried = asyncio.Event()
        self._questions: dict[str, Question] = {
            "start": self._start,
            "prepare": self._prepare,
            "commit": self._commit,
            "refuse": self._refuse,
            "numbers": self._numbers,
            "ready": self._ready,
            "limits": self._limits,
            "order": self._order,
            "question": self._question,
            "refusal": self._refusal,
            "learned": self._learned,
            "drain": self._drain,
            "hurry": self._hurry,
        }

    async def run(self) -> None:
        """Serve until the supervisor says so, or is gone, then drain."""
        loop = asyncio.get_running_loop()
        # However often it comes: a service manager signals everybody, as does Ctrl-C.
        loop.add_signal_handler(signal.SIGTERM, self._told.set)
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        reader, writer = await asyncio.open_unix_connection(sock=self._control)
        answerer = Answerer(reader, writer, self._answer)
        supervised = loop.create_task(answerer.listen())
        supervised.add_done_callback(lambda _: self._told.set())
        try:
            await self._told.wait()
            if self._serving is not None:
                await self._serving.leave(self._hurried)
        finally:
            supervised.cancel()
            await asyncio.gather(supervised, return_exceptions=True)
            if self._serving is not None:
                await self._serving.stop()

    async def _answer(self, what: str, argument: Any) -> AsyncGenerator[object, None]:
        async with contextlib.aclosing(self._questions[what](argument)) as answer:
            async for part in answer:
                yield part

    # -- what the supervisor asks

    async def _start(self, given: Mapping[str, Any]) -> AsyncGenerator[object, None]:
        """Build, and listen on sockets that were inherited."""
        variables = given["variables"]
        settings = Settings.read(variables)
        log_format.configure(settings.log_format, settings.log_level)
        try:
            keys = self._keys = DataKeys(variables, self._metrics.encryptions)
            await keys.open()
            snapshot = await asyncio.to_thread(
                _compiled, given["files"], variables, keys, self._trusted
            )
            serving = Serving(settings, snapshot, self._metrics, self._trusted)
            serving.keep_keys(keys)
            await serving.start()
        except (PolicyError, StartError) as error:
            raise Declined(str(error)) from None
        self._serving = serving
        await serving.listen(
            {
                name: [socket.socket(fileno=one) for one in descriptors]
                for name, descriptors in given["sockets"].items()
            }
        )
        self._metrics.people.hand_over()
        yield snapshot.policy.digest

    async def _prepare(self, given: Mapping[str, Any]) -> AsyncGenerator[object, None]:
        """Compile what may come into force; serving goes on."""
        try:
            self._prepared = await asyncio.to_thread(
                _compiled,
                given["files"],
                given["variables"],
                self._keys,
                self._trusted,
            )
        except (PolicyError, StartError) as error:
            raise Declined(str(error)) from None
        yield self._prepared.policy.digest

    async def _commit(self, _: object) -> AsyncGenerator[object, None]:
        """Put in force what was prepared."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or self._serving is None:
            raise Declined("nothing was prepared")
        try:
            self._serving.put_in_force(prepared)
        except StartError as error:
            raise Declined(str(error)) from None
        yield prepared.policy.digest

    async def _refuse(self, _: object) -> AsyncGenerator[object, None]:
        """Forget what was prepared."""
        self._prepared = None
        yield True

    async def _numbers(self, _: object) -> AsyncGenerator[object, None]:
        """Yield the numbers in parts, then who was there."""
        for part in self._metrics.parts():
            yield part
            await asyncio.sleep(0)
        yield self._metrics.people.hand_over()

    async def _ready(self, _: object) -> AsyncGenerator[object, None]:
        yield (False, {}) if self._serving is None else self._serving.ready()

    async def _limits(self, asked: list[Any]) -> AsyncGenerator[object, None]:
        if self._serving is None:
            raise Declined("This process does not serve yet")
        who, rule, role, given = asked
        try:
            yield await self._serving.limit_orders.status(who, rule, role, given)
        except KeyError as error:
            raise Declined(str(error.args[0])) from None

    async def _order(self, told: list[Any]) -> AsyncGenerator[object, None]:
        if self._serving is None:
            raise Declined("This process does not serve yet")
        path, order = told
        try:
            yield await self._serving.orders[path](order)
        except ValueError as error:
            raise Declined(str(error)) from None

    async def _question(self, path: str) -> AsyncGenerator[object, None]:
        if self._serving is None:
            raise Declined("This process does not serve yet")
        yield await self._serving.questions[path]()

    async def _refusal(self, request_id: str) -> AsyncGenerator[object, None]:
        yield None if self._serving is None else await self._serving.refusal(request_id)

    async def _learned(self, _: object) -> AsyncGenerator[object, None]:
        yield None if self._serving is None else await self._serving.learned()

    async def _drain(self, _: object) -> AsyncGenerator[object, None]:
        self._told.set()
        yield True

    async def _hurry(self, _: object) -> AsyncGenerator[object, None]:
        self._told.set()
        self._hurried.set()
        yield True


def _compiled(
    files: list[tuple[str, str]],
    variables: Mapping[str, str],
    keys: DataKeys | None,
    trusted: Trusted,
) -> Snapshot:
    """Compile what the supervisor read; its warnings are the supervisor's to tell."""
    with collector_resting():
        policy, _ = parse_policy([(name, text) for name, text in files], variables)
    return snapshot_of(policy, variables, keys, trusted)
