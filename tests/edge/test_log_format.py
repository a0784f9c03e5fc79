"""The ordinary log is JSON for machines and text for people."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from proxy.edge.log_format import configure
configure(sys.argv[1], sys.argv[2])
log = logging.getLogger("lumina")
log.debug("quiet")
log.info("line\\nof %s", "two")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it failed")
"""


def logged(style: str, level: str) -> str:
    """Return what a program logs."""
    command = [sys.executable, "-c", PROGRAM, style, level]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("style", ["json", "auto"])
def test_each_record_is_one_object(style: str) -> None:
    """Newlines and tracebacks are inside; where nobody watches it is the usual."""
    info, error = map(json.loads, logged(style, "info").splitlines())

    assert (info["level"], info["logger"]) == ("info", "lumina")
    assert info["message"] == "line\nof two"
    assert info["time"].endswith("Z")
    assert (error["level"], error["message"]) == ("error", "it failed")
    assert "ZeroDivisionError" in error["traceback"]


def test_text_is_for_people() -> None:
    """A line begins with the time, the level and the logger."""
    lines = logged("text", "info").splitlines()

    assert " INFO lumina: line" in lines[0]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_level_is_the_least_that_is_logged() -> None:
    """Below it there is nothing."""
    assert "quiet" in logged("text", "debug")
    assert "quiet" not in logged("text", "info")
    assert "of two" not in logged("json", "error")
