"""The request target: which of RFC 9112's four forms it has, and its parts."""

from proxy.core.errors import Refused
from proxy.core.reasons import Reason


def split_target(target: str, host: bytes) -> tuple[str, str]:
    """Return (path, query) of a request target, without the "?".

    Origin form is the ordinary one. Absolute form is what clients of a forward proxy
    send; it is accepted when it names the same host as the Host field (RFC 9112
    section 3.2.2). Authority and asterisk form name no resource of a backend.

    Args:
        target: as sent.
        host: the Host field's value.

    Raises:
        Refused: MALFORMED.

    Example:
        >>> split_target("/a/b?c=d", b"lms.example")
        ('/a/b', 'c=d')
    """
    if not target.startswith("/"):
        target = _origin_form(target, host)
    if "#" in target:
        raise Refused(Reason.MALFORMED, "A request target has no fragment.")
    path, _, query = target.partition("?")
    return path, query


def _origin_form(target: str, host: bytes) -> str:
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise Refused(Reason.MALFORMED, "The request target is not a path.")
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    if not end:  # RFC 9110 section 4.2.1
        raise Refused(Reason.MALFORMED, "The request target names no host.")
    if rest[:end].lower() != host.decode("latin-1").lower():
        raise Refused(Reason.MALFORMED, "The request target names another host.")
    path = rest[end:]
    return path if path.startswith("/") else "/" + path
