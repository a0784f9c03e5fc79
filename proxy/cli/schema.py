"""``lumina-proxy schema``: what editors complete and explain policies from."""

import json

import click

from proxy.core.workbench.cases_schema import cases_schema
from proxy.core.workbench.schema import policy_schema


@click.command(short_help="Print the JSON Schema that editors complete from.")
@click.option("--cases", is_flag=True, help="Of test cases, instead of policies.")
def schema(*, cases: bool) -> None:
    """Print the JSON Schema (2020-12) of a policy, with a description of every key.

    An editor with the YAML language server completes keys, explains them and marks
    mistakes while you type, when a policy begins with

    \b
        # yaml-language-server: $schema=schema.json

    The schema knows one file at a time; what takes more to see, check finds.

    \b
    Examples:
        lumina-proxy schema > policies/schema.json
        lumina-proxy schema --cases > policies/cases.schema.json
    """  # noqa: D301 - the \b of click is a backspace
    document = cases_schema() if cases else policy_schema()
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
