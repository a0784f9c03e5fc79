"""Documents that cannot drift from what they describe.

Links lead somewhere, commands that are told exist, every setting is explained, and the
two locks say the same. That every reason is documented is in ``test_architecture``.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {".venv", "node_modules", ".pytest_cache"}
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not NOT_OURS.intersection(path.relative_to(ROOT).parts)
)
MAX_README_LINES = 200
SECTIONS = ["Security", "Removed", "Deprecated", "Added", "Changed", "Fixed"]
"""The order of a version's sections in the changelog: what must be read comes first."""


def named(path: Path) -> str:
    """Return the path as a developer would type it."""
    return path.relative_to(ROOT).as_posix()


def text_of(name: str) -> str:
    """Return what a file of the repository says."""
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(markdown: str) -> set[str]:
    """Return the fragments that a document's headings can be linked by."""
    headings = re.findall(r"^#+ +(.+?) *$", markdown, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def broken_links(document: Path) -> Iterator[str]:
    """Yield the relative links of a document that lead nowhere."""
    markdown = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^()\s]+)\)", markdown):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        path = document.parent / file if file else document
        if not path.exists() or (
            fragment and fragment not in anchors(path.read_text(encoding="utf-8"))
        ):
            yield target


def explained() -> set[str]:
    """Return the variables that .env.example sets."""
    return set(re.findall(r"^([A-Z][A-Z_]*)=", text_of(".env.example"), re.MULTILINE))


def read_by_settings() -> set[str]:
    """Return the string constants of settings.py that look like variables."""
    tree = ast.parse(text_of("proxy/settings.py"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[A-Z]+(_[A-Z]+)*", node.value)
    }


def read_by_policies() -> set[str]:
    """Return the variables that the policies of this repository refer to."""
    return {
        name
        for path in (ROOT / "policies").glob("*.yaml")
        for name in re.findall(r"\$\{([A-Z_]+)", path.read_text(encoding="utf-8"))
    }


def pins(name: str) -> dict[str, str]:
    """Return each package of a lock with its version."""
    return dict(re.findall(r"^([a-z0-9.-]+)\S*==(\S+)", text_of(name), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link of a document names a file, and a heading, that exist."""
    assert list(broken_links(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_told_commands_exist(document: Path) -> None:
    """Each ``make`` verb that a document tells the reader to type exists."""
    verbs = re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE)
    told = re.findall(r"`(?:\$ )?make ([a-z]+)", document.read_text(encoding="utf-8"))

    assert set(told) <= set(verbs)


def test_readme_is_short() -> None:
    """The README can be read in one sitting."""
    assert len(text_of("README.md").splitlines()) <= MAX_README_LINES


def test_every_setting_is_explained() -> None:
    """What the proxy or its policies read is in .env.example."""
    read = {name.removesuffix("_FILE") for name in read_by_settings()}

    assert read | read_by_policies() <= explained()


def test_every_explained_setting_is_read() -> None:
    """.env.example explains nothing that has no effect."""
    assert explained() <= read_by_settings() | read_by_policies()


def test_no_secret_is_given_away() -> None:
    """.env.example leaves every secret empty."""
    secrets = r"^\w*(?:SECRET|KEY|TOKEN|PASSWORD)\w*=.+$"

    assert re.findall(secrets, text_of(".env.example"), re.MULTILINE) == []


def test_changelog_says_what_matters_first() -> None:
    """Each version of the changelog has known sections, security before all else."""
    for version in text_of("CHANGELOG.md").split("\n## ")[1:]:
        sections = re.findall(r"^### (.+)$", version, re.MULTILINE)

        assert sections == [name for name in SECTIONS if name in sections]


def test_locks_agree() -> None:
    """What runs is what was tested: both locks pin the same versions."""
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_locks_are_complete(name: str) -> None:
    """A lock pins by hash, and names no index and no place of one machine."""
    text = text_of(name)
    requirements = re.findall(r"^[^\s#].*$", text, re.MULTILINE)

    assert all(re.search(r"==\S+ .*\\$", line) for line in requirements)
    assert len(requirements) <= text.count("--hash=sha256:")
    assert "://" not in text
