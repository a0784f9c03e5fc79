"""``lumina-proxy policy``: the policies that were in force, and the way back to one."""

import datetime as dt
import json
import os
import sys
import time
from pathlib import Path

import click

from proxy.cli.loading import show_findings
from proxy.cli.metrics_port import ask, fail
from proxy.core.errors import PolicyError
from proxy.core.policy_parser import compile_policy
from proxy.core.workbench.wording import joined
from proxy.core.yaml_source import variables
from proxy.edge.policy_history import Kept, PolicyHistory
from proxy.settings import Environment

WAIT_SECONDS = 30.0

_with_state = click.option(
    "--state",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="POLICY_STATE",
    required=True,
    help="The folder in which the proxy keeps policies. [POLICY_STATE]",
)
_with_url = click.option(
    "--url",
    envvar="METRICS_URL",
    help="Wait until the proxy with this metrics port has it in force. [METRICS_URL]",
)


@click.group("policy", short_help="List the last policies, and go back to one.")
def policy() -> None:
    """List the last policies that were in force, and go back to one.

    A proxy with POLICY_STATE keeps the last ten there, as they were written. To go back
    is to pin one: every proxy with that folder loads it instead of what is on disk, now
    and after a restart, until it is released. Nobody's files are changed.

    \b
    Examples:
        lumina-proxy policy history --help
        lumina-proxy policy rollback --help
        lumina-proxy policy release --help
    """  # noqa: D301 - the \b of click is a backspace


@policy.command()
@_with_state
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def history(folder: Path, *, as_json: bool) -> None:
    """List the policies that were in force, the latest first."""
    kept, pinned = PolicyHistory(folder).all(), PolicyHistory(folder).pinned
    if as_json:
        rows = [
            {"digest": one.digest, "since": one.since, "files": len(one.files)}
            for one in kept
        ]
        click.echo(json.dumps({"pinned": pinned, "policies": rows}))
        return
    for one in kept:
        mark = "  pinned" if one.digest == pinned else ""
        click.echo(f"{one.digest}  since {_when(one)}, {_plural(one)}{mark}")
    if not kept:
        click.echo(f"{folder} keeps no policy")


@policy.command()
@click.argument("digest", required=False)
@_with_state
@_with_url
def rollback(digest: str | None, folder: Path, url: str | None) -> None:
    """Go back to the policy DIGEST, or to the one before.

    It is pinned: proxies that look into the folder load it within POLICY_POLL, or at
    SIGHUP, and say so in their log, on /policy and /ready, and in lumina_policy_pinned.
    What is on disk is not read until `lumina-proxy policy release`. A policy that this
    version would refuse is not pinned.
    """
    kept = PolicyHistory(folder)
    chosen = _chosen(kept, digest)
    try:
        _check(chosen)
        kept.pin(chosen.digest)
    except PolicyError as error:
        show_findings(error.findings, err=True)
        sys.exit(1)
    except OSError as error:
        fail(f"{folder} cannot be written: {error.strerror}")
    click.echo(f"{chosen.digest} is pinned, which was in force since {_when(chosen)}")
    if url:
        _wait(url, chosen.digest)
    click.echo("What is on disk is not read until: lumina-proxy policy release")


@policy.command()
@_with_state
def release(folder: Path) -> None:
    """Let what is on disk come into force again.

    A policy on disk that is refused leaves the one that was pinned in force.
    """
    kept = PolicyHistory(folder)
    pinned = kept.pinned
    if pinned is None:
        click.echo("No policy is pinned")
        return
    try:
        kept.release()
    except OSError as error:
        fail(f"{folder} cannot be written: {error.strerror}")
    click.echo(f"{pinned} is released: proxies read what is on disk again")


def _chosen(kept: PolicyHistory, digest: str | None) -> Kept:
    """Return the policy of that digest, or the one before the one in force."""
    if digest is not None:
        found = [one for one in kept.all() if one.digest.startswith(digest)]
        if len(found) != 1:
            fail(f"{len(found)} policies that are kept have a digest like {digest}")
        return found[0]
    policies, pinned = kept.all(), kept.pinned
    names = [one.digest for one in policies]
    before = names.index(pinned) + 1 if pinned in names else 1
    if before >= len(policies):
        fail("There is no policy before the one in force")
    return policies[before]


def _check(kept: Kept) -> None:
    """See that this version reads a policy, where its variables are to be had.

    Raises:
        PolicyError: it does not.
    """
    environment = Environment(os.environ)
    found = dict(one for _, text in kept.files for one in variables(text))
    missing = sorted(
        name
        for name, default in found.items()
        if default is None and name not in environment
    )
    if missing:
        click.echo(f"Not checked here, where there is no {joined(missing, 'or')}")
    else:
        compile_policy(kept.files, environment)


def _wait(url: str, digest: str) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while (state := ask(url, "/policy", None)).get("digest") != digest:
        if time.monotonic() > until:
            fail(f"{url} has {state.get('digest')} in force still; look into its log")
        time.sleep(0.2)
    click.echo(f"It is in force at {url}")


def _when(kept: Kept) -> str:
    return f"{dt.datetime.fromtimestamp(kept.since, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _plural(kept: Kept) -> str:
    return "1 file" if len(kept.files) == 1 else f"{len(kept.files)} files"
