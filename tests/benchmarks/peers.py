"""Who is measured: how each peer is configured, started and known to be ready.

Every peer forwards to the same backend and is started on the same core. A row of
``PEERS`` is all that a new peer needs.
"""

import contextlib
import dataclasses
import re
import resource
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import redis

from tests.benchmarks.credentials import Credentials
from tests.benchmarks.processes import Running, accepts, running
from tests.ports import free_port

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
PEER_CORE = 0
LOAD_CORE = 1
PATH = "/api/users/42"
RATE_PER_HOUR = 1_000_000
"""Of each subject: a bucket is taken from on every request, and never runs dry."""


@dataclasses.dataclass(frozen=True)
class Site:
    """What all peers share: where things are, and what tokens are verified with."""

    folder: Path
    credentials: Credentials
    backend: int
    redis: int
    take: str
    store: Running

    def write(self, template: str, folder: Path, **values: object) -> Path:
        """Fill a template in, and return the file it was written to.

        Names stand as ``@{name}``: nginx, HAProxy and YAML have uses for ``$``.
        """
        known = {
            "backend": self.backend,
            "redis": self.redis,
            "take": self.take,
            "rate": f"{RATE_PER_HOUR}/hour",
            "burst": RATE_PER_HOUR,
            "per_second": RATE_PER_HOUR / 3600,
            "secret": self.credentials.secret,
            # HAProxy opens two files for each, or refuses to start.
            "connections": resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 50,
            **values,
        }
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        path = folder / template
        path.write_text(
            re.sub(r"@\{(\w+)\}", lambda name: str(known[name[1]]), text),
            encoding="utf-8",
        )
        return path


@dataclasses.dataclass(frozen=True)
class Launch:
    """How one peer is started, in a folder of its own, on ``port``."""

    command: list[str]
    ready: Callable[[], bool]
    env: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Peer:
    """One row of the table.

    Attributes:
        job: what it does for each request, for the reader of the table.
        algorithm: of the tokens that it is sent; "" for none.
        launch: from site, folder, port and algorithm to the way it is started.
        body: the file of a body that is sent with POST; None for GET without one.
        cores: that it may use, as taskset lists them.
    """

    job: str
    algorithm: str
    launch: Callable[[Site, Path, int, str], Launch]
    body: Path | None = None
    cores: str = str(PEER_CORE)


def nginx(template: str, **values: str) -> Callable[[Site, Path, int, str], Launch]:
    """Return how an nginx is started with a configuration of the templates."""

    def launch(site: Site, folder: Path, port: int, _algorithm: str) -> Launch:
        config = site.write(template, folder, port=port, **values)
        command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)]
        return Launch(command, lambda: accepts(port))

    return launch


def _haproxy(site: Site, folder: Path, port: int, algorithm: str) -> Launch:
    key = site.credentials.secret
    if algorithm == "RS256":
        pem = folder / "public.pem"
        pem.write_text(site.credentials.public_key, encoding="ascii")
        key = str(pem)
    template = "haproxy-jwt.cfg" if algorithm else "haproxy.cfg"
    config = site.write(template, folder, port=port, algorithm=algorithm, key=key)
    return Launch(["haproxy", "-db", "-f", str(config)], lambda: accepts(port))


def lumina(
    policy: str, extra: Mapping[str, str] | None = None, **values: str
) -> Callable[[Site, Path, int, str], Launch]:
    """Return how the proxy is started with a policy of the templates.

    Args:
        policy: the template's file name.
        extra: variables of the environment beside the usual ones.
        values: what is filled in beside the usual names.
    """

    def launch(site: Site, folder: Path, port: int, algorithm: str) -> Launch:
        metrics = f"127.0.0.1:{free_port()}"
        keys = {
            "HS256": 'secret: "${JWT_SECRET}"',
            "RS256": 'public_key: "${JWT_PUBLIC_KEY}"',
        }
        path = site.write(
            policy, folder, algorithm=algorithm, key=keys.get(algorithm, ""), **values
        )
        env = {
            "LISTEN": f"127.0.0.1:{port}",
            "METRICS_LISTEN": metrics,
            "BACKEND_URL": f"http://127.0.0.1:{site.backend}",
            "POLICY": str(path),
            "REDIS_URL": f"redis://127.0.0.1:{site.redis}/0",
            "JWT_SECRET": site.credentials.secret,
            "JWT_PUBLIC_KEY": site.credentials.public_key,
            "DRAIN_GRACE": "0",
            # As in the peers, which write none either.
            "ACCESS_LOG": "none",
            "ENCRYPTION_KEY": site.credentials.encryption_key,
            **(extra or {}),
        }
        command = [sys.executable, "-P", "-m", "proxy", "serve"]
        return Launch(command, lambda: _answers(f"http://{metrics}/ready"), env)

    return launch


