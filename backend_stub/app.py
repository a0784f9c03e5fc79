"""Puts the service together: routes, error answers, opening and closing.

Reads no environment; the caller says where the data is and what signs tokens.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from backend_stub import accounts, content, pages, streams
from backend_stub.database import DATABASE, Database
from backend_stub.validation import InvalidError

MAX_BODY_BYTES = 16 * 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what a handler refuses as Django REST framework would."""
    try:
        return await handler(request)
    except InvalidError as error:
        return web.json_response(error.answer, status=400)
    except web.HTTPNotFound:
        return web.json_response({"detail": "Not found."}, status=404)
    except web.HTTPMethodNotAllowed as error:
        detail = f'Method "{error.method}" not allowed.'
        headers = {"Allow": error.headers["Allow"]}
        return web.json_response({"detail": detail}, status=405, headers=headers)
    except web.HTTPRequestEntityTooLarge:
        return web.json_response({"detail": "Request body too large."}, status=413)


async def health(_request: web.Request) -> web.Response:
    """Say that the service is up."""
    return web.json_response({"status": "ok"})


async def _storage(app: web.Application) -> AsyncIterator[None]:
    await asyncio.to_thread(app[streams.FOLDER].mkdir, parents=True, exist_ok=True)
    await app[DATABASE].open()
    yield
    await app[DATABASE].close()


def create_app(database: Path, secret: str) -> web.Application:
    """Return the service.

    Args:
        database: SQLite's file; uploads go to the folder ``files`` beside it.
        secret: signs tokens with HMAC-SHA256; at least 32 bytes (RFC 7518, 3.2).
    """
    app = web.Application(middlewares=[errors], client_max_size=MAX_BODY_BYTES)
    app[DATABASE] = Database(database)
    app[accounts.SECRET] = secret
    app[streams.FOLDER] = database.parent / "files"
    app[streams.CLOSING] = asyncio.Event()
    app[streams.ROOMS] = {}
    for module in (accounts, content, streams, pages):
        app.add_routes(module.routes)
    app.router.add_get("/health", health)
    app.cleanup_ctx.append(_storage)
    app.on_shutdown.append(streams.close_streams)
    return app
