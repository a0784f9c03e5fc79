"""What a policy says about the header fields of answers: from nodes to values.

A rule's own words are laid over those of the policy: ``set`` and ``default`` field by
field, everything else as a whole. ``none`` takes away what the policy says.
"""

import re
from collections.abc import Collection, Mapping

from proxy.core import policy_values as values
from proxy.core.header_names import HOP_BY_HOP, IDENTITY_PREFIXES
from proxy.core.policy_keys import COOKIES, CORS, RESPONSES, required
from proxy.core.policy_sections import Section, read_word
from proxy.core.policy_values import Report, refuse
from proxy.core.responses import Cookies, Cors, Responses, SameSite
from proxy.core.yaml_source import Node, Scalar, Table

NOTHING = "none"
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
"""RFC 9110 section 5.6.2."""
ORIGIN = re.compile(r"https?://(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{1,5})?|\*")
SOURCE = re.compile(
    r"self|none|https?:|https?://(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9*]{1,5})?"
)
_VALUE = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*")
_LEAST_AGE = re.compile(r"max-age=\d{1,10}(?:; *(?:includeSubDomains|preload))*")

_OURS = frozenset(
    (
        *(name.decode() for name in HOP_BY_HOP),
        *("content-encoding", "content-length", "content-range", "content-type"),
        *("date", "etag", "location", "ratelimit", "ratelimit-policy", "retry-after"),
        *("set-cookie", "vary", "www-authenticate", "x-request-id"),
    )
)
"""What an answer cannot do without, or what somebody else decides."""

_WORDS: Mapping[str, re.Pattern[str]] = {
    "cross-origin-embedder-policy": re.compile(
        "unsafe-none|require-corp|credentialless"
    ),
    "cross-origin-opener-policy": re.compile(
        "unsafe-none|same-origin|same-origin-allow-popups|noopener-allow-popups"
    ),
    "cross-origin-resource-policy": re.compile("same-site|same-origin|cross-origin"),
    "referrer-policy": re.compile(
        "(?:no-referrer|no-referrer-when-downgrade|same-origin|origin|strict-origin|"
        "origin-when-cross-origin|strict-origin-when-cross-origin|unsafe-url|, *)+"
    ),
    "strict-transport-security": _LEAST_AGE,
    "x-content-type-options": re.compile("nosniff"),
    "x-frame-options": re.compile("DENY|SAMEORIGIN"),
}
"""Values that a browser ignores when they are spelled otherwise."""

DIRECTIVES = frozenset(
    (
        *("base-uri", "block-all-mixed-content", "child-src", "connect-src"),
        *("default-src", "fenced-frame-src", "font-src", "form-action"),
        *("frame-ancestors", "frame-src", "img-src", "manifest-src", "media-src"),
        *("object-src", "report-to", "report-uri", "require-trusted-types-for"),
        *("sandbox", "script-src", "script-src-attr", "script-src-elem", "style-src"),
        *("style-src-attr", "style-src-elem", "trusted-types"),
        *("upgrade-insecure-requests", "worker-src"),
    )
)
"""Of a Content-Security-Policy (CSP Level 3, and what its registry has beside)."""


def read_responses(report: Report, section: Section) -> Responses | None:
    """Read what the policy says of every answer; None when it says nothing."""
    for key, _ in section.values():
        if key.text not in RESPONSES:
            report.error(key.at, *values.unknown("key", key, RESPONSES))
    if not section:
        return None
    return _read(report, {name: node for name, (_, node) in section.items()}, None)


def read_rule_responses(
    report: Report, node: Node | None, usual: Responses | None
) -> Responses | None:
    """Read what a rule says over what the policy does; None for nothing at all."""
    if node is None:
        return usual
    if _is_nothing(node):
        return None
    return _read(report, report.entries(node, RESPONSES), usual)


def _is_nothing(node: Node | None) -> bool:
    return isinstance(node, Scalar) and node.text == NOTHING


def _read(
    report: Report, entries: Mapping[str, Node], usual: Responses | None
) -> Responses:
    usual = usual or Responses()
    remove, frames = usual.remove, usual.frame_ancestors
    cookies, cors = usual.cookies, usual.cors
    if "remove" in entries:
        remove = _names(report, entries["remove"])
    if "frame_ancestors" in entries:
        frames = _frames(report, entries["frame_ancestors"])
    if "cookies" in entries:
        cookies = _cookies(report, entries["cookies"])
    if "cors" in entries:
        cors = _cors(report, entries["cors"])
    own = _own(entries.get("set"))
    own_default = _own(entries.get("default"))
    for name in sorted(own & own_default):
        report.error(entries["default"].at, f"{name} is in both 'set' and 'default'")
    written = _fields(report, entries.get("set"), usual.set, own_default)
    default = _fields(report, entries.get("default"), usual.default, own)
    return Responses(
        set=written,
        default=default,
        remove=remove,
        frame_ancestors=frames,
        cookies=cookies,
        cors=cors,
    )


def _own(node: Node | None) -> frozenset[str]:
    """Return the names of the fields that are written here, in lower case."""
    return frozenset(map(str.lower, node.values if isinstance(node, Table) else ()))


