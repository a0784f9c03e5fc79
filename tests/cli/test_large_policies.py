"""Policies as large as they get, in seconds of CPU."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

RULES = 10_000
HEAD = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    secret: "${JWT_SECRET}"
    roles: $.role
roles: [student, teacher]
limits: {api: {rate: {student: 100/hour, teacher: unlimited}}}
fields: {user.name: {mode: random}}
views: {student: {"*": plain}, teacher: {"*": plain}}
rules:
"""
RULE = (
    '  - {{id: r{0}, match: "GET,PATCH /api/r{0}/{{id}}", allow: [student, teacher], '
    "limits: [api], protect: {{request: {{$.name: user.name}}, response: "
    "{{$.name: user.name}}}}}}\n"
)


@pytest.fixture(name="large", scope="module")
def large_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with ten thousand rules, each a line."""
    file = tmp_path_factory.mktemp("large") / "large.yaml"
    file.write_text(HEAD + "".join(RULE.format(n) for n in range(RULES)))
    return file


def seconds(*arguments: object) -> float:
    """Run the command line and return the CPU time that it took."""
    # Measured without coverage, which would be most of it.
    environment = {
        name: value for name, value in os.environ.items() if "COVERAGE" not in name
    }
    command = [sys.executable, "-m", "proxy", *map(str, arguments)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_ten_thousand_rules_are_checked_in_three_seconds(large: Path) -> None:
    """A policy of ten thousand lines is checked while one waits."""
    assert seconds("check", large, "--assume-secrets") < 3.0
