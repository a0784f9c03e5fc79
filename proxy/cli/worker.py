"""``lumina-proxy worker``: what a supervisor starts. Nobody else can use it."""

import asyncio
import socket

import click
import uvloop

from proxy.worker import Worker


@click.command(hidden=True)
@click.argument("control", type=int)
def worker(control: int) -> None:
    """Serve as one of several processes.

    CONTROL is an inherited socket to the supervisor, `lumina-proxy serve`.
    """

    async def run() -> None:
        await Worker(socket.socket(fileno=control)).run()

    try:
        uvloop.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(0) from None
