"""``lumina-proxy why``: which rule, stage and reason refused a request."""

import dataclasses
import datetime as dt
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from proxy.cli.loading import DEFAULT_POLICY, PolicyPath, read_policy
from proxy.cli.metrics_port import ask, fail, with_metrics_port
from proxy.core.errors import PolicyError, Refused
from proxy.core.policy_parser import Compiled
from proxy.core.reasons import Reason
from proxy.core.stages import stage_of
from proxy.core.workbench.advice import advice
from proxy.core.workbench.decision import Decision
from proxy.core.workbench.log_lines import LogLine, read_line

_REASONS = {reason.slug: reason for reason in Reason}


@click.command(short_help="Say which rule, stage and reason refused a request.")
@click.argument("request_id", metavar="ID")
@click.option(
    "--log",
    type=click.File(encoding="utf-8", errors="replace"),
    help="Look in this access log instead; - is standard input.",
)
@click.option(
    "--policy",
    type=PolicyPath,
    envvar="POLICY",
    default=DEFAULT_POLICY,
    help="The policy's file or folder, for the place of the rule. [POLICY]",
)
@with_metrics_port
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def why(
    request_id: str,
    policy: Path,
    url: str,
    token: str | None,
    *,
    log: IO[str] | None,
    as_json: bool,
) -> None:
    """Say which rule, stage and reason refused the request ID, and what to do.

    ID is what the client was given: request_id of the answer, and its X-Request-ID.
    A running proxy remembers its last refusals, and those that shadow mode only
    noted; older ones are in its access log (--log).

    \b
    Exit status: 0 found, 1 not found, 2 wrong usage.

    \b
    Examples:
        lumina-proxy why "$(curl -s http://127.0.0.1:8080/x | jq -r .request_id)"
    """  # noqa: D301 - the \b of click is a backspace
    if log is not None:
        line = _in_log(log, request_id)
    else:
        where = urllib.parse.quote(request_id, safe="")
        line = _known(ask(url, f"/refusals/{where}", token))
    reason = _REASONS.get(line.reason or line.shadow)
    if reason is None:
        fail(f"{request_id} was not refused: it was answered with {line.status}")
    line = dataclasses.replace(line, stage=line.stage or stage_of(reason).value)
    compiled = _compiled(policy)
    told = _told(line, reason, compiled)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(line), **told}, indent=2))
        return
    for text in _lines(line, reason, told):
        click.echo(text)


def _in_log(log: IO[str], request_id: str) -> LogLine:
    """Return the last line of a request."""
    found = None
    for text in log:
        if request_id not in text:
            continue
        try:
            line = read_line(text)
        except ValueError:
            continue
        if line.request_id == request_id:
            found = line
    if found is None:
        fail(f"No line of this log is about {request_id}")
    return found


def _known(answer: dict[str, Any]) -> LogLine:
    """Return what a proxy remembers, as its log would have it."""
    shadow = answer.pop("shadow", False)
    if shadow:
        answer = {**answer, "shadow": answer.get("reason"), "reason": ""}
    return read_line(json.dumps(answer))


def _compiled(path: Path) -> Compiled | None:
    try:
        return read_policy(path, assume_secrets=True)
    except PolicyError:
        return None  # the refusal is explained without


def _told(
    line: LogLine, reason: Reason, compiled: Compiled | None
) -> dict[str, str | None]:
    """Return what the policy adds to what is known."""
    told: dict[str, str | None] = {
        "meaning": reason.title,
        "place": None,
        "policy_here": None,
        "advice": "",
    }
    if compiled is None:
        return told
    rules = {rule.id: rule for rule in compiled.policy.rules}
    decision = Decision(
        method=line.method,
        path=line.path or "/",
        rule=rules.get(line.rule),
        role=line.role,
        refused=Refused(reason, line.detail),
    )
    places = compiled.draft.rule_places()
    return told | {
        "place": str(places[line.rule]) if line.rule in places else None,
        "policy_here": compiled.policy.digest,
        "advice": advice(compiled.policy, decision),
    }


def _lines(line: LogLine, reason: Reason, told: dict[str, str | None]) -> Iterator[str]:
    verdict = click.style(f"{reason.status} {reason.slug}", fg="red", bold=True)
    word = "refused" if line.reason else "served, and in shadow mode it would have been"
    asking = f" as {line.role}" if line.role else ""
    yield f"{line.method} {line.path}{asking}: {word} {verdict}"
    when = dt.datetime.fromtimestamp(line.ts, dt.UTC)
    yield f"  when      {when:%Y-%m-%d %H:%M:%S} UTC"
    yield f"  stage     {line.stage}"
    yield f"  reason    {told['meaning']}"
    if line.detail:
        yield f"            {line.detail}"
    place = f", in {told['place']}" if told["place"] else ""
    yield f"  rule      {line.rule or 'none'}{place}"
    here = ""
    if told["policy_here"] and line.policy != told["policy_here"]:
        here = f" (the files here are another one: {told['policy_here']})"
    yield f"  policy    {line.policy or 'none'}{here}"
    if told["advice"]:
        yield f"What to do: {told['advice']}"
