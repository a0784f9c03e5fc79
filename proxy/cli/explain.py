"""``lumina-proxy explain``: what the policy says about one request, and why."""

import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from proxy.cli.loading import DEFAULT_POLICY, PolicyPath, policy_or_exit
from proxy.core.listeners import DEFAULT_LISTENER
from proxy.core.policy import Policy
from proxy.core.policy_parser import Compiled
from proxy.core.policy_values import guess
from proxy.core.workbench.advice import advice
from proxy.core.workbench.cases import CLIENT
from proxy.core.workbench.decision import (
    Decision,
    Facts,
    Identify,
    Rival,
    decide,
    rivals,
    with_roles,
    with_token,
    without_token,
)
from proxy.core.workbench.explanation import Verdict, steps
from proxy.core.workbench.wording import match_text, rate_text, upgrade_text

_COLOURS = {Verdict.OK: "green", Verdict.REFUSED: "red", Verdict.NOT_REACHED: None}


@click.command(short_help="Explain what the policy says about one request.")
@click.argument("method")
@click.argument("path")
@click.option("--role", help="Ask as somebody whose token has this role.")
@click.option(
    "--token",
    help="Ask with this token; - reads it from standard input. It is verified as the "
    "proxy would, and never printed.",
)
@click.option("--listener", help="Ask at this port of the policy; the usual is LISTEN.")
@click.option("--client", help="Ask from this address.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    help="Ask with this field; may be given several times.",
)
@click.option("--anyone", is_flag=True, help="Ask without a token; the usual.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--policy",
    type=PolicyPath,
    envvar="POLICY",
    default=DEFAULT_POLICY,
    help="The policy's file or folder. [POLICY]",
)
def explain(
    method: str,
    path: str,
    policy: Path,
    *,
    role: str | None,
    token: str | None,
    listener: str | None,
    client: str | None,
    headers: tuple[str, ...],
    anyone: bool,
    as_json: bool,
) -> None:
    """Explain what the policy says about METHOD PATH, stage by stage.

    It says which rule matches and which others lost to it, what each stage of the proxy
    decides, the limits that the request takes from, and the fields of its body and of
    the answer with what the role gets to see. A refusal is told with its reason, what
    that means and what to do. Nothing is sent, and no limit is touched.

    Only --token needs the secrets of the policy. What a rule asks beside a role
    (scopes, owner, when, addresses) is decided as soon as there is a --token, a
    --client or a --header, and else taken for granted.

    \b
    Exit status: 0 the request is allowed, 1 it is refused (or the policy is), 2 wrong
    usage.

    \b
    Examples:
        lumina-proxy explain GET /api/users/7 --role teacher
        lumina-proxy explain POST /api/auth/login --json
    """  # noqa: D301 - the \b of click is a backspace
    if method != method.upper():
        hint = f"methods are written in upper case: {method.upper()}"
        raise click.BadParameter(hint, param_hint="METHOD")
    if sum((role is not None, token is not None, anyone)) > 1:
        raise click.UsageError("--role, --token and --anyone exclude each other.")
    compiled = _at(policy_or_exit(policy, assume_secrets=token is None), listener)
    who, asking = _who(compiled.policy, role, token)
    facts = None
    if token is not None or client or headers:
        facts = _facts(client, headers)
    decision = decide(compiled.policy, method, path, who, facts)
    lost = rivals(compiled.policy, decision)
    if as_json:
        click.echo(json.dumps(_document(compiled, decision, lost, asking), indent=2))
    else:
        for line in _lines(compiled, decision, lost, asking):
            click.echo(line)
    click.get_current_context().exit(1 if decision.refused else 0)


def _at(compiled: Compiled, listener: str | None) -> Compiled:
    """Return what is in force at a listener."""
    known = compiled.policy.listeners
    if listener is not None and listener not in known:
        text = f"unknown listener {listener!r} ({guess(listener, known)})"
        raise click.BadParameter(text, param_hint="--listener")
    policy = compiled.policy.at(listener or DEFAULT_LISTENER)
    return dataclasses.replace(compiled, policy=policy)


def _facts(client: str | None, headers: tuple[str, ...]) -> Facts:
    fields = {}
    for field in headers:
        name, separator, value = field.partition("=")
        if not separator:
            raise click.BadParameter(f"{field!r} is not NAME=VALUE")
        fields[name.lower()] = value
    return Facts(client=client or CLIENT, headers=fields, now=time.time())


