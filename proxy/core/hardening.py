"""The header fields of answers, hardened: compiled at load into ready bytes.

What a rule says of its answers costs one pass over the backend's field lines, which
drops what is replaced; what is written instead is one piece of bytes. A rule that says
nothing costs one comparison.

CORS follows the Fetch standard. A preflight is answered here and never reaches the
backend, for it carries no token and asks about the policy, which the backend does not
know.
"""

import re
from typing import Final

from proxy.core.message import RawHeaders, Request, Response
from proxy.core.responses import Cookies, Cors, Responses

VARY: Final = b"Vary: Origin\r\n"
_CORS: Final = frozenset(
    (
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"access-control-max-age",
    )
)
_CSP: Final = "Content-Security-Policy"
_FRAME: Final = "X-Frame-Options"
_OLDER: Final = {"'none'": "DENY", "'self'": "SAMEORIGIN"}
"""What X-Frame-Options can say of frame-ancestors."""


class CookieRules:
    """What cookies are given, compiled."""

    __slots__ = ("_http_only", "_readable", "_same_site", "_secure")

    def __init__(self, cookies: Cookies) -> None:
        self._secure = cookies.secure
        self._http_only = cookies.http_only
        same_site = cookies.same_site
        self._same_site = (
            b""
            if same_site is None
            else b"; SameSite=%b" % same_site.value.capitalize().encode()
        )
        self._readable = frozenset(name.encode() for name in cookies.readable)

    def hardened(self, value: bytes) -> bytes:
        """Return a Set-Cookie value with the attributes that it lacks."""
        pair, *attributes = value.split(b";")
        there = {one.partition(b"=")[0].strip().lower() for one in attributes}
        added = []
        # A cookie that goes along from everywhere has to be secure, or is refused.
        if self._secure and b"secure" not in there:
            added.append(b"; Secure")
        name = pair.partition(b"=")[0].strip()
        if self._http_only and b"httponly" not in there and name not in self._readable:
            added.append(b"; HttpOnly")
        if self._same_site and b"samesite" not in there:
            added.append(self._same_site)
        return value.rstrip(b"; \t") + b"".join(added) if added else value


class CorsRules:
    """Whose pages may read answers, compiled."""

    __slots__ = ("_answer", "_everybody", "_origins", "_preflight", "_wild")

    def __init__(self, cors: Cors) -> None:
        self._everybody = "*" in cors.origins
        self._origins = frozenset(one.encode() for one in cors.origins)
        wild = [one for one in cors.origins if "//*." in one]
        self._wild = (
            re.compile("|".join(map(_wildcard, wild)).encode()).fullmatch
            if wild
            else None
        )
        credentials = (
            b"Access-Control-Allow-Credentials: true\r\n" if cors.credentials else b""
        )
        exposed = ", ".join(cors.expose).encode()
        expose = b"Access-Control-Expose-Headers: %b\r\n" % exposed if exposed else b""
        self._answer = credentials + expose
        allowed = ", ".join(cors.headers).encode()
        self._preflight = b"%b%bAccess-Control-Max-Age: %d\r\n" % (
            credentials,
            b"Access-Control-Allow-Headers: %b\r\n" % allowed if allowed else b"",
            cors.max_age,
        )

    def allows(self, origin: bytes) -> bool:
        """Say whether pages of an origin may read answers."""
        return (
            self._everybody
            or origin in self._origins
            or (self._wild is not None and self._wild(origin) is not None)
        )

    def answer_lines(self, origin: bytes | None) -> bytes:
        """Return the field lines of an answer.

        Args:
            origin: the request's Origin; None when it has none.
        """
        if self._everybody:
            return b"Access-Control-Allow-Origin: *\r\n" + self._answer
        if origin is None or not self.allows(origin):
            return VARY
        return b"Access-Control-Allow-Origin: %b\r\n%b%b" % (
            origin,
            self._answer,
            VARY,
        )

    def preflight_lines(self, origin: bytes, method: bytes) -> list[bytes]:
        """Return the field lines of a preflight's answer, to an origin that may."""
        shown = b"*" if self._everybody else origin
        return [
            b"Access-Control-Allow-Origin: %b\r\n" % shown,
            b"Access-Control-Allow-Methods: %b\r\n" % method,
            self._preflight,
            b"Vary: Origin, Access-Control-Request-Method\r\n",
        ]


