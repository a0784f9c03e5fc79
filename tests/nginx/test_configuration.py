"""The edge's configuration: what it is made from, and what three linters say of it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crossplane  # type: ignore[import-untyped]  # it has no annotations
import pytest

from tests.documents import text_of
from tests.nginx.edge import EDGE, HOST, PATHS, Edge

VARIANTS = {
    "usual": {},
    "tls-1.2": {"TLS_MIN": "1.2"},
    "cdn": {
        "CDN_NETWORKS": "192.0.2.0/24 2001:db8::/32",
        "ORIGIN_SECRET": "s" * 32,
    },
    "watched": {
        "GRAFANA_LISTEN": "127.0.0.1:3002",
        "PROMETHEUS_LISTEN": "127.0.0.1:9090",
    },
    "many": {
        "SERVER_NAMES": "a.example *.b.example",
        "PROXY_SERVERS": "127.0.0.1:1 [::1]:2 localhost:3",
    },
}

NOT_FOR_US = "http2_misdirected_request"
"""Gixy would answer 421 where the Host is unknown; we do not answer at all."""


@pytest.fixture(params=VARIANTS)
def rendered(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The configuration file of an edge that nginx accepts."""
    variant = Edge(tmp_path, "127.0.0.1:1", VARIANTS[request.param])
    done = variant.run("check")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run" / "conf" / "nginx.conf"


def test_gixy_finds_nothing(rendered: Path) -> None:
    """The security linter has nothing to say, but for one thing that we decided."""
    gixy = Path(sys.executable).with_name("gixy")

    done = subprocess.run(
        [gixy, "--format", "json", "--skips", NOT_FOR_US, rendered],
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(done.stdout) == []


def free_lines(block: list[dict[str, Any]], *, free: bool = False) -> Iterator[int]:
    """Yield the lines in blocks of pairs, where the first word is no directive."""
    for one in block:
        if free or one["directive"] == "ssl_reject_handshake":  # newer than crossplane
            yield one["line"]
        inner = one["directive"] in {"map", "types"}
        yield from free_lines(one.get("block") or [], free=inner)


def test_crossplane_knows_every_directive(rendered: Path) -> None:
    """Each directive exists, stands where it may, and has as many words as it takes."""
    loose = crossplane.parse(str(rendered))["config"]
    strict = crossplane.parse(str(rendered), strict=True)["config"]
    free = {file["file"]: set(free_lines(file["parsed"])) for file in loose}

    assert len(strict) > 10
    assert [
        error["error"]
        for file in strict
        for error in file["errors"]
        if error["line"] not in free[file["file"]]
    ] == []


def test_only_its_owner_reads_what_is_rendered(rendered: Path) -> None:
    """The configuration, which may hold the origin secret, is nobody else's."""
    files = [path for path in rendered.parent.iterdir() if path.stat().st_mode & 0o077]

    assert files == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SERVER_NAMES", "", "SERVER_NAMES must be set"),
        ("SERVER_NAMES", "a; return 200", "SERVER_NAMES: 'a; return 200' has a"),
        ("PROXY_SERVERS", "a:1}", "PROXY_SERVERS: 'a:1}' has a character"),
        ("HSTS", 'x" always; #', "HSTS must not hold quotes"),
        ("CONTENT_SECURITY_POLICY", "a\nb", "CONTENT_SECURITY_POLICY must not hold"),
        ("PERMISSIONS_POLICY", "$http_cookie", "PERMISSIONS_POLICY must not hold"),
        ("TLS_MIN", "1.1", "TLS_MIN is 1.3 or 1.2"),
        ("ASSETS_PATH", "static", "ASSETS_PATH: 'static' does not begin and end"),
        ("ORIGIN_SECRET", "short", "ORIGIN_SECRET has fewer than 32 characters"),
        ("ORIGIN_SECRET", "." * 40, "ORIGIN_SECRET has a character that is no letter"),
        ("ORIGIN_SECRET_FILE", "/nowhere", "ORIGIN_SECRET_FILE cannot be read"),
    ],
)
def test_a_variable_that_cannot_be_right_is_refused(
    name: str, value: str, said: str, tmp_path: Path
) -> None:
    """One line says which, nothing is rendered, and no secret is repeated."""
    done = Edge(tmp_path, "127.0.0.1:1", {name: value}).run("render")

    assert done.returncode == 1
    assert f"edge: {said}" in done.stderr
    assert not (tmp_path / "run" / "conf").exists()
    assert "SECRET" not in name or value in {"", "/nowhere"} or value not in done.stderr


def test_a_wrong_verb_is_told_the_right_ones() -> None:
    """Without a verb the script says what it can do, and exits 2."""
    done = subprocess.run(
        [EDGE], env={"PATH": PATHS}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "edge.sh start" in done.stderr


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    """A certificate without its key is a mistake, and never written over."""
    half = Edge(tmp_path, "127.0.0.1:1")
    half.certificate.parent.mkdir()
    half.certificate.write_text("a certificate")

    done = half.run("check")

    assert done.returncode == 1
    assert "only one exists" in done.stderr
    assert half.certificate.read_text() == "a certificate"


def test_the_first_certificate_is_for_the_names_that_are_served(tmp_path: Path) -> None:
    """Where there is none, a self-signed one is made, and said to be one."""
    first = Edge(tmp_path, "127.0.0.1:1")

    done = first.run("check")
    shown = subprocess.run(
        ["openssl", "x509", "-in", first.certificate, "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "a self-signed certificate for 30 days is there now" in done.stderr
    assert f"DNS:{HOST}" in shown
    assert "NIST CURVE: P-256" in shown
    assert first.key.stat().st_mode & 0o077 == 0


def test_every_variable_is_explained() -> None:
    """The runbook has a row for each variable that the script reads."""
    read = set(
        re.findall(r"(?m)^  (?:word_)?setting ([A-Z_]+)", text_of("nginx/edge.sh"))
    )
    told = {
        name
        for line in text_of("nginx/README.md").splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([A-Z_]+)`", line.split(" | ")[0])
    }

    assert read
    assert read == told
