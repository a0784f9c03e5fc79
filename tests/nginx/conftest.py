"""The edges that the tests here share: starting one is quick, starting all is not."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Stack
from tests.nginx.edge import Edge, Talker, edge, talker

ORIGIN_SECRETS = ("a" * 32, "B" * 32)


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The proxy and the LMS, with the edge named as one to be believed."""
    folder = tmp_path_factory.mktemp("stack")
    running = Stack(folder, {"TRUSTED_PROXIES": "127.0.0.1/32"})
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package")
def front(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Edge]:
    """The edge before the proxy and the LMS."""
    folder = tmp_path_factory.mktemp("front")
    with edge(folder, f"127.0.0.1:{stack.data}") as running:
        yield running


@pytest.fixture(scope="package")
def backend() -> Iterator[Talker]:
    """Whatever a backend could say."""
    with talker() as running:
        yield running


@pytest.fixture(scope="package")
def echo(tmp_path_factory: pytest.TempPathFactory, backend: Talker) -> Iterator[Edge]:
    """The edge before a backend that says what it is told to."""
    folder = tmp_path_factory.mktemp("echo")
    with edge(folder, f"127.0.0.1:{backend.port}") as running:
        yield running


@pytest.fixture(scope="package")
def tight(tmp_path_factory: pytest.TempPathFactory, backend: Talker) -> Iterator[Edge]:
    """An edge with small bounds, which is reached through a CDN only."""
    extra = {
        "ORIGIN_SECRET": ",".join(ORIGIN_SECRETS),
        "CDN_NETWORKS": "127.0.0.0/8",
        "EDGE_MAX_BODY": "1k",
        "EDGE_RATE": "1r/m",
        "EDGE_BURST": "1",
    }
    folder = tmp_path_factory.mktemp("tight")
    with edge(folder, f"127.0.0.1:{backend.port}", extra) as running:
        yield running


@pytest.fixture(scope="package")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge with nobody behind it, for clients that are older than TLS 1.3."""
    extra = {"TLS_MIN": "1.2"}
    folder = tmp_path_factory.mktemp("alone")
    with edge(folder, "nobody.invalid:8080", extra) as running:
        yield running