def _who(policy: Policy, role: str | None, token: str | None) -> tuple[Identify, str]:
    """Return who is asking, and how to call them."""
    now = time.time()
    if token is not None:
        text = (sys.stdin.read() if token == "-" else token).strip()  # noqa: S105
        return with_token(policy, text.removeprefix("Bearer "), now), "with the token"
    if role is None:
        return without_token(policy, now), "as anyone"
    if role not in policy.roles:
        hint = guess(role, policy.roles)
        raise click.BadParameter(f"unknown role {role!r} ({hint})", param_hint="--role")
    return with_roles(role), f"as {role}"


def _lines(
    compiled: Compiled, decision: Decision, lost: Sequence[Rival], asking: str
) -> Iterator[str]:
    reason = decision.reason
    verdict = f"refused, {reason.status} {reason.slug}" if reason else "allowed"
    colour = "red" if reason else "green"
    asked = f"{decision.method} {decision.path} {asking}"
    yield f"{asked}: {click.style(verdict, fg=colour, bold=True)}"
    if decision.rule and decision.rule.shadow:
        yield "  (in shadow mode: what is decided is noted, and not enforced)"
    for step in steps(decision):
        word = step.verdict.value
        mark = click.style(word, fg=_COLOURS[step.verdict]) + " " * (13 - len(word))
        first, *more = step.details or ("",)
        yield f"  {step.stage.value:<14}{mark}{first}".rstrip()
        yield from (f"{'':<29}{detail}" for detail in more)
    if decision.rule and not reason:
        yield f"  {'backend':<27}{decision.rule.backend.id}"
        if upgrade := decision.rule.upgrade:
            yield f"  {'may become':<27}{upgrade_text(upgrade)}"
    if decision.rule:
        place = compiled.draft.rule_places()[decision.rule.id]
        yield f"The rule {decision.rule.id} is in {place}."
    for rival in lost:
        rule = rival.rule
        yield f"Not {rule.id} ({match_text(rule)}): {rival.why}."
    if reason:
        yield f"What to do: {advice(compiled.policy, decision)}"


def _document(
    compiled: Compiled, decision: Decision, lost: Sequence[Rival], asking: str
) -> dict[str, object]:
    rule, reason = decision.rule, decision.reason
    return {
        "policy": compiled.policy.digest,
        "method": decision.method,
        "path": decision.path,
        "asking": asking,
        "allowed": reason is None,
        "status": reason.status if reason else None,
        "reason": reason.slug if reason else None,
        "meaning": reason.title if reason else None,
        "detail": decision.refused.detail if decision.refused else None,
        "advice": advice(compiled.policy, decision),
        "rule": rule.id if rule else None,
        "match": match_text(rule) if rule else None,
        "place": str(compiled.draft.rule_places()[rule.id]) if rule else None,
        "params": dict(decision.params),
        "role": decision.role or None,
        "shadow": bool(rule and rule.shadow),
        "taken_for_granted": decision.granted,
        "rivals": [
            {"rule": rival.rule.id, "match": match_text(rival.rule), "why": rival.why}
            for rival in lost
        ],
        "stages": [
            {
                "stage": step.stage.value,
                "verdict": step.verdict.value,
                "details": step.details,
            }
            for step in steps(decision)
        ],
        **_effects(decision),
    }


def _effects(decision: Decision) -> dict[str, object]:
    """Return what happens to a request that is allowed."""
    rule = decision.rule
    return {
        "limits": [
            {
                "id": take.id,
                "per": take.quota.per.value,
                "rate": rate_text(take.limit),
                "burst": take.limit.burst,
            }
            for take in decision.takes
        ],
        "unlimited": [limit.id for limit in decision.unlimited],
        "request_fields": [
            {"path": place, "field": field} for place, field in decision.encrypted
        ],
        "response_fields": [
            {"path": place, "field": field, "view": view.value}
            for place, field, view in decision.shown
        ],
        "backend": rule.backend.id if rule and not decision.refused else None,
        "may_become": sorted(name.decode() for name in rule.upgrade.protocols)
        if rule and rule.upgrade and not decision.refused
        else [],
    }
