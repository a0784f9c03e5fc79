"""A first policy from what is known of a service: rules, limits, fields, as YAML text.

What it is drafted from is an OpenAPI document, or what a proxy has seen pass. The draft
passes ``check`` and enforces nothing (``mode: shadow``): a person reads it, names the
roles and lets it decide, rule by rule.
"""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from proxy.core.fields import Selection
from proxy.core.paths import canonicalise
from proxy.core.policy_roles import ROLE
from proxy.core.policy_rules import METHODS
from proxy.core.routing import MAX_DEPTH, Pattern

Places = Mapping[str, str]
"""JSONPath of a personal value to its kind."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        method: upper case.
        path: as a pattern.
        name: what to call its rule; "" makes one of method and path.
        roles: who uses it; empty for anyone, without a token.
        scopes: that its tokens have.
        hourly: the most requests of one subject, or client, in an hour; 0 is unknown.
        seen: how many requests there were; 0 is unknown.
        request: personal values of its bodies.
        response: personal values of its answers.
    """

    method: str
    path: str
    name: str = ""
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    hourly: int = 0
    seen: int = 0
    request: Places = dataclasses.field(default_factory=dict)
    response: Places = dataclasses.field(default_factory=dict)


def draft(
    operations: Sequence[Operation], *, source: str, backend: str | None = None
) -> str:
    """Return the YAML of a policy for these operations.

    Args:
        operations: in any order; those that no rule can be written for are named in
            comments.
        source: where they are from, in words.
        backend: the address of the service; None for ``${BACKEND_URL}``'s usual one.

    Raises:
        ValueError: there is no operation for which a rule can be written.
    """
    usable, left = _usable(operations)
    if not usable:
        raise ValueError("there is nothing in it that a rule could be written for")
    rules = _grouped(usable)
    fields = sorted({kind for one in rules for kind in _kinds(one)})
    roles = sorted({role for one in rules for role in one.roles})
    lines = [
        f"# Drafted from {source}. Read it before it decides: what is a guess says so.",
        "version: 1",
        "# Nothing is enforced yet. lumina_shadow_refusals_total says what would be.",
        "mode: shadow",
        "",
        "backends:",
        f'  lms: {{servers: ["${{BACKEND_URL:-{backend or "http://127.0.0.1:9000"}}}"]}}',
        *_tokens(roles),
        *_fields(fields, roles, anonymous=any(not one.roles for one in rules)),
        "",
        "rules:",
    ]
    names: set[str] = set()
    for one in rules:
        lines += _rule(one, names)
    lines += [f"# Left out: {one}" for one in left]
    return "\n".join(lines) + "\n"


@dataclasses.dataclass(slots=True)
class _Rule:
    """Operations of one path that differ in their method only."""

    methods: list[str]
    pattern: Pattern
    name: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    hourly: int
    seen: int
    request: dict[str, str]
    response: dict[str, str]


def _usable(operations: Sequence[Operation]) -> tuple[list[_Rule], list[str]]:
    """Return what rules can be written for, and in words what not."""
    usable, left = [], []
    taken: set[tuple[object, ...]] = set()
    for one in operations:
        method = "GET" if one.method == "HEAD" else one.method
        try:
            pattern = _pattern(method, one.path)
        except ValueError as error:
            left.append(_comment(f"{one.method} {one.path}: {error}"))
            continue
        shape = method, pattern.segments, pattern.rest
        if shape in taken:
            if one.method != "HEAD":
                left.append(_comment(f"{one.method} {one.path}: as another one"))
            continue
        taken.add(shape)
        usable.append(
            _Rule(
                [method],
                pattern,
                one.name,
                tuple(sorted({role_name(role) for role in one.roles})),
                one.scopes,
                one.hourly,
                one.seen,
                _compatible(one.request),
                _compatible(one.response),
            )
        )
    return usable, left


def _pattern(method: str, path: str) -> Pattern:
    pattern = Pattern.parse(pattern_of(path))
    if method not in METHODS or not re.fullmatch(r"[!-~]+", pattern.text):
        raise ValueError("a rule cannot be for that")
    path = "".join(f"/{'x' if one is None else one}" for one in pattern.segments)
    if canonicalise(path or "/")[1]:
        raise ValueError("such a path can be read in two ways")
    return pattern


def _comment(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text)[:200]


def pattern_of(path: str) -> str:
    """Return a path template as a pattern: parameters are whole segments, with names.

    Example:
        >>> pattern_of("/users/{user-id}/{file}.{ext}")
        '/users/{user_id}/{file_ext}'
    """
    names: set[str] = set()
    segments = []
    for segment in path.lstrip("/").split("/")[:MAX_DEPTH]:
        found = re.findall(r"\{([^{}]*)\}", segment)
        if not found and not re.search(r"[{}]", segment):
            segments.append(segment)
            continue
        name = re.sub(r"\W+", "_", "_".join(found), flags=re.ASCII).strip("_") or "id"
        name = f"_{name}" if name[0].isdigit() else name
        number = 1
        while name in names:
            number += 1
            name = f"{name.rstrip('0123456789')}{number}"
        names.add(name)
        segments.append(f"{{{name}}}")
    return "/" + "/".join(segments)


