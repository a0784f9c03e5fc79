"""Documents that cannot drift from what they describe.

Links lead somewhere; what a reader is told to type does what the document says; every
setting is explained; every metric that is named exists; the threat model names tests
that exist. Reasons are looked after by ``test_architecture``, and the language of
policies by ``test_policy_guide``.
"""

import ast
import os
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.__main__ import COMMANDS, main
from proxy.core.authn import VerificationKey
from proxy.core.keyset import Keyset
from proxy.core.policy_parser import parse_policy
from proxy.settings import Settings
from tests.benchmarks.__main__ import parse as parse_flags
from tests.documents import (
    DOCUMENTS,
    ROOT,
    Block,
    anchors,
    blocks,
    matches,
    named,
    rows,
    text_of,
)
from tests.e2e.conftest import Stack
from tests.nginx.edge import HOST, edge
from tests.terminal import Terminal, make_verbs

MAX_README_LINES = 200
SECTIONS = ["Security", "Removed", "Deprecated", "Added", "Changed", "Fixed"]
"""The order of a version's sections in the changelog: what must be read comes first."""


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
    """Return the string constants of what reads settings that look like variables."""
    readers = ("proxy/settings.py", "proxy/edge/keystore/configured.py")
    return {
        node.value
        for name in readers
        for node in ast.walk(ast.parse(text_of(name)))
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


VERBS = re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_told_commands_exist(document: Path) -> None:
    """Each ``make`` verb and ``lumina-proxy`` command that prose names exists."""
    text = text_of(named(document))

    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(VERBS)
    assert set(re.findall(r"`lumina-proxy ([a-z]+)", text)) <= set(COMMANDS)


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


def test_explained_values_are_the_defaults() -> None:
    """Sourced as it is, .env.example changes nothing; its commands make good keys."""
    lines = re.findall(r"^#   (.+)$", text_of(".env.example"), re.MULTILINE)
    secrets = {"JWT_SECRET": lines[0], "ENCRYPTION_KEY": lines[1]}
    script = "\n".join(
        [
            "set -aeu",
            ". ./.env.example",
            *(f"{name}=$({command})" for name, command in secrets.items()),
            "env --null",
        ]
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    sourced = dict(line.split("=", 1) for line in done.stdout.split("\0")[:-1])
    keys = {name: sourced[name] for name in secrets}

    assert len(lines) == len(secrets)
    assert Settings.read(sourced) == Settings.read(keys)
    assert Keyset.from_text(keys["ENCRYPTION_KEY"]).key_ids
    assert VerificationKey.load(keys["JWT_SECRET"], ("HS256",)).kid is None
    files = [("lms.yaml", text_of("policies/lms.yaml"))]
    one, other = (parse_policy(files, variables)[0] for variables in (sourced, keys))
    assert (one.backends, one.limits) == (other.backends, other.limits)


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


MODULES = sorted(
    path
    for folder in ("core", "edge")
    for path in (ROOT / "proxy" / folder).glob("*.py")
    if path.stem != "__init__"
)


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_every_module_is_on_the_map(module: Path) -> None:
    """The code map says in a word what each module of core and edge is for."""
    text = text_of("proxy/ARCHITECTURE.md")
    after = text.split(f"In `{module.parent.name}/`: ")[1].split("\n\n")[0]

    assert f"`{module.stem}`" in after


def test_what_the_map_points_at_is_there() -> None:
    """A class, and what of it, that ARCHITECTURE names exists."""
    sources = "".join(path.read_text() for path in (ROOT / "proxy").rglob("*.py"))
    pointed = re.findall(r"`([A-Z]\w+)\.(\w+)`", text_of("proxy/ARCHITECTURE.md"))

    assert pointed
    assert [one for one, _ in pointed if f"\nclass {one}" not in sources] == []
    assert [one for _, one in pointed if f"def {one}(" not in sources] == []


# What a reader is told to type.

GUIDES = [
    *("README.md", "nginx/README.md", "policies/README.md"),
    *("tests/benchmarks/README.md", "proxy/KEYS.md"),
]
"""The documents that tell their reader to type something."""

ELSEWHERE = ["grafana/README.md"]
"""As above, typed by ``grafana/test_live.py`` beside what these speak of."""

SECRET = "a secret of this test, long enough for SHA-256"


def typed(name: str) -> list[Block]:
    """Return the blocks of a document that are typed into a terminal."""
    return [block for block in blocks(name) if block.language == "console"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_blocks_say_what_they_are(document: Path) -> None:
    """What is typed stands in a console block, so that no command goes untested."""
    programs = r"^(?:\$ |make |curl |lumina-proxy |python3? |pip |docker )"
    name = named(document)
    unmarked = [
        block.where
        for block in blocks(name)
        if block.language not in {"console", "yaml"}
        and re.search(programs, block.text, re.MULTILINE)
    ]

    assert unmarked == []
    assert name in GUIDES + ELSEWHERE or typed(name) == []


@pytest.mark.parametrize("name", GUIDES + ELSEWHERE)
def test_told_make_verbs_do_something(name: str) -> None:
    """Make knows every verb that is told, and the benchmarks know their flags."""
    for block in typed(name):
        for line in make_verbs(block.text):
            words = shlex.split(line)
            done = subprocess.run(
                ["make", "--dry-run", *words],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )

            assert (done.returncode, done.stderr) == (0, ""), block.where
            assert {word for word in words if "=" not in word} <= set(VERBS)
            for word in words:
                if word.startswith("BENCH="):
                    parse_flags(shlex.split(word.removeprefix("BENCH=")))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The services that a reader has running, as ``make run`` starts them."""
    running = Stack(tmp_path_factory.mktemp("stack"), {})
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def before(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The edge in front of them, as the variables that its runbook uses."""
    with edge(tmp_path_factory.mktemp("edge"), f"127.0.0.1:{stack.data}") as running:
        yield {
            "NAME": HOST,
            "EDGE": f"127.0.0.1:{running.https}",
            "STATUS": f"127.0.0.1:{running.status}",
        }


KEYS = {"JWT_SECRET": SECRET, "ENCRYPTION_KEY": "A" * 43}
"""What a reader has set up, as the README says."""


@pytest.mark.parametrize("name", GUIDES)
def test_told_commands_do_what_is_said(
    name: str, stack: Stack, before: dict[str, str], tmp_path: Path
) -> None:
    """Typed from top to bottom, a document's commands print what it says."""
    for block in blocks(name):
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    told = [block for block in typed(name) if not make_verbs(block.text)]
    if not told:
        return
    terminal = Terminal(tmp_path, stack, {**KEYS, **before})
    seen = terminal.type(told)

    for block, output in zip(told, seen, strict=True):
        if block.output is not None:
            assert matches(block.output, output), f"{block.where}: {output}"


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_the_help_run(command: str, stack: Stack, tmp_path: Path) -> None:
    """Each command's help has examples, and each of them exits 0."""
    text = CliRunner().invoke(main, [command, "--help"], terminal_width=200).output
    examples = re.search(r"Examples:\n((?: {4}.*\n)+)", text)
    assert examples
    lines = [line.strip() for line in examples[1].splitlines()]
    terminal = Terminal(tmp_path, stack, KEYS)
    typed_lines = [Block(f"{command} --help: {one}", "console", one) for one in lines]

    assert all(one.startswith(f"lumina-proxy {command}") for one in lines)
    assert len(terminal.type(typed_lines)) == len(lines)


METRIC = re.compile(r"`(lumina_[a-z_]+)(?:\{[^`]*\})?`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_named_metrics_exist(document: Path, stack: Stack) -> None:
    """A metric that a document speaks of is on the metrics port."""
    url = f"http://127.0.0.1:{stack.metrics}/metrics"
    with urllib.request.urlopen(url) as response:
        shown = response.read().decode()
    known = set(re.findall(r"^# TYPE (\S+)", shown, re.MULTILINE))

    assert set(METRIC.findall(text_of(named(document)))) <= known


# The threat model.

THREATS = "proxy/THREAT_MODEL.md"
GROUPS = [
    *("Spoofing", "Tampering", "Repudiation", "Information disclosure"),
    *("Denial of service", "Elevation of privilege"),
]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def threats() -> list[list[str]]:
    """Return the rows of the threat model: id, threat, what stops it, tests."""
    text = text_of(THREATS)
    tables = [text.split(f"\n### {group}\n")[1].split("\n#")[0] for group in GROUPS]
    return [row for table in tables for row in rows(table)]


def names_of(path: str) -> set[str]:
    """Return the names of the test functions of a module."""
    tree = ast.parse(text_of(path))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("threat", threats(), ids=lambda row: row[0])
def test_every_threat_names_tests_that_exist(threat: list[str]) -> None:
    """Each row has a test to show what it says, and no test that is not there."""
    [_, _, stops, shown] = threat
    tests = TEST.findall(shown)

    assert stops
    assert tests
    assert [test for file, test in tests if test not in names_of(file)] == []
    assert TEST.sub("", shown).replace(",", "").strip() == ""


def test_every_attack_on_the_whole_is_a_threat() -> None:
    """What test_hardening and test_secrets show stands in the threat model."""
    shown = {name for row in threats() for _, name in TEST.findall(row[3])}
    attacks = names_of("tests/e2e/test_hardening.py") | names_of(
        "tests/e2e/test_secrets.py"
    )

    assert {name for name in attacks if name.startswith("test_")} <= shown


def test_duties_and_gaps_are_told_once() -> None:
    """What rows refer to as O… and N… is explained, and each has one number."""
    text = text_of(THREATS)
    told = re.findall(r"^- \*\*([ON][0-9]+)\*\*", text, re.MULTILINE)
    referred = set(re.findall(r"\b([ON][0-9]+)\b", text))
    ids = [row[0] for row in threats()]

    assert len(set(told)) == len(told)
    assert referred == set(told)
    assert len(set(ids)) == len(ids)
