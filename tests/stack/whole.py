"""The whole of docker-compose.prod.yml, built, started, used, broken and stopped.

``make stack`` runs it. Its tests build on each other, from top to bottom. Images that
others publish are replaced by the same programs from Debian's packages, and by nothing
else: every service, command, check, limit and network is the file's own. Grafana and
Milvus are not to be had that way, and are not exercised.
"""

import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from tests.documents import ROOT
from tests.nginx.edge import Answer
from tests.ports import free_ports
from tests.stack.engine import Engine, engine

DOMAIN = "lms.example.test"
COMPOSE = Path(sys.executable).with_name("docker-compose")
SERVICES = (
    *("nginx", "proxy", "backend", "postgres", "pgbouncer", "redis", "logs"),
    *("nginx-exporter", "redis-exporter", "postgres-exporter"),
)
STAND_INS = ("postgres", "redis", "redis-exporter", "postgres-exporter")
UP_SECONDS, DOWN_SECONDS, RECOVERY_SECONDS = 120.0, 15.0, 60.0
MAX_IMAGE_BYTES = 150 * 1000 * 1000
"""What the proxy's image may have beyond its base."""

TESS = {"email": "tess@example.org", "name": "Tess Teacher", "role": "teacher"}
PASSWORD = {"password": "correct horse"}
JSON = {"Content-Type": "application/json"}