def role_name(word: str) -> str:
    """Return what a role can be called in a policy."""
    cleaned = re.sub(r"[^!-~]", "-", word)[:64]
    if not ROLE.fullmatch(cleaned) or cleaned in ("anyone", "default"):
        return "user"
    return cleaned


def _compatible(places: Places) -> dict[str, str]:
    """Return those places that can be protected together."""
    kept: dict[str, str] = {}
    for place, kind in sorted(places.items()):
        try:
            Selection.compile({**kept, place: kind})
        except ValueError:
            continue
        kept[place] = kind
    return kept


def _grouped(rules: list[_Rule]) -> list[_Rule]:
    """Lay rules of one path together that would say the same."""
    groups: dict[tuple[object, ...], list[_Rule]] = defaultdict(list)
    for one in rules:
        shape = one.pattern.segments, one.pattern.rest, one.roles, one.scopes
        protects = tuple(one.request.items()), tuple(one.response.items())
        # What has a name of its own stays by itself.
        groups[(shape, protects, one.name)].append(one)
    merged = []
    for first, *others in groups.values():
        for one in others:
            first.methods += one.methods
            first.hourly = max(first.hourly, one.hourly)
            first.seen += one.seen
        merged.append(first)
    return sorted(merged, key=lambda one: (one.pattern.text, one.methods))


def _kinds(rule: _Rule) -> Iterator[str]:
    yield from rule.request.values()
    yield from rule.response.values()


def _tokens(roles: list[str]) -> list[str]:
    if not roles:
        return []
    return [
        "",
        "issuers:",
        "  # A guess: whose tokens are these, and where do they say the role?",
        "  lms:",
        "    issuer: lms",
        "    audience: lms",
        "    algorithms: [HS256]",
        '    secret: "${JWT_SECRET}"',
        "    roles: $.role",
        "",
        f"roles: [{', '.join(map(quoted, roles))}]",
    ]


def _fields(fields: list[str], roles: list[str], *, anonymous: bool) -> list[str]:
    if not fields:
        return []
    lines = [
        "",
        "# Guessed from names, and from what values look like. `protect` is no part of",
        "# shadow mode: take out what is not meant before the proxy reads this.",
        "fields:",
        *(f"  person.{kind}: {{mode: random}}" for kind in fields),
        "",
        "views:",
        *(f'  {quoted(role)}: {{"*": plain}}' for role in roles),
    ]
    return [*lines, '  anyone: {"*": plain}'] if anonymous or not roles else lines


def _rule(rule: _Rule, names: set[str]) -> Iterator[str]:
    methods = [method for method in METHODS if method in rule.methods]
    match = f"{','.join(methods)} {rule.pattern.text}"
    if rule.seen:
        yield f"  # {rule.seen} requests seen"
    yield f"  - id: {rule_id(rule.name or match, names)}"
    yield f"    match: {quoted(match)}"
    allow = f"[{', '.join(map(quoted, rule.roles))}]" if rule.roles else "anyone"
    yield f"    allow: {allow}"
    if rule.scopes and rule.roles:
        yield f"    scopes: [{', '.join(map(quoted, rule.scopes))}]"
    if rule.hourly:
        rate, per = roomy(rule.hourly), "subject" if rule.roles else "client"
        yield f"    limits: [{{rate: {rate}/hour, per: {per}}}]  # {rule.hourly} seen"
    protected = [
        f"{key}: {{{_places(places)}}}"
        for key, places in (("request", rule.request), ("response", rule.response))
        if places
    ]
    if protected:
        yield f"    protect: {{{', '.join(protected)}}}"


def _places(places: Places) -> str:
    return ", ".join(f"{quoted(at)}: person.{kind}" for at, kind in places.items())


def rule_id(text: str, taken: set[str]) -> str:
    """Return an id that is not taken yet; it is from then on."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", text)
    name = re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()[:56].strip("-")
    name = name or "root"
    number = 1
    chosen = name
    while chosen in taken:
        number += 1
        chosen = f"{name}-{number}"
    taken.add(chosen)
    return chosen


def roomy(most: int) -> int:
    """Return a round number at least twice as large as what was seen.

    Example:
        >>> [roomy(most) for most in (1, 7, 30, 600)]
        [10, 20, 100, 2000]
    """
    size = 10
    while True:
        for factor in (1, 2, 5):
            if size * factor >= 2 * most:
                return size * factor
        size *= 10


def quoted(text: str) -> str:
    """Return a text as a YAML scalar that means just it."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
