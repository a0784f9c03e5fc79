"""``lumina-proxy audit``: what a sound policy may still risk."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from proxy.cli.loading import (
    DEFAULT_POLICY,
    PolicyPath,
    policy_or_exit,
    show_findings,
)
from proxy.core.workbench.audit import audit as find_risks
from proxy.core.workbench.lints import Lint, Risk

_LINTS = {lint.slug: lint for lint in Lint}


@click.command(short_help="Ask what a reviewer of the policy would ask.")
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
def audit(
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
