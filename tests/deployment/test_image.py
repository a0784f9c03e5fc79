"""The Dockerfiles, as far as they can be judged without an engine.

``make stack`` builds them and runs what comes out.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT, named, text_of

DOCKERFILES = sorted((ROOT / "Dockerfile", *ROOT.glob("nginx/Dockerfile")))


def stages(path: Path) -> dict[str, str]:
    """Return by its name what each stage of a Dockerfile is made of, bases included."""
    text = path.read_text(encoding="utf-8")
    parts = re.split(r"(?m)^FROM (\S+) AS (\S+)$", text)[1:]
    found: dict[str, str] = {}
    for base, name, own in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        found[name] = found.get(base, "") + own
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_the_linter_finds_nothing(path: Path) -> None:
    """Hadolint has nothing to say about a Dockerfile."""
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run(
        [hadolint, "--no-color", path], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_every_base_can_be_chosen(path: Path) -> None:
    """Each FROM names an argument, or a stage of the same file."""
    known = {*stages(path), "${BASE_IMAGE}"}
    bases = re.findall(r"(?m)^FROM (\S+)", path.read_text(encoding="utf-8"))

    assert bases
    assert set(bases) <= known


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_what_runs_is_nobody_in_particular(path: Path) -> None:
    """A stage that runs does so by number, not as root, and without a shell.

    But for the collector of logs: the engine keeps them for root alone.
    """
    running = {
        name: body for name, body in stages(path).items() if "\nENTRYPOINT" in body
    }
    assert "USER" not in running.pop("logs", "")

    assert running
    for name, body in running.items():
        users = re.findall(r"(?m)^USER (\S+)$", body)
        assert re.fullmatch(r"[1-9][0-9]+:[1-9][0-9]+", users[-1]), name
        for word in ("ENTRYPOINT", "CMD"):
            assert re.findall(rf"(?m)^ *(?:{word}) (?!\[)", body) == [], name
        assert "STOPSIGNAL" in body, name
        assert "HEALTHCHECK" in body, name


def test_dependencies_come_before_code() -> None:
    """While the locks stay, a change of code installs no dependency anew."""
    build = stages(ROOT / "Dockerfile")["build"]

    assert build.index("requirements.txt") < build.index("COPY proxy")
    assert build.count("--require-hashes") == build.count("--requirement ")


def test_nothing_is_sent_to_a_build_but_what_is_named() -> None:
    """The ignore file shuts everything out first, so no secret gets in by mistake."""
    lines = [
        line
        for line in text_of(".dockerignore").splitlines()
        if line and not line.startswith("#")
    ]
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]

    assert lines[0] == "*"
    assert [name for name in let_in if not (ROOT / name).exists()] == []
    assert not {".env", ".git", "secrets"} & set(let_in)
