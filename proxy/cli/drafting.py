"""How commands write a policy that was drafted: checked, and over nothing."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import click

from proxy.cli.loading import show_findings
from proxy.cli.metrics_port import fail
from proxy.core.errors import PolicyError
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench.sketch import Operation, draft
from proxy.core.yaml_source import variables

with_output = click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the policy to this new file instead of standard output.",
)


def write_draft(
    operations: Sequence[Operation],
    output: Path | None,
    *,
    source: str,
    backend: str | None = None,
) -> None:
    """Draft a policy, check it, and write it; exit when that cannot be."""
    try:
        text = draft(operations, source=source, backend=backend)
    except ValueError as error:
        fail(f"{source}: {error}")
    name = str(output or "draft.yaml")
    secrets = {
        variable: hashlib.sha256(variable.encode()).hexdigest()
        for variable, default in variables(text)
        if default is None
    }
    try:
        policy, warnings = parse_policy([(name, text)], secrets)
    except PolicyError as error:
        show_findings(error.findings, err=True)
        fail(f"{source}: no policy could be drafted; what is above it is our mistake")
    if output is None:
        click.echo(text, nl=False)
    else:
        try:
            with output.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            fail(f"{output} is there already, and nothing is written over")
        except OSError as error:
            fail(f"{output} cannot be written: {error.strerror}")
    show_findings(warnings, err=True)
    told = f"{len(policy.rules)} rules, {len(policy.fields)} fields that look personal"
    click.secho(f"{name}: {told}; nothing is enforced yet", fg="green", err=True)