def _fastify(site: Site, folder: Path, port: int, _algorithm: str) -> Launch:
    script = site.write("fastify.js", folder, port=port)
    # Where node looks for packages, and learns that scripts are modules.
    shutil.copy(HERE / "package.json", folder)
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    return Launch(["node", str(script)], lambda: accepts(port))


def _aiohttp(site: Site, _folder: Path, port: int, _algorithm: str) -> Launch:
    settings = (port, site.backend, site.redis, site.credentials.secret, site.take)
    rate = (RATE_PER_HOUR / 3600, RATE_PER_HOUR)
    program = HERE / "aiohttp_gateway.py"
    command = [sys.executable, "-P", str(program), *map(str, settings + rate)]
    return Launch(command, lambda: accepts(port))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own loopback
            return True
    except OSError:
        return False


PEERS = {
    "nginx": Peer("pass through", "", nginx("nginx.conf")),
    "haproxy": Peer("pass through", "", _haproxy),
    "haproxy-hs256": Peer("HS256, own table", "HS256", _haproxy),
    "haproxy-rs256": Peer("RS256, own table", "RS256", _haproxy),
    "nginx-lua-hs256": Peer("HS256, Redis", "HS256", nginx("nginx-lua.conf")),
    "fastify-hs256": Peer("HS256, Redis", "HS256", _fastify),
    "aiohttp-hs256": Peer("HS256, Redis, metrics", "HS256", _aiohttp),
    "lumina": Peer("rule, metrics", "", lumina("policy-open.yaml")),
    "lumina-hs256": Peer("HS256, Redis, metrics", "HS256", lumina("policy.yaml")),
    "lumina-rs256": Peer("RS256, Redis, metrics", "RS256", lumina("policy.yaml")),
}


@contextlib.contextmanager
def site(folder: Path, credentials: Credentials) -> Iterator[Site]:
    """Run the backend and Redis, beside the load and away from the peers."""
    with contextlib.ExitStack() as stack:
        ports = {"backend": free_port(), "redis": free_port()}
        redis_command = ["redis-server", "--port", str(ports["redis"]), "--save", ""]
        store_folder = folder / "redis"
        store_folder.mkdir()
        store = stack.enter_context(
            running(
                [*redis_command, "--bind", "127.0.0.1", "--dir", str(store_folder)],
                core=LOAD_CORE,
                folder=store_folder,
                ready=lambda: accepts(ports["redis"]),
            )
        )
        with redis.Redis(port=ports["redis"]) as client:
            script = (TEMPLATES / "take.lua").read_text(encoding="utf-8")
            take = str(client.script_load(script))
        made = Site(folder, credentials, take=take, store=store, **ports)
        backend_folder = folder / "backend"
        backend_folder.mkdir()
        launch = nginx("backend.conf")(made, backend_folder, made.backend, "")
        stack.enter_context(
            running(
                launch.command,
                core=LOAD_CORE,
                folder=backend_folder,
                ready=launch.ready,
            )
        )
        yield made


@contextlib.contextmanager
def start(site: Site, name: str, peer: Peer) -> Iterator[tuple[Running, int]]:
    """Run one peer in a folder called ``name``, and yield it with its port."""
    port, folder = free_port(), site.folder / name
    folder.mkdir()
    launch = peer.launch(site, folder, port, peer.algorithm)
    with running(
        launch.command,
        core=peer.cores,
        folder=folder,
        ready=launch.ready,
        env=launch.env,
    ) as process:
        yield process, port