class Project:
    """The compose file with an environment of its own."""

    def __init__(self, at: Engine, folder: Path) -> None:
        self.engine = at
        self.name = f"lumina-{os.getpid()}"
        self.https, self.http, grafana, prometheus = free_ports(4)
        subprocess.run(
            [
                *(sys.executable, "-m", "proxy", "init", "production"),
                *("--domain", DOMAIN, "--folder", folder),
            ],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        data = at.docker("info", "--format", "{{.DockerRootDir}}")
        self.environment = {
            **at.environment,
            "DOMAIN": DOMAIN,
            "SECRETS": str(folder / "secrets"),
            "HTTP_PORT": f"127.0.0.1:{self.http}",
            "HTTPS_PORT": f"127.0.0.1:{self.https}",
            "GRAFANA_PORT": str(grafana),
            "PROMETHEUS_PORT": str(prometheus),
            "DOCKER_CONTAINERS": f"{data}/containers",
            # One client here is everybody, and asks a lot.
            "EDGE_RATE": "1000r/s",
            "RATE_LIMIT_API": "100000/hour",
            "PGBOUNCER_IMAGE": "local/redis:0.0",
            **{
                f"{name.upper().replace('-', '_')}_IMAGE": f"local/{name}:0.0"
                for name in STAND_INS
            },
        }

    def compose(self, *words: str) -> str:
        """Run Compose and return what it prints."""
        done = subprocess.run(
            [
                *(COMPOSE, "--file", "docker-compose.prod.yml"),
                *("--env-file", os.devnull, "--project-name", self.name),
                *("--profile", "watch", "--profile", "logs", *words),
            ],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        found: list[dict[str, Any]] = json.loads(
            self.engine.docker("inspect", container)
        )
        return found[0]

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a container of a service, and return what it prints."""
        return self.engine.docker("exec", self.containers(service)[0], *command)

    def kill(self, container: str) -> None:
        """End a container's first process, as a crash would."""
        os.kill(int(self.inspect(container)["State"]["Pid"]), signal.SIGKILL)

    def ask(
        self,
        path: str,
        method: str = "GET",
        document: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask through the published port.

        Raises:
            OSError: nobody is there, or goes away.
        """
        body = None if document is None else json.dumps(document).encode()
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, {**JSON, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection to the published port, verified like a browser's."""
        raw = socket.create_connection(("127.0.0.1", self.https), 20)
        try:
            secure = self.trust.wrap_socket(raw, server_hostname=DOMAIN)
        except OSError:
            raw.close()
            raise
        connection = http.client.HTTPConnection(DOMAIN)
        connection.sock = secure
        return connection

    @functools.cached_property
    def trust(self) -> ssl.SSLContext:
        """Trust in the certificate that the edge made for itself, and in no other."""
        shown = self.inside("nginx", "cat", "/var/lib/edge/tls/fullchain.pem")
        return ssl.create_default_context(cadata=shown)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The stack, built and started; taken down with its volumes in the end."""
    with engine() as running:
        one = Project(running, tmp_path_factory.mktemp("stack"))
        try:
            yield one
        finally:
            one.compose("down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="module")
def bearer(project: Project) -> dict[str, str]:
    """A teacher's token; there are five log-ins a minute, so it is asked for once."""
    registered = project.ask("/api/auth/register", "POST", {**TESS, **PASSWORD})
    assert registered.status == 201
    credentials = {"email": TESS["email"], **PASSWORD}
    answer = project.ask("/api/auth/login", "POST", credentials)
    return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}


def wait_for(true: Callable[[], bool], seconds: float = RECOVERY_SECONDS) -> float:
    """Wait until something is so, and return for how long."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "it did not come to be so"
        threading.Event().wait(0.2)
    return time.monotonic() - started


def told(what: str, seconds: float) -> None:
    """Say how long something took."""
    sys.stdout.write(f"\n  {what}: {seconds:.1f} s")


def test_images_are_built(project: Project) -> None:
    """From one base, in one go; the proxy's image adds little to it."""
    at, base = project.engine, project.engine.base()
    started = time.monotonic()

    def build(folder: str, tag: str, *flags: str) -> None:
        arguments = ["--network", "host", "--build-arg", f"BASE_IMAGE={base}"]
        at.docker("build", "--quiet", *arguments, *flags, "--tag", tag, folder)

    for name in ("proxy", "stub", "logs"):
        build(".", f"lumina-{name}:0.1.0", "--target", name)
    build("nginx", "lumina-edge:0.1.0")
    for name in STAND_INS:
        build("tests/stack", f"local/{name}:0.0", "--target", name)
    told("build", time.monotonic() - started)
    sizes = [
        int(at.docker("image", "inspect", "--format", "{{.Size}}", image))
        for image in ("lumina-proxy:0.1.0", base)
    ]

    assert sizes[0] - sizes[1] < MAX_IMAGE_BYTES


def test_the_image_says_what_is_inside(project: Project) -> None:
    """Its SBOM lists every package that the lock pins for it, and nothing to build."""
    text = project.engine.docker(
        *("run", "--rm", "--entrypoint", "cat", "lumina-proxy:0.1.0"),
        "/usr/share/sbom/lumina-proxy.cdx.json",
    )
    document = json.loads(text)
    names = {component["name"] for component in document["components"]}

    assert document["bomFormat"] == "CycloneDX"
    assert {"aiohttp", "cryptography", "httptools", "uvloop"} <= names
    assert names & {"pip", "mypy", "hatchling", "pytest"} == set()


def test_it_comes_up(project: Project) -> None:
    """Compose waits until every health check of every service says yes."""
    started = time.monotonic()
    project.compose(
        *("up", "--detach", "--wait", "--no-build", "--pull", "never"), *SERVICES
    )
    took = time.monotonic() - started
    told("up --wait", took)

    assert took < UP_SECONDS


def test_the_story_is_true_over_https(project: Project, bearer: dict[str, str]) -> None:
    """Names are plain for people, ciphertext for the LMS; who may not is refused."""
    ada = {"email": "ada@example.org", "name": "Ada Lovelace"}
    created = json.loads(project.ask("/api/users", "POST", ada, bearer).body)
    read = project.ask(f"/api/users/{created['id']}", headers=bearer)
    nobody = project.ask("/api/users")
    stored = project.inside("backend", "sh", "-c", "cat /var/lib/stub/lms.sqlite3*")

    assert json.loads(read.body)["name"] == "Ada Lovelace"
    assert (nobody.status, json.loads(nobody.body)["reason"]) == (401, "token-missing")
    assert "lm1r" in stored  # how a ciphertext begins
    assert "Lovelace" not in stored
    assert "Tess Teacher" not in stored


def test_the_engine_holds_everybody_to_the_limits(project: Project) -> None:
    """What the file says is what the engine enforces, read back from it."""
    wanted = json.loads(project.compose("config", "--format", "json"))["services"]
    for service in SERVICES:
        limits = wanted[service]["deploy"]["resources"]["limits"]
        for container in project.containers(service):
            host = project.inspect(container)["HostConfig"]
            assert host["Memory"] == int(limits["memory"]), service
            assert host["NanoCpus"] == int(float(limits["cpus"]) * 1e9), service
            assert host["PidsLimit"] == int(limits["pids"]), service
            assert host["ReadonlyRootfs"] is True, service
            assert host["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service


@pytest.mark.parametrize("service", ["nginx", "proxy", "backend", "postgres", "redis"])
def test_a_process_has_no_power(service: str, project: Project) -> None:
    """No capability, no root, and nowhere to write a program to."""
    status = project.inside(service, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Uid"].split()[0] != "0"
    with pytest.raises(AssertionError, match="Read-only file system"):
        project.inside(service, "touch", "/usr/bin/program")


def test_the_proxy_is_the_compiled_one(project: Project) -> None:
    """What runs is the data path that was compiled, and no compiler is beside it."""
    shown = project.inside(
        *("proxy", "python", "-c"),
        "import proxy.pipeline, shutil; print(proxy.pipeline.__file__, "
        "[name for name in ('gcc', 'pip', 'curl') if shutil.which(name)])",
    )

    assert shown.endswith(".so []")


def test_tls_is_ready_for_quantum_computers(project: Project) -> None:
    """The first group that both know is the hybrid of X25519 and ML-KEM."""
    shown = project.inside(
        *("nginx", "sh", "-c"),
        f"openssl s_client -connect :8443 -servername {DOMAIN} </dev/null 2>&1",
    )

    assert "Negotiated TLS1.3 group: X25519MLKEM768" in shown


def test_the_database_is_reached_through_the_pool_only_with_its_password(
    project: Project,
) -> None:
    """The LMS's role gets in by transaction pooling; a guess does not."""
    query = "psql --no-password --host pgbouncer --port 6432 --username lms -tAc"
    ask = f'{query} "SELECT current_user" lms'
    right = "PGPASSWORD=$(cat /run/secrets/postgres_lms_password)"

    assert project.inside("postgres", "sh", "-c", f"{right} {ask}") == "lms"
    with pytest.raises(AssertionError, match="authentication failed"):
        project.inside("postgres", "sh", "-c", f"PGPASSWORD=guess {ask}")


@pytest.mark.parametrize(
    ("service", "port", "line"),
    [
        ("nginx-exporter", 9113, "nginx_up 1"),
        ("redis-exporter", 9121, "redis_up 1"),
        ("postgres-exporter", 9187, "pg_up 1"),
    ],
)
def test_exporters_reach_what_they_measure(
    service: str, port: int, line: str, project: Project
) -> None:
    """Each says that what it watches is up."""
    request = "GET /metrics HTTP/1.0\\r\\n\\r\\n"
    shown = project.inside(
        *(service, "bash", "-c"),
        f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{request}' >&3; cat <&3",
    )

    assert line in shown.splitlines()


def test_replicas_share_the_limits(project: Project) -> None:
    """Six log-ins go to two proxies, and the sixth is one too many for both."""
    wrong = {"email": "nobody@example.org", "password": "guess"}

    def refused() -> bool:
        return project.ask("/api/auth/login", "POST", wrong).status == 429

    assert [refused() for _ in range(6)][-1]


def test_logs_of_all_are_in_one_place(project: Project) -> None:
    """One JSON line for each line of each container, joined by the request's id."""
    answer = project.ask("/api/users?canary-query=1")
    wanted = answer.fields["X-Request-ID"]

    def collected() -> list[str]:
        return project.inside("logs", "cat", "/var/log/lumina/all.jsonl").splitlines()

    wait_for(lambda: any(wanted in line for line in collected()))
    lines = [json.loads(line) for line in collected()]
    containers = {line["container"] for line in lines}

    assert containers >= {one[:12] for one in project.containers("proxy")}
    assert all({"container", "log", "stream", "time"} <= line.keys() for line in lines)
    assert "canary-query" not in json.dumps(lines)
    assert "correct horse" not in json.dumps(lines)


class Load:
    """A client that asks on and on, a few times a second."""

    def __init__(self, project: Project, headers: dict[str, str]) -> None:
        self.answers: list[int | str] = []
        self._project, self._headers = project, headers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            try:
                answer = self._project.ask("/api/users", headers=self._headers)
            except (OSError, http.client.HTTPException) as error:
                self.answers.append(type(error).__name__)
            else:
                self.answers.append(answer.status)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize(
    ("service", "seen"),
    [
        ("proxy", set()),
        ("redis", set()),
        ("postgres", set()),
        ("pgbouncer", set()),
        ("logs", set()),
        ("backend", {502, 504}),  # for a moment its address is nobody's
        ("nginx", {"ConnectionRefusedError", "ConnectionResetError", "SSLEOFError"}),
    ],
)
def test_what_is_killed_comes_back(
    service: str,
    seen: set[int | str],
    project: Project,
    bearer: dict[str, str],
) -> None:
    """What needs it answers clearly, what does not goes on, and nobody has to act."""
    victim = project.containers(service)[0]
    restarts = project.inspect(victim)["RestartCount"]

    def recovered() -> bool:
        state = project.inspect(victim)
        well = state["State"].get("Health", {}).get("Status") == "healthy"
        return bool(well and state["RestartCount"] > restarts)

    with Load(project, bearer) as load:
        wait_for(lambda: len(load.answers) > 3)
        project.kill(victim)
        told(f"{service} recovers", wait_for(recovered))
        count = len(load.answers)
        wait_for(lambda: len(load.answers) > count + 3)

    assert set(load.answers) - {200} <= seen
    assert load.answers[-2:] == [200, 200]


def test_replicas_may_come_and_go(project: Project, bearer: dict[str, str]) -> None:
    """The edge finds a new proxy by itself, and a client notices no change."""

    def behind() -> int:
        shown = project.inside("nginx", "cat", "/run/edge/conf/upstream.conf")
        return shown.count("max_fails=")

    with Load(project, bearer) as load:
        for count in (3, 2):
            project.compose(
                *("up", "--detach", "--wait", "--no-build", "--no-recreate"),
                *("--scale", f"proxy={count}", "proxy"),
            )
            wait_for(lambda: behind() == count)  # noqa: B023 - called at once

    assert set(load.answers) == {200}


def test_down_is_quick_and_loses_nothing(
    project: Project, bearer: dict[str, str]
) -> None:
    """A stream that is open when the stack is told to stop ends as it should."""
    connection = project.connection()
    connection.request("GET", "/api/events?count=4&interval=1", None, bearer)
    response = connection.getresponse()
    first = response.readline()
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(response.read()))
    reader.start()
    started = time.monotonic()
    project.compose("down")
    took = time.monotonic() - started
    reader.join()
    connection.close()
    told("down", took)

    assert first == b"id: 1\n"
    assert read[0].count(b"id: ") == 3
    assert took < DOWN_SECONDS
