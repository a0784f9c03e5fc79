"""``python -m backend_stub``: serve until SIGINT or SIGTERM.

The only place that reads the service's environment.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

from aiohttp import web

from backend_stub.app import create_app

MIN_SECRET_BYTES = 32
SHUTDOWN_SECONDS = 2.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backend_stub")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 is any free port")
    parser.add_argument("--database", type=Path, default=Path("lms.sqlite3"))
    return parser.parse_args()


async def serve(host: str, port: int, database: Path, secret: str) -> None:
    """Serve until the first SIGINT or SIGTERM, then close what is open.

    Raises:
        OSError: the address cannot be listened on.
        sqlite3.Error: the database cannot be opened.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        create_app(database, secret),
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        sys.stdout.write(f"listening on http://{host}:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


def main() -> int:
    """Return the exit code: 0 stopped, 1 could not serve, 2 no usable secret."""
    arguments = _arguments()
    secret = os.environ.get("JWT_SECRET", "")
    file = os.environ.get("JWT_SECRET_FILE")
    if not secret and file:
        secret = Path(file).read_text(encoding="utf-8").strip()
    if len(secret.encode()) < MIN_SECRET_BYTES:
        sys.stderr.write(f"JWT_SECRET must have at least {MIN_SECRET_BYTES} bytes\n")
        return 2
    where = (arguments.host, arguments.port, arguments.database)
    try:
        asyncio.run(serve(*where, secret))
    except (OSError, sqlite3.Error) as error:
        sys.stderr.write(f"backend_stub cannot serve: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
