"""``lumina-proxy schema``, and the files that editors read."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli.schema import schema

POLICIES = Path(__file__).parents[2] / "policies"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [([], "schema.json"), (["--cases"], "cases.schema.json")],
    ids=["policy", "cases"],
)
def test_committed_schema_is_fresh(arguments: list[str], name: str) -> None:
    """The file beside the policy is what the command prints now."""
    result = CliRunner().invoke(schema, arguments)

    assert result.exit_code == 0
    assert (POLICIES / name).read_text("utf-8") == result.output, (
        f"run: lumina-proxy schema {' '.join(arguments)} > policies/{name}"
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [("lms.yaml", "schema.json"), ("lms.test.yaml", "cases.schema.json")],
)
def test_policy_tells_editors_where_its_schema_is(file: str, name: str) -> None:
    """The delivered files refer to a schema that lies beside them."""
    lines = (POLICIES / file).read_text("utf-8").splitlines()

    assert f"# yaml-language-server: $schema={name}" in lines
    assert json.loads((POLICIES / name).read_text("utf-8"))["title"]
