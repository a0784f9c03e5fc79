"""The pages a browser sees: the front page and the log-in form.

Knows sessions, which only pages use; the API has tokens.
"""

import html
import secrets

from aiohttp import web

from backend_stub.accounts import authenticate
from backend_stub.database import DATABASE

COOKIE = "sessionid"
FORM = """<form method="post" action="/login">
<label>E-mail <input name="email" type="email" required></label>
<label>Password <input name="password" type="password" required></label>
<button>Log in</button>
</form>"""

routes = web.RouteTableDef()


def _page(title: str, content: str, status: int = 200) -> web.Response:
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n{content}\n"
        "</body>\n</html>\n"
    )
    return web.Response(text=text, content_type="text/html", status=status)


@routes.get("/")
async def home(request: web.Request) -> web.Response:
    """Greet whoever is logged in, and offer the log-in page to others."""
    user = await request.app[DATABASE].row(
        "SELECT users.* FROM users JOIN sessions ON user_id = id WHERE token = ?",
        request.cookies.get(COOKIE, ""),
    )
    if user is None:
        return _page("Lumina", '<p><a href="/login">Log in</a></p>')
    return _page("Lumina", f"<p>Welcome, {html.escape(user['name'])}.</p>")


@routes.get("/login")
async def form(_request: web.Request) -> web.Response:
    """Show the log-in form."""
    return _page("Log in", FORM)


@routes.post("/login")
async def log_in(request: web.Request) -> web.Response:
    """Open a session and go to the front page, or show the form again."""
    fields = await request.post()
    email, password = fields.get("email"), fields.get("password")
    if not isinstance(email, str) or not isinstance(password, str):
        return _page("Log in", f"<p>Both fields are required.</p>\n{FORM}", 400)
    user = await authenticate(request.app, email.strip(), password)
    if user is None:
        problem = "<p>That e-mail address and password do not match.</p>"
        return _page("Log in", f"{problem}\n{FORM}", 401)
    token = secrets.token_urlsafe(32)
    statement = "INSERT INTO sessions (token, user_id) VALUES (?, ?)"
    await request.app[DATABASE].write(statement, token, user["id"])
    response = web.Response(status=302, headers={"Location": "/"})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Lax", path="/")
    return response
