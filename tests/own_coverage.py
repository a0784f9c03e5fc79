"""Says which module of core is not wholly covered by the tests of its own name.

    python -m tests.own_coverage     after ``coverage combine``; ``make test`` runs it

The whole suite walks through core on its way to somewhere else, so that total coverage
says little of it. Here a line or branch of ``core/x.py`` counts only when
``tests/core/test_x.py`` runs it. What runs at import (the module's own level, not the
bodies of its functions) counts wherever the import came from.

Exit status: 0 all covered, 1 not, or no measurement to read.
"""

import ast
import sys
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "proxy" / "core"

POLICY_PARTS = "test_policy_parser"
"""What ``policy.py`` and ``policy_*.py`` are tested by: the language they make up."""

_WORKBENCH = "covered together with what calls it in the workbench"
_OWED = "a few lines are covered by tests of what uses it alone; its own tests owe them"

EXEMPT = {
    **dict.fromkeys(
        ("access_line", "audit_chain", "belonging", "bill", "bucket"), _OWED
    ),
    **dict.fromkeys(("cipher", "counting", "exchange", "field", "field_keys"), _OWED),
    **dict.fromkeys(("keyring", "limit_fields", "limit_status", "listeners"), _OWED),
    **dict.fromkeys(("owner", "policy", "policy_limits", "policy_lint"), _OWED),
    **dict.fromkeys(("problem", "protection"), _OWED),
    **dict.fromkeys(
        ("advice", "decision", "explanation", "lints", "wording"), _WORKBENCH
    ),
    **dict.fromkeys(("diff_limits", "diff_parts", "diff_requests"), _WORKBENCH),
    "schema_limits": _WORKBENCH,
    "schema_logins": _WORKBENCH,
    "shapes": _WORKBENCH,
    **dict.fromkeys(
        ("cases_schema", "network_schema"),
        "covered by test_schema, as the schema beside it",
    ),
    "reasons": "a table: making its members at import is all that it does",
}
"""Modules that may be covered by others' tests: name to the reason why."""


def own_test(module: str) -> str:
    """Return the name of the test module that has to cover a module of core."""
    return POLICY_PARTS if module.startswith("policy") else f"test_{module}"


def body_lines(source: str) -> set[int]:
    """Return the lines that run when a function is called, not at import."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for line in range(node.lineno + 1, (node.end_lineno or 0) + 1)
    }


def own_arcs(measured: coverage.CoverageData, path: Path) -> list[tuple[int, int]]:
    """Return the arcs of a file that its own tests, or its import, ran."""
    name, inside = str(path), body_lines(path.read_text(encoding="utf-8"))
    measured.set_query_contexts(None)
    at_import = [
        arc
        for arc in measured.arcs(name) or ()
        if not inside.intersection((abs(arc[0]), abs(arc[1])))
    ]
    measured.set_query_context(own_test(path.stem))
    return at_import + list(measured.arcs(name) or ())


def main() -> int:
    """Print a table of what is missing; return the exit status."""
    measured = coverage.CoverageData(str(ROOT / ".coverage"))
    measured.read()
    modules = [path for path in sorted(CORE.rglob("*.py")) if path.stem not in EXEMPT]
    if not measured.measured_files().issuperset(map(str, modules)):
        sys.stderr.write("own_coverage: run `make test` first, all of it\n")
        return 1
    own = coverage.Coverage(data_file=None, config_file=str(ROOT / "pyproject.toml"))
    own.get_data().add_arcs({str(path): own_arcs(measured, path) for path in modules})
    sys.stdout.write("\nModules of core, each by its own tests:\n")
    sys.stdout.flush()
    total = own.report([str(path) for path in modules], show_missing=True)
    return 0 if total == 100.0 else 1


if __name__ == "__main__":
    sys.exit(main())
