"""What two policies decide differently: who gains and who loses what.

Not their texts are compared but their decisions, so a rule that merely moved is no
difference, and a new one that takes requests from another is. Somebody with several
roles is not asked for: what they may is what one of their roles may.
"""

import dataclasses
from collections.abc import Iterator

from proxy.core.fields import Selection
from proxy.core.policy import Policy, View
from proxy.core.workbench.diff_changes import Area, Change, Changes, Direction
from proxy.core.workbench.diff_limits import LimitChanges
from proxy.core.workbench.diff_parts import compare_parts, compare_rules
from proxy.core.workbench.diff_requests import Asked, Meeting, ask, meetings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two policies side by side.

    Attributes:
        changes: what differs in meaning.
        notes: what differs in name only.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...]


_WITHOUT_BODY = frozenset({"GET", "HEAD"})
"""Methods whose requests bring nothing that could be protected (RFC 9110, 9.3.1)."""


def compare(old: Policy, new: Policy) -> Comparison:
    """Compare two policies.

    Raises:
        ValueError: the rules overlap in more ways than anybody could review.
    """
    changes, notes = Changes(), []
    limits = LimitChanges(changes)
    for listener in dict.fromkeys((*old.listeners, *new.listeners)):
        before, after = old.at(listener), new.at(listener)
        for meeting in meetings(before, after, listener):
            notes += _names(meeting)
            compare_rules(changes, meeting)
            _protection(changes, meeting)
            for asked in ask(before, after, meeting):
                _access(changes, meeting, asked)
                _plaintext(changes, meeting, asked)
                limits.compare(meeting, asked)
    notes += limits.finish()
    compare_parts(changes, old, new)
    return Comparison(changes=changes.all(), notes=tuple(notes))


def _names(meeting: Meeting) -> list[str]:
    """Say that a rule has another name, or that another rule decides."""
    old, new = meeting.old, meeting.new
    if not (old and new) or old.id == new.id:
        return []
    if (old.methods, old.pattern.segments, old.pattern.rest) == (
        *(new.methods, new.pattern.segments),
        new.pattern.rest,
    ):
        return [f"the rule {old.id} is called {new.id}"]
    return [
        f"{one.methods} {one.path} is decided by {new.id}, no longer by {old.id}"
        for one in meeting.requests
    ]


def _access(changes: Changes, meeting: Meeting, asked: Asked) -> None:
    """Note who may now, and who may no longer, send requests."""
    before, after = asked.old.refused is None, asked.new.refused is None
    if before == after:
        return
    direction = Direction.OPENS if after else Direction.CLOSES
    verb = "gains" if after else "loses"
    changes.add(Area.ACCESS, direction, f"{asked.who} {verb}", meeting.requests)


def _plaintext(changes: Changes, meeting: Meeting, asked: Asked) -> None:
    """Note what somebody gets to see that they did not, or no longer."""
    before = asked.old.fields_seen(View.PLAIN)
    after = asked.new.fields_seen(View.PLAIN)
    for field in sorted(after - before):
        text = f"{asked.who} sees {field}"
        changes.add(Area.PLAINTEXT, Direction.OPENS, text, meeting.requests)
    for field in sorted(before - after):
        text = f"{asked.who} no longer sees {field}"
        changes.add(Area.PLAINTEXT, Direction.CLOSES, text, meeting.requests)


def _protection(changes: Changes, meeting: Meeting) -> None:
    """Note the places of bodies that are protected now, or no longer."""
    old, new = meeting.old, meeting.new
    if not (old and new):
        return
    methods = {method for one in meeting.requests for method in one.methods.split(",")}
    found = list(_places("answer", old.protect_response, new.protect_response))
    if not methods <= _WITHOUT_BODY:
        found += _places("request", old.protect_request, new.protect_request)
    for direction, text in found:
        changes.add(Area.PLAINTEXT, direction, text, meeting.requests)


_CLEAR = {
    "request": "reaches the backend in the clear",
    "answer": "passes as the backend sends it",
}


def _places(
    body: str, old: Selection | None, new: Selection | None
) -> Iterator[tuple[Direction, str]]:
    before, after = (dict(one.places) if one else {} for one in (old, new))
    for place in dict.fromkeys((*before, *after)):
        what = f"{place} of the {body}"
        was, now = before.get(place), after.get(place)
        if now is None:
            yield Direction.OPENS, f"{what} {_CLEAR[body]}, no longer as {was}"
        elif was is None:
            yield Direction.CLOSES, f"{what} is protected as {now}"
        elif was != now:
            text = f"{what} is protected as {now}, no longer as {was}"
            yield Direction.CHANGES, text
