"""A headless Chromium that a test tells what to do, over the DevTools protocol."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--disable-extensions", "--disable-dev-shm-usage"),
    "--remote-debugging-port=0",
)
START_SECONDS = 60.0
PAGE_SECONDS = 30.0


class Chromium:
    """A browser.

    Args:
        socket: to the browser.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def value_on(self, url: str, expression: str) -> Any:
        """Open a page, and return what a JavaScript promise on it comes to.

        Raises:
            AssertionError: the script threw something.
        """
        opened = await self._tell("Target.createTarget", url="about:blank")
        target = opened["targetId"]
        attached = await self._tell(
            "Target.attachToTarget", targetId=target, flatten=True
        )
        session = attached["sessionId"]
        await self._tell("Page.enable", session)
        await self._tell("Page.navigate", session, url=url)
        await self._until("Page.loadEventFired")
        answer = await self._tell(
            "Runtime.evaluate",
            session,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        await self._tell("Target.closeTarget", targetId=target)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def _tell(self, method: str, session: str = "", **params: object) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        await self._socket.send_json(
            message | ({"sessionId": session} if session else {})
        )
        async with asyncio.timeout(PAGE_SECONDS):
            while True:
                said = await self._socket.receive_json()
                if said.get("id") == number:
                    assert "error" not in said, said
                    return said["result"]

    async def _until(self, event: str) -> None:
        async with asyncio.timeout(PAGE_SECONDS):
            while (await self._socket.receive_json()).get("method") != event:
                pass


@contextlib.asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Chromium]:
    """Run a browser for the length of a block; ``profile`` is an empty folder."""
    process = await asyncio.create_subprocess_exec(
        "chromium",
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    told = profile / "DevToolsActivePort"
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (told.exists() and told.read_text().count("\n")):
                assert process.returncode is None, "Chromium ended at its start"
                await asyncio.sleep(0.05)
        port, path = told.read_text().split("\n")[:2]
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{port}{path}", max_msg_size=0) as ws,
        ):
            yield Chromium(ws)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
