"""What a proxy has learned, to the operations that a policy is drafted for.

Only what was answered without an error becomes a rule: what scanners ask for is not
what the service does. Words of paths that turn out to be values, such as the names of
people, are laid together here: where many words stand in one place, and every one of
them can be asked for the same, none of them is a word of the API.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from proxy.core.learning import Endpoint, Learned
from proxy.core.looks import name_of, personal_kind
from proxy.core.workbench.sketch import Operation, Places

MANY = 8
"""Words in one place, more than most services have resources of one kind."""


def operations_of(learned: Learned) -> list[Operation]:
    """Return an operation for each endpoint that was answered."""
    by_path: dict[str, dict[str, Endpoint]] = defaultdict(dict)
    for (method, path), endpoint in learned.endpoints.items():
        if endpoint.roles:
            by_path[path][method] = endpoint
    merged = _merged(by_path)
    return [
        _operation(method, path, endpoint)
        for path, methods in sorted(merged.items())
        for method, endpoint in sorted(methods.items())
    ]


def _operation(method: str, path: str, endpoint: Endpoint) -> Operation:
    roles = () if "" in endpoint.roles else tuple(sorted(endpoint.roles))
    return Operation(
        method=method,
        path=path,
        roles=roles,
        hourly=endpoint.peak,
        seen=endpoint.count,
        request=_personal(endpoint.request),
        response=_personal(endpoint.response),
    )


def _personal(fields: Mapping[str, Counter[str]]) -> Places:
    found = {}
    for place, looks in fields.items():
        name = place.replace("[*]", "").rpartition(".")[2].rpartition("['")[2]
        kind = personal_kind(name.removesuffix("']"), frozenset(looks))
        if kind is not None and place != "$":
            found[place] = kind
    return found


Paths = dict[str, dict[str, Endpoint]]


def _merged(by_path: Paths) -> Paths:
    """Lay paths together that differ in a word which is a value."""
    depth = max((path.count("/") for path in by_path), default=0)
    for place in range(1, depth + 1):
        by_path = _merged_at(by_path, place)
    return by_path


def _merged_at(by_path: Paths, place: int) -> Paths:
    """Lay paths together that differ at one place."""
    subtrees: dict[tuple[str, ...], dict[str, set[tuple[object, ...]]]] = {}
    for path, methods in by_path.items():
        segments = path.split("/")
        if len(segments) > place and segments[place]:
            words = subtrees.setdefault(tuple(segments[:place]), {})
            rest = tuple(segments[place + 1 :]), tuple(sorted(methods))
            words.setdefault(segments[place], set()).add(rest)
    values = {
        before: _values(words)
        for before, words in subtrees.items()
        if len(words) > MANY
    }
    merged: Paths = {}
    for path, methods in by_path.items():
        segments = path.split("/")
        before = tuple(segments[:place])
        if len(segments) > place and segments[place] in values.get(before, ()):
            taken = {one[1:-1] for one in segments if one.startswith("{")}
            segments[place] = f"{{{name_of(segments[place - 1], taken)}}}"
            path = "/".join(segments)
        _add(merged.setdefault(path, {}), methods)
    return merged


def _values(words: Mapping[str, set[tuple[object, ...]]]) -> frozenset[str]:
    """Return the words of one place that can be asked for the same as many others."""
    alike: dict[frozenset[tuple[object, ...]], list[str]] = defaultdict(list)
    for word, subtree in words.items():
        if not word.startswith("{"):
            alike[frozenset(subtree)].append(word)
    groups: Iterable[list[str]] = (one for one in alike.values() if len(one) > MANY)
    return frozenset(word for group in groups for word in group)


def _add(known: dict[str, Endpoint], more: Mapping[str, Endpoint]) -> None:
    for method, endpoint in more.items():
        if method not in known:
            known[method] = endpoint
            continue
        one = known[method]
        one.count += endpoint.count
        one.roles += endpoint.roles
        one.peak = max(one.peak, endpoint.peak)
        for mine, theirs in (
            (one.request, endpoint.request),
            (one.response, endpoint.response),
        ):
            for field, looks in theirs.items():
                mine[field] = mine.get(field, Counter()) + looks
