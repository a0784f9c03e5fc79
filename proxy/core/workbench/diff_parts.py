"""How issuers, backends, fields and the further keys of rules differ.

Keys and secrets are compared and never shown.
"""

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.core.authn import Issuer
from proxy.core.backends import Backend, Server
from proxy.core.listeners import Address, Listener
from proxy.core.policy import Policy, Rule
from proxy.core.policy_parser import NO_HEALTH
from proxy.core.workbench.diff_changes import Area, Changes, Direction
from proxy.core.workbench.diff_guards import compare_guards
from proxy.core.workbench.diff_requests import Meeting
from proxy.core.workbench.wording import joined, login_text

_DECIDED = frozenset(
    {
        *("id", "methods", "pattern", "backend", "allow", "limits"),
        *("protect_request", "protect_response", "tolerate", "max_body_bytes"),
        *("binds", "subjects", "vaulted"),  # compared with the field
        "upgrade",
        *("guard", "shadow", "login", "listener"),
    }
)
"""Of a rule: what is compared by what it decides, or by itself."""


def compare_parts(changes: Changes, old: Policy, new: Policy) -> None:
    """Note differences that are not about requests."""
    _issuers(changes, old.issuers, new.issuers)
    for text in _named("listener", old.listeners, new.listeners):
        changes.add(Area.BACKENDS, Direction.CHANGES, text)
    for text in _named("backend", old.backends, new.backends):
        changes.add(Area.BACKENDS, Direction.CHANGES, text)
    for name, field in old.fields.items():
        # One that is new, or gone, makes a difference where it is protected.
        for key, was, now in _differing(field, new.fields.get(name, field)):
            text = f"{key} of the field {name}: {_shown(was)} -> {_shown(now)}"
            changes.add(Area.PLAINTEXT, Direction.CHANGES, text)
    if (old.unmatched is None) != (new.unmatched is None):
        way = Direction.OPENS if new.unmatched else Direction.CLOSES
        verdict = "passed" if new.unmatched else "refused"
        changes.add(Area.ACCESS, way, f"what no rule matches is {verdict}")
    if old.health != new.health:
        was, now = (one.health or NO_HEALTH for one in (old, new))
        text = f"where the data port answers for itself: {was} -> {now}"
        changes.add(Area.BACKENDS, Direction.CHANGES, text)
    if old.deployment != new.deployment:
        text = (
            f"the deployment {old.deployment} is {new.deployment}: what was stored no "
            "longer decrypts"
        )
        changes.add(Area.PLAINTEXT, Direction.CHANGES, text)
    if old.tenant != new.tenant:
        was, now = (f"$.{'.'.join(one.tenant)}" for one in (old, new))
        text = (
            f"the claim that names the tenant: {was if old.tenant else 'none'} -> "
            f"{now if new.tenant else 'none'}: what is stored stays with its tenant"
        )
        changes.add(Area.PLAINTEXT, Direction.CHANGES, text)


def _issuers(
    changes: Changes, old: Mapping[str, Issuer], new: Mapping[str, Issuer]
) -> None:
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            text = f"{name} is trusted"
            changes.add(Area.ISSUERS, Direction.OPENS, text)
        elif name not in new:
            text = f"{name} is no longer trusted"
            changes.add(Area.ISSUERS, Direction.CLOSES, text)
        else:
            _issuer(changes, name, old[name], new[name])


def _issuer(changes: Changes, name: str, old: Issuer, new: Issuer) -> None:
    for one, was, now in _differing(old, new, frozenset({"id", "issuer", "keys"})):
        direction = Direction.CHANGES
        if one in {"audience", "algorithms"}:
            direction = _of_sets(frozenset(was), frozenset(now))
        elif one == "leeway":
            direction = Direction.OPENS if now > was else Direction.CLOSES
        text = f"{one} of {name}: {_shown(was)} -> {_shown(now)}"
        changes.add(Area.ISSUERS, direction, text)
    before = {key.kid: key.key for key in old.keys}
    after = {key.kid: key.key for key in new.keys}
    for kid in dict.fromkeys((*before, *after)):
        key = f"the key {kid}" if kid else "the key"
        if kid not in after:
            text = f"{key} of {name} is no longer there"
            changes.add(Area.ISSUERS, Direction.CLOSES, text)
        elif kid not in before:
            text = f"{key} of {name} is new"
            changes.add(Area.ISSUERS, Direction.OPENS, text)
        elif before[kid] != after[kid]:
            text = f"{key} of {name} is another one"
            changes.add(Area.ISSUERS, Direction.CHANGES, text)


def _of_sets(old: frozenset[str], new: frozenset[str]) -> Direction:
    if old < new:
        return Direction.OPENS
    return Direction.CLOSES if new < old else Direction.CHANGES


