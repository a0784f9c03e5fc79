"""What a proxy in observe mode notes of the requests that pass: shapes and counts.

No value is ever kept: of a path what it looks like, of a body the names of its members
and the look of their values, of who asks how many requests there were in an hour. It is
bounded, whatever passes, and can be added up over processes.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from proxy.core.looks import look_of, shape_of

MAX_ENDPOINTS: Final = 2_000
MAX_FIELDS: Final = 300
"""Of one body: no API that people draft a policy for has more."""
MAX_ASKING: Final = 50_000
"""Whose requests of this hour are counted, over all endpoints."""
_ERRORS: Final = 400
_DEPTH: Final = 8
_ITEMS: Final = 20
"""How many items of a list are looked at: they are alike."""
_HOUR: Final = 3600.0

Document = dict[str, Any]


@dataclasses.dataclass(slots=True)
class Endpoint:
    """What was seen of one method and shape of a path.

    Attributes:
        count: requests.
        statuses: classes of statuses, such as "2xx".
        roles: that were answered, and not with an error; "" is no token.
        peak: the most requests of one subject, or client without one, in an hour.
        largest: bytes of the largest body that was looked at.
        request: the members of request bodies by JSONPath, and the looks of their
            values.
        response: those of answers.
    """

    count: int = 0
    statuses: Counter[str] = dataclasses.field(default_factory=Counter)
    roles: Counter[str] = dataclasses.field(default_factory=Counter)
    peak: int = 0
    largest: int = 0
    request: dict[str, Counter[str]] = dataclasses.field(default_factory=dict)
    response: dict[str, Counter[str]] = dataclasses.field(default_factory=dict)

    def document(self) -> Document:
        """Return it as JSON."""
        return {
            "count": self.count,
            "statuses": dict(self.statuses),
            "roles": dict(self.roles),
            "peak": self.peak,
            "largest": self.largest,
            "request": {place: dict(looks) for place, looks in self.request.items()},
            "response": {place: dict(looks) for place, looks in self.response.items()},
        }

    def note_answer(self, status: int, role: str) -> None:
        """Note what a role got."""
        self.statuses[f"{status // 100}xx"] += 1
        if status < _ERRORS:
            self.roles[role] += 1

    def note_body(self, document: object, *, response: bool, size: int) -> None:
        """Note the members of a body."""
        if not response:
            self.largest = max(self.largest, size)
        fields = self.response if response else self.request
        for place, value in _leaves(document, "$", 0):
            looks = fields.get(place)
            if looks is None:
                if len(fields) >= MAX_FIELDS:
                    continue
                looks = fields[place] = Counter()
            looks[look_of(value)] += 1


def _leaves(value: object, place: str, depth: int) -> Iterator[tuple[str, object]]:
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, place + step(name), depth + 1)
    elif isinstance(value, list):
        for inner in value[:_ITEMS]:
            yield from _leaves(inner, f"{place}[*]", depth + 1)
    else:
        yield place, value


def step(name: str) -> str:
    """Return the step of a JSONPath to a member."""
    if name.isascii() and name.isidentifier():
        return f".{name}"
    quoted = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{quoted}']"


class Learned:
    """Everything that was seen.

    Attributes:
        endpoints: by method and shape of the path.
        others: requests for which there was no room.
    """

    def __init__(self) -> None:
        self.endpoints: dict[tuple[str, str], Endpoint] = {}
        self.others = 0
        self._hour = 0
        self._asking: Counter[tuple[str, str, str]] = Counter()

    def note(self, method: str, path: str, who: str, now: float) -> Endpoint | None:
        """Note one request; None when there is no room for its endpoint.

        Args:
            method: upper case.
            path: without its query.
            who: the subject, or the address without one.
            now: epoch seconds.
        """
        key = method, shape_of(path)
        endpoint = self.endpoints.get(key)
        if endpoint is None:
            if len(self.endpoints) >= MAX_ENDPOINTS:
                self.others += 1
                return None
            endpoint = self.endpoints[key] = Endpoint()
        endpoint.count += 1
        hour = int(now // _HOUR)
        if hour != self._hour:
            self._hour = hour
            self._asking.clear()
        asking = (*key, who)
        if asking in self._asking or len(self._asking) < MAX_ASKING:
            self._asking[asking] += 1
            endpoint.peak = max(endpoint.peak, self._asking[asking])
        return endpoint

    def document(self) -> Document:
        """Return everything as JSON."""
        return {
            "others": self.others,
            "endpoints": [
                {"method": method, "path": path, **endpoint.document()}
                for (method, path), endpoint in self.endpoints.items()
            ],
        }

    def add(self, document: Mapping[str, Any]) -> None:
        """Add what another process has seen, as ``document`` returns it.

        Raises:
            ValueError: it is something else.
        """
        try:
            self.others += int(document["others"])
            for one in document["endpoints"]:
                key = str(one["method"]), str(one["path"])
                endpoint = self.endpoints.setdefault(key, Endpoint())
                endpoint.count += int(one["count"])
                endpoint.statuses += Counter(one["statuses"])
                endpoint.roles += Counter(one["roles"])
                endpoint.peak = max(endpoint.peak, int(one["peak"]))
                endpoint.largest = max(endpoint.largest, int(one["largest"]))
                for mine, theirs in (
                    (endpoint.request, one["request"]),
                    (endpoint.response, one["response"]),
                ):
                    for place, looks in theirs.items():
                        mine[place] = mine.get(place, Counter()) + Counter(looks)
        except (KeyError, TypeError, AttributeError):
            raise ValueError("this is not what a proxy has learned") from None


def added(documents: Iterable[Document]) -> Document | None:
    """Return what several processes have learned; None where none has learned."""
    total = None
    for document in documents:
        total = total or Learned()
        total.add(document)
    return None if total is None else total.document()
