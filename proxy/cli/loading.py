"""How commands read a policy: from the files and variables that the proxy reads."""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from proxy.core.errors import Finding, PolicyError
from proxy.core.policy_parser import Compiled, compile_policy
from proxy.core.yaml_source import variables
from proxy.edge.policy_source import PolicySource, collector_resting
from proxy.settings import Environment

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
"""Of the severities of findings, on a terminal."""

PolicyPath = click.Path(path_type=Path)
DEFAULT_POLICY = Path("policies")


def read_policy(path: Path, *, assume_secrets: bool) -> Compiled:
    """Compile the policy at ``path``.

    Args:
        path: a file, or a folder that is read as one policy.
        assume_secrets: make up a value for every variable that is not set and has no
            default. Fit where nothing depends on secrets.

    Raises:
        PolicyError: it has errors, or cannot be read.
    """
    environment: Mapping[str, str] = Environment(os.environ)
    files = PolicySource(path, environment).read()
    if assume_secrets:
        environment = _assumed(files, environment)
    with collector_resting():
        return compile_policy(files, environment)


def policy_or_exit(path: Path, *, assume_secrets: bool, status: int = 1) -> Compiled:
    """Compile the policy at ``path``, or print its findings and exit."""
    try:
        return read_policy(path, assume_secrets=assume_secrets)
    except PolicyError as error:
        show_findings(error.findings, err=True)
        sys.exit(status)


def show_findings(findings: Sequence[Finding], *, err: bool = False) -> None:
    """Print each finding as a line that editors and CI can jump to."""
    for finding in findings:
        click.secho(str(finding), fg=COLOURS[finding.severity], err=err)


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