def _wildcard(origin: str) -> str:
    """Return the pattern of an origin with ``*.`` for one or more labels."""
    scheme, _, rest = origin.partition("//*.")
    return f"{re.escape(scheme)}//(?:[a-z0-9-]+\\.)+{re.escape(rest)}"


class Hardening:
    """What is done to the header fields of a rule's answers.

    Attributes:
        cors: whose pages may read them; None where that is the backend's to say.
    """

    __slots__ = ("_cookies", "_defaults", "_dropped", "_lines", "_own", "cors")

    def __init__(self, responses: Responses) -> None:
        written = dict(responses.set)
        dropped = {name.lower().encode() for name in (*written, *responses.remove)}
        lines = [_line(name, value) for name, value in written.items()]
        frames = responses.frame_ancestors
        if frames is not None:
            # Beside what the backend says: browsers enforce every policy there is.
            lines.append(_line(_CSP, f"frame-ancestors {' '.join(frames)}"))
            dropped.add(_FRAME.lower().encode())
            older = _OLDER.get(" ".join(frames))
            if older is not None:
                lines.append(_line(_FRAME, older))
        self._lines = b"".join(lines)
        self._defaults = [
            (name.lower().encode(), _line(name, value))
            for name, value in responses.default
        ]
        self._own = self._lines + b"".join(line for _, line in self._defaults)
        self.cors: CorsRules | None = None
        if responses.cors is not None:
            self.cors = CorsRules(responses.cors)
            dropped |= _CORS
        self._cookies: CookieRules | None = None
        if responses.cookies is not None:
            self._cookies = CookieRules(responses.cookies)
        self._dropped = frozenset(dropped)

    def applied(self, response: Response, request: Request) -> bytes:
        """Take out of an answer what is replaced; return the lines to add."""
        dropped, cookies = self._dropped, self._cookies
        kept: RawHeaders = []
        for field in response.headers:
            lower = field[0]
            if lower in dropped:
                continue
            if cookies is not None and lower == b"set-cookie":
                field = (lower, field[1], cookies.hardened(field[2]))
            kept.append(field)
        response.headers = kept
        lines = self._lines
        for lower, line in self._defaults:
            if not any(field[0] == lower for field in kept):
                lines += line
        if self.cors is not None:
            lines += self.cors.answer_lines(origin_of(request))
        return lines

    def own_lines(self, request: Request | None) -> bytes:
        """Return the lines of an answer that the proxy itself gives.

        Args:
            request: what is answered; None when it could not be read.
        """
        if self.cors is None:
            return self._own
        origin = None if request is None else origin_of(request)
        return self._own + self.cors.answer_lines(origin)


def hardened(
    hardening: Hardening | None, response: Response, request: Request
) -> bytes:
    """Return the lines that an answer gets beside its own; see ``Hardening``."""
    return b"" if hardening is None else hardening.applied(response, request)


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("ascii")


def _value(request: Request, name: bytes) -> bytes | None:
    """Return the value of a field that is there once; None otherwise."""
    found: bytes | None = None
    for lower, _, value in request.headers:
        if lower == name:
            if found is not None:
                return None
            found = value
    return found


def origin_of(request: Request) -> bytes | None:
    """Return the Origin of a request; None when it has none, or several."""
    return _value(request, b"origin")


def preflight_of(request: Request) -> tuple[bytes, bytes] | None:
    """Return (origin, method) that a preflight asks for; None if it is none."""
    if request.method != "OPTIONS":
        return None
    origin = origin_of(request)
    method = _value(request, b"access-control-request-method")
    if origin is None or method is None or not method.isalpha():
        return None
    return origin, method