def _fields(
    report: Report,
    node: Node | None,
    usual: tuple[tuple[str, str], ...],
    elsewhere: Collection[str],
) -> tuple[tuple[str, str], ...]:
    """Read fields over the usual ones; a field of ``none`` is taken away.

    Args:
        report: collects findings.
        node: what is written here; None for nothing.
        usual: what the policy says.
        elsewhere: lower-case names of which something else is said here.
    """
    fields = {
        name.lower(): (name, value)
        for name, value in usual
        if name.lower() not in elsewhere
    }
    table = report.read(node, values.as_table, None) if node is not None else None
    if table is None:
        return usual
    for name, value in table.values.items():
        if not report.read(table.key(name), _name, ""):
            continue
        if _is_nothing(value):
            fields.pop(name.lower(), None)
            continue
        text = report.read(value, values.string, "")
        problem = _problem(name.lower(), text) if text else ""
        if problem:
            report.error(value.at, problem)
        elif text:
            fields[name.lower()] = name, text
    return tuple(fields.values())


def _problem(name: str, text: str) -> str:
    """Return what is wrong with the value of a field; "" for nothing."""
    if not _VALUE.fullmatch(text):
        return "a field's value is printable ASCII on one line"
    known = _WORDS.get(name)
    if known is not None and not known.fullmatch(text):
        return f"browsers do not know this value of {name}, and ignore it"
    if name.startswith("content-security-policy"):
        for directive in filter(None, map(str.strip, text.split(";"))):
            word = directive.split()[0].lower()
            if word not in DIRECTIVES:
                return (
                    f"there is no directive {word!r}; {values.guess(word, DIRECTIVES)}"
                )
    return ""


def _name(node: Node) -> str:
    scalar = values.written(node)
    lower = scalar.text.lower()
    if not TOKEN.fullmatch(scalar.text):
        raise refuse(node, f"{values.quoted(scalar)} is not the name of a field")
    if lower.startswith("access-control-"):
        raise refuse(node, "whose pages may read answers is said in cors")
    if lower in _OURS or lower.encode().startswith(IDENTITY_PREFIXES):
        raise refuse(node, f"the field {lower} is not the policy's to decide")
    return scalar.text


def _names(report: Report, node: Node) -> tuple[str, ...]:
    """Read the names of fields, each once; ``none`` for none."""
    if _is_nothing(node):
        return ()
    names: dict[str, str] = {}
    for item in report.items(node):
        name = report.read(item, _name, "")
        if name.lower() in names:
            report.error(item.at, f"the field {name} is listed twice")
        elif name:
            names[name.lower()] = name
    return tuple(names.values())


def _frames(report: Report, node: Node) -> tuple[str, ...] | None:
    """Read who may show a page in a frame; None leaves that to the backend."""
    if _is_nothing(node):
        return None
    sources: dict[str, None] = {}
    for item in report.items(node):
        source = report.read(item, _source, None)
        if source is not None:
            sources[source] = None
    if "'none'" in sources and len(sources) > 1:
        report.error(node.at, "'none' stands alone")
    return tuple(sources)


def _source(node: Node) -> str:
    text = values.string(node).strip("'")
    if not SOURCE.fullmatch(text):
        hint = "self, none, https: or https://app.example"
        raise refuse(node, "this is not where a page can be from", hint)
    return f"'{text}'" if text in {"self", "none"} else text


def _cookies(report: Report, node: Node) -> Cookies | None:
    if _is_nothing(node):
        return None
    entries = report.entries(node, COOKIES)
    same_site: SameSite | None = read_word(
        report, entries.get("same_site"), "same_site", SameSite.LAX
    )
    secure = report.read(entries.get("secure"), values.yes_or_no, True)
    if same_site is SameSite.NONE and not secure:
        message = "browsers refuse a cookie for every site that is not secure"
        report.error(entries["same_site"].at, message)
    readable = entries.get("readable")
    return Cookies(
        secure=secure,
        http_only=report.read(entries.get("http_only"), values.yes_or_no, True),
        same_site=same_site,
        readable=frozenset(
            report.read(item, _cookie, "") for item in report.items(readable)
        )
        if readable is not None
        else frozenset(),
    )


def _cookie(node: Node) -> str:
    scalar = values.written(node)
    if not TOKEN.fullmatch(scalar.text):
        raise refuse(node, f"{values.quoted(scalar)} is not the name of a cookie")
    return scalar.text


def _cors(report: Report, node: Node) -> Cors | None:
    if _is_nothing(node):
        return None
    entries = report.entries(node, CORS, required(CORS))
    usual = Cors(origins=())
    origins: dict[str, None] = {}
    for item in report.items(entries.get("origins")):
        origin = report.read(item, _origin, None)
        if origin in origins:
            report.error(item.at, "this origin is listed twice")
        elif origin is not None:
            origins[origin] = None
    credentials = report.read(entries.get("credentials"), values.yes_or_no, False)
    if "*" in origins and (credentials or len(origins) > 1):
        message = "everybody (*) stands alone, and goes with no credentials"
        report.error(entries["origins"].at, message)
    return Cors(
        origins=tuple(origins),
        headers=_tokens(report, entries.get("headers"), usual.headers),
        expose=_tokens(report, entries.get("expose"), usual.expose),
        credentials=credentials,
        max_age=report.read(entries.get("max_age"), values.duration, usual.max_age),
    )


def _origin(node: Node) -> str:
    text = values.string(node)
    if not ORIGIN.fullmatch(text):
        hint = "https://app.example, https://*.app.example, or * for everybody"
        raise refuse(node, "this is not an origin, in lower case", hint)
    return text


def _tokens(
    report: Report, node: Node | None, usual: tuple[str, ...]
) -> tuple[str, ...]:
    if node is None:
        return usual
    if _is_nothing(node):
        return ()
    return tuple(report.read(item, _token, "") for item in report.items(node))


def _token(node: Node) -> str:
    scalar = values.written(node)
    if not TOKEN.fullmatch(scalar.text):
        raise refuse(node, f"{values.quoted(scalar)} is not the name of a field")
    return scalar.text
