"""The metrics port: what operators and Prometheus ask, on aiohttp, not the hot path."""

import dataclasses
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

log = logging.getLogger("lumina")

Command = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, object]]]
"""A JSON object to another; raises ValueError with a sentence about the first."""

OPEN = frozenset(("/health", "/ready"))
"""What is answered without the metrics token: probes carry none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdminPorts:
    """What the port asks of the process.

    Attributes:
        metrics: an Accept value to (body, content type).
        ready: whether requests are served as they should be, and a word per check.
        policy: what is in force, and the last reload.
        limits: (who, rule id or path, role or None, what else limits count by) to
            rows. Raises KeyError with a sentence when there is no such rule, or no
            rate for the role.
        refusal: a request id to what is known of its refusal; None for nothing.
        learned: what was seen pass; None where nobody looks.
        queries: what GET answers, by path.
        commands: what POST does, by path.
    """

    metrics: Callable[[str], Awaitable[tuple[bytes, str]]]
    ready: Callable[[], Awaitable[tuple[bool, Mapping[str, str]]]]
    policy: Callable[[], Mapping[str, object]]
    limits: Callable[
        [str, str, str | None, Mapping[str, str]], Awaitable[Mapping[str, object]]
    ]
    refusal: Callable[[str], Awaitable[Mapping[str, object] | None]]
    learned: Callable[[], Awaitable[Mapping[str, object] | None]]
    queries: Mapping[str, Callable[[], Awaitable[Mapping[str, object]]]] = (
        dataclasses.field(default_factory=dict)
    )
    commands: Mapping[str, Command] = dataclasses.field(default_factory=dict)


class Admin:
    """The metrics port.

    Args:
        ports: what it asks of the process.
        token: what it asks of its clients; None asks for nothing.
    """

    def __init__(self, ports: AdminPorts, token: str | None) -> None:
        self._ports = ports
        self._token = None if token is None else token.encode()
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/health", self._health),
                web.get("/ready", self._ready),
                web.get("/policy", self._policy),
                web.get("/limits/{who:[^/]+}", self._limits),
                web.get("/refusals/{id:[^/]+}", self._refusal),
                web.get("/learned", self._learned),
                *(web.get(path, self._query) for path in ports.queries),
                *(web.post(path, self._command) for path in ports.commands),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before ``start``."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 is any free one.

        Raises:
            OSError: the address is not to be had.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Ask for the token; make every error a problem document (RFC 9457)."""
        response: web.StreamResponse
        if self._is_allowed(request):
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = _problem(error.status, error.reason)
                if "Allow" in error.headers:
                    response.headers["Allow"] = error.headers["Allow"]
            except Exception:
                # The route, not the path: that may name a person.
                log.exception("the metrics port failed: %s", _route(request))
                response = _problem(500, "The proxy failed. It is logged")
        else:
            response = _problem(401, "The metrics token is missing or wrong")
            response.headers["WWW-Authenticate"] = 'Bearer realm="lumina-proxy metrics"'
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _is_allowed(self, request: web.Request) -> bool:
        if self._token is None or request.path in OPEN:
            return True
        scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            # How aiohttp keeps bytes that are no UTF-8, the other way round.
            sent.strip().encode("utf-8", "surrogateescape"),
            self._token,
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        body, content_type = await self._ports.metrics(accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, _: web.Request) -> web.Response:
        ready, checks = await self._ports.ready()
        return web.json_response(
            {"status": "ready" if ready else "not ready", "checks": dict(checks)},
            status=200 if ready else 503,
        )

    async def _policy(self, _: web.Request) -> web.Response:
        return web.json_response(dict(self._ports.policy()))

    async def _query(self, request: web.Request) -> web.Response:
        return web.json_response(dict(await self._ports.queries[_route(request)]()))

    async def _command(self, request: web.Request) -> web.Response:
        # A page in somebody's browser cannot send this type here without asking first.
        if request.content_type != "application/json":
            return _problem(415, "Send Content-Type: application/json")
        try:
            told = await request.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            return _problem(400, "Send a JSON object")
        try:
            done = await self._ports.commands[_route(request)](told)
        except ValueError as error:
            return _problem(400, str(error))
        return web.json_response(dict(done))

    async def _limits(self, request: web.Request) -> web.Response:
        rule = request.query.get("rule")
        if not rule:
            return _problem(400, "Say which rule: ?rule=ID, its id or its path")
        who, role = request.match_info["who"], request.query.get("role")
        given = {
            name: value
            for name, value in request.query.items()
            if name not in ("rule", "role")
        }
        try:
            found = await self._ports.limits(who, rule, role or None, given)
        except KeyError as error:
            return _problem(404, str(error.args[0]))
        return web.json_response(dict(found))

    async def _refusal(self, request: web.Request) -> web.Response:
        found = await self._ports.refusal(request.match_info["id"])
        if found is None:
            return _problem(404, "No refusal of this id is remembered")
        return web.json_response(dict(found))

    async def _learned(self, _: web.Request) -> web.Response:
        found = await self._ports.learned()
        if found is None:
            return _problem(404, "This proxy does not learn; start it with LEARN=on")
        return web.json_response(dict(found))


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def _problem(status: int, title: str) -> web.Response:
    document: dict[str, Any] = {"title": title, "status": status}
    return web.Response(
        status=status,
        body=json.dumps(document).encode(),
        content_type="application/problem+json",
    )
