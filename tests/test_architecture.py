"""The rules of the house that no single module can keep alone.

Imports go one way, core is pure, files and functions stay short, every test claims
something, and every reason for a refusal is documented and used. A budget is changed
by a commit that argues for it, in the table it is changed in.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

from proxy.core.reasons import Reason
from tests.own_coverage import EXEMPT, own_arcs, own_test

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "proxy").rglob("*.py"))
CORE = sorted((ROOT / "proxy" / "core").rglob("*.py"))
TESTS = sorted(
    path for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts
)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
LONG_FUNCTIONS: dict[str, str] = {}
"""Functions that may be longer: ``path::name`` to the reason why."""

IMPURE_MODULES = {
    *("asyncio", "concurrent", "multiprocessing", "selectors", "signal", "threading"),
    *("os", "pathlib", "shutil", "socket", "ssl", "subprocess", "tempfile"),
    *("logging", "random", "secrets", "time"),
}
IMPURE_BUILTINS = {"breakpoint", "input", "open", "print"}
IMPURE_NODES = (ast.AsyncFor, ast.AsyncWith, ast.Await)
"""A Protocol may declare ``async def``; core may not wait for it."""

NOT_RUN = {"skip", "skipif", "xfail", "importorskip", "expectedFailure"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(path: Path) -> str:
    """Return the path as a developer would type it."""
    return path.relative_to(ROOT).as_posix()


def nodes(path: Path) -> Iterator[ast.AST]:
    """Yield every node of a source file."""
    return ast.walk(ast.parse(path.read_text(encoding="utf-8"), path))


def functions(path: Path) -> Iterator[Function]:
    """Yield every function and method of a source file, nested ones too."""
    return (node for node in nodes(path) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Count the lines from ``def`` to the end, without the docstring."""
    first = function.body[0]
    assert function.end_lineno is not None
    docstring = 0
    if ast.get_docstring(function) is not None:
        assert first.end_lineno is not None
        docstring = first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - docstring


def impurities(path: Path) -> Iterator[str]:
    """Yield what a file of core must not contain, with its line."""
    for node in nodes(path):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                found = [module]
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
                yield f"{named(path)}:{node.lineno}: {name}()"
                continue
            case ast.comprehension(is_async=1):
                yield f"{named(path)}: async comprehension"
                continue
            case _ if isinstance(node, IMPURE_NODES):
                yield f"{named(path)}:{node.lineno}: {type(node).__name__}"
                continue
            case _:
                continue
        for module in found:
            if module.partition(".")[0] in IMPURE_MODULES:
                yield f"{named(path)}:{node.lineno}: import {module}"


def test_imports_go_one_way() -> None:
    """The import contracts of pyproject.toml hold."""
    command = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", CORE, ids=named)
def test_core_is_pure(path: Path) -> None:
    """A file of core never awaits, and touches nothing outside its arguments."""
    assert list(impurities(path)) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os.path", "import os.path"),
        ("from time import monotonic", "import time"),
        ("import json, random", "import random"),
        ("async def f(): await g()", "Await"),
        ("async def f() -> int: ...", None),
        ("async def f(): return [x async for x in y]", "async comprehension"),
        ("open('x')", "open()"),
        ("import json", None),
    ],
)
def test_impurities_are_noticed(
    source: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of purity finds an import, an await and a call, and no more."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")

    assert [found.rpartition(": ")[2] for found in impurities(path)] == (
        [] if expected is None else [expected]
    )


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_files_stay_short(path: Path) -> None:
    """A file of the proxy fits in its budget of lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_functions_stay_short(path: Path) -> None:
    """A function fits on a screen, its docstring aside, or has a reason not to."""
    long = {
        f"{named(path)}::{function.name}": body_lines(function)
        for function in functions(path)
        if body_lines(function) > MAX_FUNCTION_LINES
    }

    assert {name: n for name, n in long.items() if name not in LONG_FUNCTIONS} == {}


def test_no_budget_is_granted_in_vain() -> None:
    """Each function that may be longer exists and is longer."""
    long = {
        f"{named(path)}::{function.name}"
        for path in SOURCES
        for function in functions(path)
        if body_lines(function) > MAX_FUNCTION_LINES
    }

    assert set(LONG_FUNCTIONS) <= long


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_every_test_claims_something(path: Path) -> None:
    """Each test function has a docstring that says what it shows."""
    silent = [
        f"{named(path)}:{function.lineno}: {function.name}"
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]

    assert silent == []


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_every_test_runs(path: Path) -> None:
    """No test is skipped or expected to fail: what is missing is an error."""
    marks = [
        f"{named(path)}:{node.lineno}: {node.attr}"
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in NOT_RUN
    ]
    imported = [
        f"{named(path)}:{node.lineno}: {alias.name}"
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module in {"pytest", "unittest"}
        for alias in node.names
        if alias.name in NOT_RUN
    ]

    assert marks + imported == []


@pytest.mark.parametrize("path", CORE, ids=named)
def test_every_module_of_core_has_its_own_tests(path: Path) -> None:
    """A module's tests are where one looks for them, or it says why not."""
    own = ROOT / "tests" / "core" / f"{own_test(path.stem)}.py"

    assert own.exists() or path.stem in EXEMPT or not list(functions(path))


def test_no_module_is_exempt_in_vain() -> None:
    """Each module that others' tests may cover exists."""
    assert set(EXEMPT) <= {path.stem for path in CORE}


def test_lines_count_for_the_tests_that_ran_them(tmp_path: Path) -> None:
    """Of a body only what its own tests ran counts, of the rest what anything ran."""
    module = tmp_path / "module.py"
    module.write_text("a = 1\n\n\ndef f():\n    b = 2\n    return b\n")
    measured = coverage.CoverageData(no_disk=True)
    for context, arcs in {
        "": [(-1, 1), (1, 4), (4, -1)],
        "test_module": [(-4, 5)],
        "test_other": [(-4, 5), (5, 6), (6, -4)],
    }.items():
        measured.set_context(context)
        measured.add_arcs({str(module): arcs})

    assert sorted(own_arcs(measured, module)) == [(-4, 5), (-1, 1), (1, 4), (4, -1)]


@pytest.fixture(scope="module")
def documented() -> dict[str, int]:
    """The reasons table of the policy guide: slug to status."""
    text = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| *`([a-z0-9-]+)` *\| *(\d{3}) *\|", text, re.MULTILINE)
    return {slug: int(status) for slug, status in rows}


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_every_reason_is_documented(reason: Reason, documented: dict[str, int]) -> None:
    """The policy guide has a row for each reason, with its status."""
    assert documented.get(reason.slug) == reason.status


def test_every_documented_reason_exists(documented: dict[str, int]) -> None:
    """The policy guide explains no reason that the proxy does not know."""
    assert set(documented) <= {reason.slug for reason in Reason}


def test_slugs_are_unique() -> None:
    """A slug names one reason, in logs, metrics and documents."""
    assert len({reason.slug for reason in Reason}) == len(list(Reason))


def test_every_reason_is_used() -> None:
    """Each reason is given somewhere outside the tables that list them."""
    used = {
        node.attr
        for path in SOURCES
        if path.name not in {"reasons.py", "explanation.py"}
        for node in nodes(path)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Reason"
    }

    assert {reason.name for reason in Reason} - used == set()
