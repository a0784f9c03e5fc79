"""Users, passwords, tokens and the two pages."""

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

SECRET = "a secret of more than thirty-two bytes"
Client = TestClient[web.Request, web.Application]

TESS = {
    "email": "Tess@Example.org",
    "name": "Tess",
    "password": "correct horse",
    "role": "teacher",
}
LOGIN = {"email": "tess@example.org", "password": "correct horse"}


async def register(lms: Client) -> None:
    """Create Tess."""
    async with lms.post("/api/auth/register", json=TESS) as answer:
        assert answer.status == 201


async def test_register_shows_no_password(lms: Client) -> None:
    """A new account is answered with 201, its id and never its password."""
    answer = await lms.post("/api/auth/register", json=TESS)
    assert answer.status == 201
    user = {"id": 1, "email": "Tess@Example.org", "name": "Tess", "role": "teacher"}
    assert await answer.json() == user


async def test_register_twice_is_refused(lms: Client) -> None:
    """An e-mail address is unique whatever its case."""
    await register(lms)
    again = {**TESS, "email": "tess@example.ORG"}
    answer = await lms.post("/api/auth/register", json=again)
    assert answer.status == 400
    assert await answer.json() == {"email": ["user with this email already exists."]}


async def test_login_issues_a_token_for_an_hour(lms: Client) -> None:
    """The token names issuer, audience, subject and role and lasts 3600 s."""
    await register(lms)
    answer = await lms.post("/api/auth/login", json=LOGIN)
    assert answer.status == 200
    body = await answer.json()
    claims = jwt.decode(
        body["token"],
        SECRET,
        algorithms=["HS256"],
        issuer="lumina",
        audience="lms",
    )
    assert (claims["sub"], claims["role"]) == ("1", "teacher")
    assert claims["exp"] - claims["iat"] == 3600
    headers = {"Authorization": f"Bearer {body['token']}"}
    own = await lms.get("/api/me", headers=headers)
    assert await own.json() == body["user"]


@pytest.mark.parametrize(
    "credentials",
    [{**LOGIN, "password": "wrong"}, {**LOGIN, "email": "nobody@example.org"}],
)
async def test_bad_login_says_nothing_more(
    lms: Client,
    credentials: dict[str, str],
) -> None:
    """A wrong password and an unknown e-mail address get the same 401."""
    await register(lms)
    answer = await lms.post("/api/auth/login", json=credentials)
    assert answer.status == 401
    assert await answer.json() == {"detail": "Invalid credentials."}


async def test_an_account_without_password_lets_nobody_in(lms: Client) -> None:
    """A user created without a password cannot log in with any."""
    await lms.post("/api/users", json={"email": "a@example.org", "name": "Ada"})
    credentials = {"email": "a@example.org", "password": "x"}
    answer = await lms.post("/api/auth/login", json=credentials)
    assert answer.status == 401


@pytest.mark.parametrize("header", ["", "Bearer nonsense", "Basic eDp5"])
async def test_me_needs_a_good_token(lms: Client, header: str) -> None:
    """Without a token that verifies there is no 'me'."""
    answer = await lms.get("/api/me", headers={"Authorization": header})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_deleted_user_has_no_me(lms: Client) -> None:
    """A token outlives its user but opens nothing."""
    await register(lms)
    answer = await lms.post("/api/auth/login", json=LOGIN)
    token = (await answer.json())["token"]
    assert (await lms.delete("/api/users/1")).status == 204
    own = await lms.get("/api/me", headers={"Authorization": f"Bearer {token}"})
    assert own.status == 401


async def test_users_are_listed_in_pages(lms: Client) -> None:
    """Limit and offset cut the list; the total is that of the whole."""
    for number in range(3):
        user = {"email": f"u{number}@example.org", "name": f"U{number}"}
        await lms.post("/api/users", json=user)
    answer = await lms.get("/api/users?limit=1&offset=1")
    body = await answer.json()
    assert [item["name"] for item in body["items"]] == ["U1"]
    assert body["total"] == 3
    everyone = await (await lms.get("/api/users?limit=none&offset=-1")).json()
    assert len(everyone["items"]) == 3
    too_many = await (await lms.get("/api/users?limit=100000")).json()
    assert len(too_many["items"]) == 3


async def test_users_are_found_by_email(lms: Client) -> None:
    """The look-up ignores case and finds nobody else."""
    await register(lms)
    await lms.post("/api/users", json={"email": "a@example.org", "name": "Ada"})
    body = await (await lms.get("/api/users?email=TESS@example.org")).json()
    assert [item["name"] for item in body["items"]] == ["Tess"]
    assert body["total"] == 1
    nobody = await (await lms.get("/api/users?email=x@example.org")).json()
    assert nobody == {"items": [], "total": 0}


async def test_patch_changes_what_is_sent(lms: Client) -> None:
    """PATCH leaves absent members alone, the password too."""
    await register(lms)
    answer = await lms.patch("/api/users/1", json={"name": "Theresa"})
    assert (await answer.json())["name"] == "Theresa"
    stored = await (await lms.get("/api/users/1")).json()
    assert stored["role"] == "teacher"
    assert (await lms.post("/api/auth/login", json=LOGIN)).status == 200


async def test_put_replaces_and_may_set_a_password(lms: Client) -> None:
    """PUT needs the required members, defaults the others, keeps or sets a password."""
    await register(lms)
    assert (await lms.put("/api/users/1", json={"name": "T"})).status == 400
    new = {"email": "tess@example.org", "name": "T", "password": "battery staple"}
    answer = await lms.put("/api/users/1", json=new)
    assert (await answer.json())["role"] == "student"
    assert (await lms.post("/api/auth/login", json=LOGIN)).status == 401
    right = {**LOGIN, "password": "battery staple"}
    assert (await lms.post("/api/auth/login", json=right)).status == 200


async def test_put_cannot_take_anothers_email(lms: Client) -> None:
    """Uniqueness holds for changes as for creation."""
    await register(lms)
    await lms.post("/api/users", json={"email": "a@example.org", "name": "Ada"})
    answer = await lms.patch("/api/users/2", json={"email": "TESS@example.org"})
    assert answer.status == 400
    assert "email" in await answer.json()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_an_unknown_user_is_not_found(lms: Client, method: str) -> None:
    """Every method on a missing user answers 404 in the service's words."""
    answer = await lms.request(method, "/api/users/9", json=TESS)
    assert answer.status == 404
    assert await answer.json() == {"detail": "Not found."}


async def test_the_form_opens_a_session(lms: Client) -> None:
    """A good form post redirects with a cookie that the front page knows."""
    await lms.post("/api/users", json={**TESS, "name": "<Tess>"})
    assert "<form" in await (await lms.get("/login")).text()
    assert "Log in" in await (await lms.get("/")).text()
    answer = await lms.post("/login", data=LOGIN, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert answer.cookies["sessionid"].value
    page = await lms.get("/")
    assert page.content_type == "text/html"
    assert "Welcome, &lt;Tess&gt;." in await page.text()


@pytest.mark.parametrize(
    ("fields", "status"),
    [({**LOGIN, "password": "x"}, 401), ({"email": "x"}, 400)],
)
async def test_the_form_refuses(
    lms: Client,
    fields: dict[str, str],
    status: int,
) -> None:
    """A bad form post shows the form again and sets no cookie."""
    await register(lms)
    answer = await lms.post("/login", data=fields, allow_redirects=False)
    assert answer.status == status
    assert "Set-Cookie" not in answer.headers
    assert "<form" in await answer.text()
