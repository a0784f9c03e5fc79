"""The chapter of the policy guide about the workbench, beside what it is about.

Its commands are typed, and their output compared, by ``tests/test_documentation.py``.
"""

import re

import pytest

from proxy.core.workbench.case_keys import CASE, EXPECT
from proxy.core.workbench.lints import Lint
from tests.documents import blocks, rows, text_of

GUIDE = "policies/README.md"
SESSION = text_of(GUIDE).split("\n## A workbench session\n")[1].split("\n## ")[0]
COMMANDS = ("check", "explain", "test", "diff", "audit")


def first_cells() -> set[str]:
    """Return what stands in backquotes in the first cells of the chapter's tables."""
    return {word for row in rows(SESSION) for word in re.findall(r"`([^`]+)`", row[0])}


@pytest.mark.parametrize("lint", Lint, ids=lambda lint: lint.slug)
def test_every_lint_is_in_the_guide(lint: Lint) -> None:
    """The guide says what each lint asks."""
    assert lint.slug in first_cells()


@pytest.mark.parametrize("key", [*CASE, *EXPECT])
def test_every_key_of_a_case_is_in_the_guide(key: str) -> None:
    """The guide says what each key of a test case says."""
    assert key in first_cells()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_shown_with_its_output(command: str) -> None:
    """The session types each command of the workbench and shows what it prints."""
    shown = [
        block.text
        for block in blocks(GUIDE)
        if block.output is not None and block.text.strip() in SESSION
    ]

    assert any(f"lumina-proxy {command} " in text for text in shown)
