"""Users: their passwords, their tokens and the endpoints that manage them.

Enforces no roles: who may do what is not this service's concern.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import sqlite3
import time
from typing import Any

import jwt
from aiohttp import web

from backend_stub import validation
from backend_stub.database import DATABASE, Row
from backend_stub.validation import Field, InvalidError

SECRET = web.AppKey("secret", str)
TOKEN_SECONDS = 3600
ISSUER = "lumina"
AUDIENCE = "lms"
NO_PASSWORD = ""

routes = web.RouteTableDef()

_ROLE = validation.choice("student", "teacher", "admin")
_PASSWORD = validation.text(128, trim=False)
_USER = {
    "email": Field(validation.email()),
    "name": Field(validation.text(150)),
    "role": Field(_ROLE, required=False, default="student"),
    "password": Field(_PASSWORD, required=False, default=NO_PASSWORD),
}
_REGISTER = {**_USER, "password": Field(_PASSWORD)}
_LOGIN = {"email": Field(validation.text(254)), "password": Field(_PASSWORD)}


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def hash_password(password: str) -> str:
    """Return what is stored instead of a password: salt and scrypt (RFC 7914)."""
    salt = secrets.token_bytes(16)
    return base64.b64encode(salt + _scrypt(password, salt)).decode()


def check_password(password: str, stored: str) -> bool:
    """Tell whether a password is the stored one; the work never depends on it.

    An account without a password (``stored`` is empty) lets nobody in.
    """
    raw = base64.b64decode(stored) if stored else bytes(80)
    right = hmac.compare_digest(_scrypt(password, raw[:16]), raw[16:])
    return right and bool(stored)


def public(user: Row) -> dict[str, Any]:
    """Return the members of a user that clients may see."""
    return {name: user[name] for name in ("id", "email", "name", "role")}


def issue_token(user: Row, secret: str) -> str:
    """Return a signed token (RFC 7519) good for ``TOKEN_SECONDS`` seconds."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user["id"]),
        "role": user["role"],
        "iat": now,
        "exp": now + TOKEN_SECONDS,
    }
    return jwt.encode(claims, secret, algorithm="HS256")


async def authenticate(app: web.Application, email: str, password: str) -> Row | None:
    """Return the user these credentials belong to, or None.

    An unknown e-mail costs the same password hash as a known one.
    """
    user = await app[DATABASE].row("SELECT * FROM users WHERE email = ?", email)
    stored = user["password"] if user else NO_PASSWORD
    right = await asyncio.to_thread(check_password, password, stored)
    return user if right else None


async def bearer(request: web.Request) -> Row | None:
    """Return the user whose bearer token (RFC 6750) came along, or None."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        claims = jwt.decode(
            token.strip(),
            request.app[SECRET],
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "sub"]},
        )
    except jwt.InvalidTokenError:
        return None
    query = "SELECT * FROM users WHERE CAST(id AS TEXT) = ?"
    return await request.app[DATABASE].row(query, claims["sub"])


def _taken() -> InvalidError:
    return InvalidError({"email": ["user with this email already exists."]})


async def _hash_in(values: dict[str, Any]) -> None:
    if values.get("password"):
        hashed = await asyncio.to_thread(hash_password, values["password"])
        values["password"] = hashed


async def _find(request: web.Request) -> Row:
    user = await request.app[DATABASE].row(
        "SELECT * FROM users WHERE id = ?",
        int(request.match_info["id"]),
    )
    if user is None:
        raise web.HTTPNotFound
    return user


async def _create(request: web.Request, schema: validation.Schema) -> web.Response:
    values = await validation.body(request, schema)
    await _hash_in(values)
    try:
        written = await request.app[DATABASE].write(
            "INSERT INTO users (email, name, role, password) VALUES (?, ?, ?, ?)",
            *(values[name] for name in ("email", "name", "role", "password")),
        )
    except sqlite3.IntegrityError:
        raise _taken() from None
    return web.json_response(public({**values, "id": written.row_id}), status=201)


async def _change(request: web.Request, *, partial: bool) -> web.Response:
    user = await _find(request)
    values = await validation.body(request, _USER, partial=partial)
    if not values.get("password"):
        values.pop("password", None)
    await _hash_in(values)
    user = {**user, **values}
    try:
        written = await request.app[DATABASE].write(
            "UPDATE users SET email = ?, name = ?, role = ?, password = ? WHERE id = ?",
            *(user[name] for name in ("email", "name", "role", "password", "id")),
        )
    except sqlite3.IntegrityError:
        raise _taken() from None
    if not written.rows:
        raise web.HTTPNotFound
    return web.json_response(public(user))


@routes.post("/api/auth/register")
async def register(request: web.Request) -> web.Response:
    """Create an account with a password."""
    return await _create(request, _REGISTER)


@routes.post("/api/auth/login")
async def login(request: web.Request) -> web.Response:
    """Exchange an e-mail address and a password for a token."""
    values = await validation.body(request, _LOGIN)
    user = await authenticate(request.app, values["email"], values["password"])
    if user is None:
        return web.json_response({"detail": "Invalid credentials."}, status=401)
    token = issue_token(user, request.app[SECRET])
    return web.json_response({"token": token, "user": public(user)})


@routes.get("/api/me")
async def me(request: web.Request) -> web.Response:
    """Return the token's own user."""
    user = await bearer(request)
    if user is None:
        return web.json_response(
            {"detail": "Authentication credentials were not provided or are invalid."},
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
    return web.json_response(public(user))


@routes.get("/api/users")
async def list_users(request: web.Request) -> web.Response:
    """List users by id, or those with the e-mail address asked for."""
    database = request.app[DATABASE]
    email = request.query.get("email")
    limit, offset = validation.page(request)
    count = await database.rows(
        "SELECT COUNT(*) AS total FROM users WHERE ?1 IS NULL OR email = ?1",
        email,
    )
    users = await database.rows(
        "SELECT * FROM users WHERE ?1 IS NULL OR email = ?1"
        " ORDER BY id LIMIT ?2 OFFSET ?3",
        email,
        limit,
        offset,
    )
    items = [public(user) for user in users]
    return web.json_response({"items": items, "total": count[0]["total"]})


@routes.post("/api/users")
async def create_user(request: web.Request) -> web.Response:
    """Create a user; without a password nobody can log in as them."""
    return await _create(request, _USER)


@routes.get("/api/users/{id:[0-9]{1,18}}")
async def get_user(request: web.Request) -> web.Response:
    """Return one user."""
    return web.json_response(public(await _find(request)))


@routes.put("/api/users/{id:[0-9]{1,18}}")
async def replace_user(request: web.Request) -> web.Response:
    """Replace a user; an absent password leaves the old one."""
    return await _change(request, partial=False)


@routes.patch("/api/users/{id:[0-9]{1,18}}")
async def update_user(request: web.Request) -> web.Response:
    """Change the members sent."""
    return await _change(request, partial=True)


@routes.delete("/api/users/{id:[0-9]{1,18}}")
async def delete_user(request: web.Request) -> web.Response:
    """Remove a user and their sessions."""
    user = await _find(request)
    await request.app[DATABASE].write("DELETE FROM users WHERE id = ?", user["id"])
    return web.Response(status=204)
