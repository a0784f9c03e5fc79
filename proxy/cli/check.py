"""``lumina-proxy check``: is this policy one that the proxy would start with?"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import click

from proxy.core.errors import Finding, PolicyError
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.yaml_source import variables
from proxy.edge.policy_source import PolicySource
from proxy.settings import Environment

_COLOURS = {"error": "red", "warning": "yellow"}


@click.command(short_help="Check a policy: every finding with its place.")
@click.argument(
    "path", type=click.Path(path_type=Path), envvar="POLICY", default=Path("policies")
)
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
        for finding in findings:
            click.secho(str(finding), fg=_COLOURS[finding.severity])
        click.secho(
            f"{path}: {_summary(policy, findings)}", fg="green" if ok else "red"
        )
    click.get_current_context().exit(0 if ok else 1)


def _checked(
    path: Path, *, assume_secrets: bool
) -> tuple[Policy | None, tuple[Finding, ...]]:
    """Return the policy, None when it is refused, and every finding."""
    environment: Mapping[str, str] = Environment(os.environ)
    try:
        files = PolicySource(path, environment).read()
        if assume_secrets:
            environment = _assumed(files, environment)
        return parse_policy(files, environment)
    except PolicyError as error:
        return None, error.findings


def _assumed(
    files: list[tuple[str, str]], environment: Mapping[str, str]
) -> Mapping[str, str]:
    """Return every variable of the files, made up where nothing else is there."""
    assumed: dict[str, str] = {}
    for name, default in (found for _, text in files for found in variables(text)):
        value = environment.get(name)
        if value is None and default is None:
            value = hashlib.sha256(name.encode()).hexdigest()
        if value is not None:
            assumed[name] = value
    return assumed


def _summary(policy: Policy | None, findings: tuple[Finding, ...]) -> str:
    counts = {
        severity: sum(finding.severity == severity for finding in findings)
        for severity in _COLOURS
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
