"""What a policy says about the header fields of answers: frozen values.

``policy_responses`` reads them, ``hardening`` makes of them what a request costs next
to nothing.
"""

import dataclasses
import enum


class SameSite(enum.Enum):
    """From which sites a browser sends a cookie along; the words of the policy."""

    STRICT = "strict"
    LAX = "lax"
    NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    """What cookies of the backend are given that do not have it.

    Attributes:
        secure: whether they are sent over TLS only.
        http_only: whether scripts cannot read them.
        same_site: from where they are sent; None leaves it to the browser.
        readable: names of those that scripts have to read, such as a CSRF token's.
    """

    secure: bool = True
    http_only: bool = True
    same_site: SameSite | None = SameSite.LAX
    readable: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Whose pages may read answers (the CORS protocol of the Fetch standard).

    Attributes:
        origins: such as https://app.example or https://*.app.example; "*" alone is
            everybody, and never with credentials.
        headers: what pages may send beside what every page may.
        expose: what scripts may read of the answer.
        credentials: whether a browser sends cookies along.
        max_age: seconds for which a browser remembers what it may.
    """

    origins: tuple[str, ...]
    headers: tuple[str, ...] = ("Authorization", "Content-Type")
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age: float = 600.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Responses:
    """What is done to the header fields of answers.

    Attributes:
        set: (name, value) of fields that are written, whatever the backend says.
        default: (name, value) of fields that are written if the backend has none.
        remove: names of fields that are dropped.
        frame_ancestors: who may show a page in a frame, as a Content-Security-Policy
            has it; None leaves it to the backend.
        cookies: what cookies are given; None leaves them as they are.
        cors: whose pages may read answers; None leaves it to the backend.
    """

    set: tuple[tuple[str, str], ...] = ()
    default: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] | None = None
    cookies: Cookies | None = None
    cors: Cors | None = None
