"""``lumina-proxy audit``: what a policy may risk, and whether a log was touched."""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from proxy.cli.loading import (
    DEFAULT_POLICY,
    PolicyPath,
    policy_or_exit,
    show_findings,
)
from proxy.core.audit_chain import Head, Verified
from proxy.core.audit_chain import verify as verify_lines
from proxy.core.audit_keys import audit_keys
from proxy.core.workbench.audit import audit as find_risks
from proxy.core.workbench.lints import Lint, Risk
from proxy.settings import Environment

_LINTS = {lint.slug: lint for lint in Lint}


class _Audits(click.Group):
    """Commands of which the first is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``policy`` before what names no command."""
        names = (*self.commands, *ctx.help_option_names)
        if not args or args[0] not in names:
            args = ["policy", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Audits, short_help="Review a policy, or verify the audit log.")
def audit() -> None:
    """Ask what a reviewer of the policy would ask, or verify the audit log.

    Without a command, the policy is asked: `lumina-proxy audit policies` is
    `lumina-proxy audit policy policies`.

    \b
    Examples:
        lumina-proxy audit
        lumina-proxy audit policies --strict --ignore shared-secret
        lumina-proxy audit verify --help
    """  # noqa: D301 - the \b of click is a backspace


@audit.command(short_help="Ask what a reviewer of the policy would ask. The usual.")
@click.argument("path", type=PolicyPath, envvar="POLICY", default=DEFAULT_POLICY)
@click.option(
    "--ignore",
    type=click.Choice(list(_LINTS)),
    multiple=True,
    metavar="LINT",
    help="Leave out a lint; may be given several times.",
)
@click.option("--strict", is_flag=True, help="Let notes fail the audit, too.")
@click.option("--list", "list_lints", is_flag=True, help="List the lints and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def policy(
    path: Path,
    ignore: tuple[str, ...],
    *,
    strict: bool,
    list_lints: bool,
    as_json: bool,
) -> None:
    """Ask of the policy at PATH what a reviewer would ask.

    check finds what is wrong or forgotten. This finds what is sound and may still not
    be meant: a login that can be tried a thousand times a minute, a secret in a file, a
    value that one method encrypts and another does not. A warning is seldom meant, a
    note often. No secret is needed; those that are there are looked at, and not shown.

    \b
    Exit status: 0 no warning (with --strict: no note either), 1 otherwise, 2 wrong
    usage.

    \b
    Examples:
        lumina-proxy audit
        lumina-proxy audit policies --strict --ignore shared-secret
        lumina-proxy audit --list
    """  # noqa: D301 - the \b of click is a backspace
    if list_lints:
        for lint in Lint:
            click.echo(f"{lint.slug:<22}{lint.severity:<9}{lint.why}")
        return
    compiled = policy_or_exit(path, assume_secrets=True)
    ignored = [_LINTS[slug] for slug in ignore]
    risks = find_risks(compiled.policy, compiled.draft, ignored)
    failing = [risk for risk in risks if strict or risk.lint.severity == "warning"]
    if as_json:
        click.echo(json.dumps(_document(risks, ok=not failing), indent=2))
    else:
        show_findings([risk.finding for risk in risks])
        click.secho(f"{path}: {_summary(risks)}", fg="red" if failing else "green")
    click.get_current_context().exit(1 if failing else 0)


@audit.command(short_help="Say whether lines of an audit log were touched.")
@click.argument(
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    nargs=-1,
    required=True,
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    metavar="SEQ:MAC",
    help="A line that must be there: what an earlier verify printed, kept elsewhere.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(
    files: tuple[Path, ...], checkpoints: tuple[str, ...], *, as_json: bool
) -> None:
    """Verify FILES, the parts of one audit log from the oldest to the newest.

    Each line is bound to all before it with AUDIT_KEY, or with a key derived from
    ENCRYPTION_KEY; both may be given as NAME_FILE. A line that was changed, removed or
    moved is named. Lines cut off at the end leave no trace in the log itself: give a
    checkpoint, which this command prints, the log of the proxy repeats, and an intruder
    cannot take back.

    \b
    Exit status: 0 untouched, 1 touched, 2 wrong usage.

    \b
    Examples:
        lumina-proxy audit verify audit.jsonl
        lumina-proxy audit verify audit.jsonl.1 audit.jsonl --json
    """  # noqa: D301 - the \b of click is a backspace
    environment = Environment(os.environ)
    try:
        kept = [Head.parse(text) for text in checkpoints]
        keys = audit_keys(
            environment.get("AUDIT_KEY", ""), environment.get("ENCRYPTION_KEY", "")
        )
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    found = verify_lines(keys, _lines(files), kept)
    if as_json:
        click.echo(json.dumps(_verified(found), indent=2))
    else:
        _show_verified(found)
    click.get_current_context().exit(0 if found.intact else 1)


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            yield from file


def _verified(found: Verified) -> dict[str, object]:
    return {
        "intact": found.intact,
        "lines": found.lines,
        "checkpoint": str(found.head),
        "events": found.events,
        "flaws": [dataclasses.asdict(flaw) for flaw in found.flaws],
    }


def _show_verified(found: Verified) -> None:
    for flaw in found.flaws:
        colour = "red" if flaw.tampering else "yellow"
        click.secho(f"line {flaw.line}: {flaw.says}", fg=colour)
    count = f"{found.lines} line{'s' * (found.lines != 1)}"
    verdict = "untouched" if found.intact else "TOUCHED"
    click.secho(f"{count}: {verdict}", fg="green" if found.intact else "red")
    click.echo(f"checkpoint: {found.head}")


def _summary(risks: Sequence[Risk]) -> str:
    counts = {
        severity: sum(risk.lint.severity == severity for risk in risks)
        for severity in ("warning", "note")
    }
    found = (f"{n} {word}{'s' * (n > 1)}" for word, n in counts.items() if n)
    return ", ".join(found) or "nothing to ask"


def _document(risks: Sequence[Risk], *, ok: bool) -> dict[str, object]:
    return {
        "ok": ok,
        "risks": [
            {
                "lint": risk.lint.slug,
                "severity": risk.lint.severity,
                "file": risk.at.file,
                "line": risk.at.line,
                "column": risk.at.column,
                "path": risk.at.path,
                "message": risk.message,
                "why": risk.lint.why,
            }
            for risk in risks
        ],
    }