def _named(
    kind: str,
    old: Mapping[str, Backend] | Mapping[str, Listener],
    new: Mapping[str, Backend] | Mapping[str, Listener],
) -> Iterator[str]:
    """Yield how backends, or listeners, differ."""
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield f"the {kind} {name} is new"
        elif name not in new:
            yield f"the {kind} {name} is no longer there"
        else:
            for one, was, now in _differing(old[name], new[name]):
                yield f"{one} of the {kind} {name}: {_shown(was)} -> {_shown(now)}"


def _differing(
    old: Any, new: Any, known: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the attributes that differ, with both values, but for those ``known``."""
    for one in dataclasses.fields(old):
        was, now = getattr(old, one.name), getattr(new, one.name)
        if one.name in known or was == now:
            continue
        if dataclasses.is_dataclass(was) and type(was) is type(now):
            for inner, *values in _differing(was, now):
                yield f"{one.name}.{inner}", values[0], values[1]
        else:
            yield one.name, was, now


def compare_rules(changes: Changes, meeting: Meeting) -> None:
    """Note what is different about the rules of a meeting beside who may use them."""
    old, new = meeting.old, meeting.new
    if not (old and new):
        return
    if old.backend.id != new.backend.id:
        text = f"requests go to {new.backend.id}, no longer to {old.backend.id}"
        changes.add(Area.BACKENDS, Direction.CHANGES, text, meeting.requests)
    for way, text in (*compare_guards(old, new), *_rest(old, new)):
        changes.add(Area.RULES, way, text, meeting.requests)
    for one, was, now in _differing(old, new, _DECIDED):
        text = f"{one}: {_shown(was)} -> {_shown(now)}"
        changes.add(Area.RULES, Direction.CHANGES, text, meeting.requests)


def _rest(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    yield from _tolerance_and_size(old, new)
    yield from _upgrades(old, new)
    yield from _logins(old, new)


def _logins(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    was, now = old.login, new.login
    if was == now:
        return
    if now is None and was is not None:
        yield Direction.OPENS, f"failed log-ins are not counted: {login_text(was)}"
    elif was is None and now is not None:
        yield Direction.CLOSES, f"failed log-ins are counted: {login_text(now)}"
    elif was is not None and now is not None:
        yield Direction.CHANGES, f"{login_text(was)} -> {login_text(now)}"


def _tolerance_and_size(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    for kind in sorted(new.tolerate - old.tolerate, key=lambda kind: kind.value):
        yield Direction.OPENS, f"paths with {kind.value} are let pass"
    for kind in sorted(old.tolerate - new.tolerate, key=lambda kind: kind.value):
        yield Direction.CLOSES, f"paths with {kind.value} are refused"
    was, now = old.max_body_bytes, new.max_body_bytes
    if was != now:
        way = Direction.CHANGES
        if was is not None and now is not None:
            way = Direction.OPENS if now > was else Direction.CLOSES
        yield way, f"the largest body: {_bytes(was)} -> {_bytes(now)}"


def _upgrades(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    was, now = old.upgrade, new.upgrade
    before = was.protocols if was else frozenset()
    after = now.protocols if now else frozenset()
    for name in sorted(after - before):
        yield Direction.OPENS, f"connections may become {name.decode()}"
    for name in sorted(before - after):
        yield Direction.CLOSES, f"connections may not become {name.decode()}"
    if was is None or now is None:
        return
    if was.close_on_expiry and not now.close_on_expiry:
        yield Direction.OPENS, "tunnels outlive the token they were opened with"
    elif now.close_on_expiry and not was.close_on_expiry:
        yield Direction.CLOSES, "tunnels end with the token they were opened with"
    if was.idle != now.idle:
        way = Direction.OPENS if now.idle > was.idle else Direction.CLOSES
        yield way, f"idle tunnels end: after {was.idle:g}s -> {now.idle:g}s"


def _bytes(size: int | None) -> str:
    return "the limit of the process" if size is None else f"{size} bytes"


def _shown(value: object) -> str:
    """Return a value in a few words; what could be a key has none."""
    match value:
        case None:
            shown = "none"
        case enum.Enum():
            shown = str(value.value)
        case bool():
            shown = "yes" if value else "no"
        case float():
            shown = f"{value:g}s"
        case str() | int():
            shown = str(value)
        case Server():
            shown = f"https://{value.address}" if value.tls else value.address
        case Address():
            shown = str(value)
        case tuple() | frozenset():
            shown = joined(sorted(map(_shown, value)))
        case _ if dataclasses.is_dataclass(value):
            parts = [one.name for one in dataclasses.fields(value)]
            shown = ", ".join(f"{one} {_shown(getattr(value, one))}" for one in parts)
        case _:
            shown = "something"
    return shown
