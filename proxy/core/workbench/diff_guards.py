"""How differ what two rules ask beside a role: addresses, log-in, scopes, owner, when.

What is asked for is asked of everybody, so asking for more closes and asking for less
opens. Of two conditions nobody can say which lets more happen.
"""

from collections.abc import Iterator

from proxy.core.addresses import Addresses, AddressSet
from proxy.core.guard import Guard
from proxy.core.policy import Rule
from proxy.core.workbench.diff_changes import Direction
from proxy.core.workbench.wording import joined

Found = Iterator[tuple[Direction, str]]

_NOTHING = Guard()


def compare_guards(old: Rule, new: Rule) -> Found:
    """Yield what is different about what two rules ask beside a role."""
    if old.shadow != new.shadow:
        if new.shadow:
            yield Direction.OPENS, "nothing of it is enforced: mode: shadow"
        else:
            yield Direction.CLOSES, "it is enforced, no longer in shadow mode"
    before, after = old.guard or _NOTHING, new.guard or _NOTHING
    yield from _addresses(before.addresses, after.addresses)
    for scope in sorted({*after.scopes} - {*before.scopes}):
        yield Direction.CLOSES, f"the scope {scope} is needed"
    for scope in sorted({*before.scopes} - {*after.scopes}):
        yield Direction.OPENS, f"the scope {scope} is no longer needed"
    yield from _words("require", _login(before), _login(after))
    yield from _words("owner", before.owner, after.owner)
    yield from _words("when", _text(before), _text(after))


def _text(guard: Guard) -> str | None:
    return guard.condition.text if guard.condition else None


def _login(guard: Guard) -> str | None:
    return joined(guard.step_up.parts()) if guard.step_up else None


def _words(key: str, was: str | None, now: str | None) -> Found:
    if was == now:
        return
    direction = Direction.CHANGES
    if was is None:
        direction = Direction.CLOSES
    elif now is None:
        direction = Direction.OPENS
    yield direction, f"{key}: {was or 'nothing'} -> {now or 'nothing'}"


def _addresses(old: Addresses | None, new: Addresses | None) -> Found:
    before, after = old or Addresses(), new or Addresses()
    if before.allow != after.allow:
        direction = Direction.CHANGES
        if before.allow is None or _covers(before.allow, after.allow):
            direction = Direction.CLOSES
        elif after.allow is None or _covers(after.allow, before.allow):
            direction = Direction.OPENS
        was, now = _shown(before.allow, "anywhere"), _shown(after.allow, "anywhere")
        yield direction, f"where requests may come from: {was} -> {now}"
    if before.deny != after.deny:
        direction = Direction.CHANGES
        if before.deny is None or _covers(after.deny, before.deny):
            direction = Direction.CLOSES
        elif after.deny is None or _covers(before.deny, after.deny):
            direction = Direction.OPENS
        was, now = _shown(before.deny, "nowhere"), _shown(after.deny, "nowhere")
        yield direction, f"where requests may not come from: {was} -> {now}"


def _covers(wide: AddressSet | None, narrow: AddressSet | None) -> bool:
    """Say whether every address of one set is in the other."""
    if wide is None or narrow is None:
        return False
    return AddressSet.of((*wide.networks, *narrow.networks)) == wide


def _shown(addresses: AddressSet | None, otherwise: str) -> str:
    return joined(map(str, addresses.networks)) if addresses else otherwise
