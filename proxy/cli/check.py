"""``lumina-proxy check``: is this policy one that the proxy would start with?"""

import dataclasses
import json
from pathlib import Path

import click

from proxy.cli.loading import (
    COLOURS,
    DEFAULT_POLICY,
    PolicyPath,
    read_policy,
    show_findings,
)
from proxy.core.errors import Finding, PolicyError
from proxy.core.policy import Policy


@click.command(short_help="Check a policy: every finding with its place.")
@click.argument("path", type=PolicyPath, envvar="POLICY", default=DEFAULT_POLICY)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--strict", is_flag=True, help="Let warnings fail the check, too.")
@click.option(
    "--assume-secrets",
    is_flag=True,
    help="Put a made-up value (SHA-256 of the name) for every variable that is not set "
    "and has no default, so that a machine without secrets can check the rest. Fit for "
    "HMAC secrets; a public key has to be there.",
)
def check(path: Path, *, as_json: bool, strict: bool, assume_secrets: bool) -> None:
    """Check the policy at PATH the way the proxy reads it at its start.

    PATH is a YAML file, or a folder whose *.yaml are read as one policy. Without it,
    $POLICY is checked, or else ./policies.

    Every finding is one line, so that editors and CI can jump to it:

    \b
        file:line:column: severity: where in the document: what (what to do)

    An error refuses the policy: the proxy would not start with it, and a running proxy
    would keep its last good one. A warning is what was probably forgotten.

    Variables such as ${JWT_SECRET} are taken from the environment, or from the file
    that JWT_SECRET_FILE names. Their values are never printed.

    \b
    Exit status: 0 no errors (with --strict: no findings), 1 otherwise, 2 wrong usage.

    \b
    Examples:
        lumina-proxy check
        lumina-proxy check policies/lms.yaml --strict --assume-secrets
        lumina-proxy check --json | jq -r '.findings[].message'
    """  # noqa: D301 - the \b of click is a backspace
    policy, findings = _checked(path, assume_secrets=assume_secrets)
    ok = policy is not None and not (strict and findings)
    if as_json:
        click.echo(json.dumps(_document(ok=ok, policy=policy, findings=findings)))
    else:
        show_findings(findings)
        click.secho(
            f"{path}: {_summary(policy, findings)}", fg="green" if ok else "red"
        )
    click.get_current_context().exit(0 if ok else 1)


def _checked(
    path: Path, *, assume_secrets: bool
) -> tuple[Policy | None, tuple[Finding, ...]]:
    """Return the policy, None when it is refused, and every finding."""
    try:
        compiled = read_policy(path, assume_secrets=assume_secrets)
    except PolicyError as error:
        return None, error.findings
    return compiled.policy, compiled.warnings


def _summary(policy: Policy | None, findings: tuple[Finding, ...]) -> str:
    counts = {
        severity: sum(finding.severity == severity for finding in findings)
        for severity in COLOURS
    }
    found = ", ".join(_plural(n, word) for word, n in counts.items() if n)
    if policy is None:
        return found
    return ", ".join(
        [
            _plural(len(policy.rules), "rule"),
            _plural(len(policy.limits), "limit"),
            f"digest {policy.digest}: ok",
            *([found] if found else []),
        ]
    )


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _document(
    *, ok: bool, policy: Policy | None, findings: tuple[Finding, ...]
) -> dict[str, object]:
    return {
        "ok": ok,
        "digest": policy.digest if policy else None,
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
