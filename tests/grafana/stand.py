"""Everything that the dashboards watch, on loopback: what docker-compose.prod.yml runs.

The proxy in front of the LMS stub, Redis, PostgreSQL, PgBouncer and nginx, the exporter
of each, Prometheus with the shipped configuration and rules, and Alertmanager with the
shipped routes; only that all of them hurry, for a test cannot wait for minutes.
Milvus and Grafana cannot run here: their ports are closed, and stay so.
"""

import contextlib
import json
import os
import re
import secrets
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from tests.e2e.conftest import DEADLINE, ROOT, Stack, wait_until_up
from tests.grafana.stand_files import NGINX, PGBOUNCER, TRIAL
from tests.ports import free_port
from tests.redis_server import RedisServer

SHIPPED = ROOT / "grafana"
PGBOUNCER_EXPORTER = ROOT / ".cache/trixie/prometheus-pgbouncer-exporter"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
"""Debian keeps some servers where only root's PATH looks."""

SCRAPE_SECONDS = 1
"""How often Prometheus scrapes and evaluates, and how long alerts wait before they
fire, instead of 15 s and some minutes."""

NOT_HERE = ("milvus", "grafana")
"""Jobs whose targets are not to be had from the registries."""


class Stand:
    """Every service, started; ``ports`` has one for each by its name.

    Attributes:
        folder: of this stand alone.
        ports: the port of each service, by name.
        stack: the LMS and the proxy.
        redis: where the proxy keeps its limits.
        token: what the proxy's metrics port asks for.
        secret: what the LMS signs its tokens with.
        policies: the proxy's own copy of the policy.
    """

    def __init__(self, folder: Path, hooks: Mapping[str, str]) -> None:
        """Lay it out; ``hooks`` is the URL of each of Alertmanager's receivers."""
        self.folder = folder
        self.hooks = hooks
        self.token = secrets.token_urlsafe(24)
        self.secret = secrets.token_urlsafe(48)
        self.redis = RedisServer(folder, "--maxmemory", "64mb")
        names = (
            *("nginx", "edge", "status", "postgres", "pgbouncer", "prometheus"),
            *("alertmanager", *NOT_HERE),
            *(f"{name}-exporter" for name in ("nginx", "redis", "postgres")),
            *(f"{name}-exporter" for name in ("pgbouncer", "node", "blackbox")),
        )
        self.ports = {name: free_port() for name in names}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator["Stand"]:
        """Start everything, and end it again."""
        with contextlib.ExitStack() as last:
            last.callback(self._stop)
            last.callback(self.redis.kill)
            # Not in the folder: the path of a socket must be short.
            with tempfile.TemporaryDirectory() as databases:
                last.callback(self._stop)
                self.redis.start()
                self._start_databases(Path(databases))
                self._start_stack(last)
                self._start_nginx()
                self._start_exporters()
                self._start_prometheus()
                self._wait()
                yield self
                self._stop()

    # -- the services

    def _start_databases(self, folder: Path) -> None:
        """PostgreSQL refuses to run as root, and so does PgBouncer."""
        [binaries] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        data, port = folder / "data", self.ports["postgres"]
        (folder / "pgbouncer.ini").write_text(PGBOUNCER.format(**self.ports))
        nobody: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            subprocess.run(["chown", "-R", "nobody:nogroup", folder], check=True)
        subprocess.run(
            [
                *(binaries / "initdb", "--pgdata", data, "--auth", "trust"),
                *("--username", "lumina", "--no-sync", "--no-instructions"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **nobody,
        )
        self._start(
            "postgres",
            *(binaries / "postgres", "-D", data, "-p", str(port), "-k", folder),
            *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
            **nobody,
        )
        self._start("pgbouncer", "pgbouncer", folder / "pgbouncer.ini", **nobody)

    def _start_stack(self, last: contextlib.ExitStack) -> None:
        self.policies = self.folder / "policies"
        self.policies.mkdir()
        for file in (ROOT / "policies").glob("*.yaml"):
            text = file.read_text(encoding="utf-8").replace("every: 5s", "every: 1s")
            (self.policies / file.name).write_text(text, encoding="utf-8")
        # An issuer whose keys are fetched, beside the one of the demo.
        keys = self.folder / "keys.json"
        keys.write_text('{"keys": []}', encoding="utf-8")
        (self.policies / "machines.yaml").write_text(
            "version: 1\nissuers: {machines: {issuer: machines, audience: lms, "
            f"algorithms: [EdDSA], jwks: 'file:{keys}', roles: $.role}}}}\n",
            encoding="utf-8",
        )
        (self.policies / "trial.yaml").write_text(TRIAL, encoding="utf-8")
        self.stack = Stack(
            self.folder,
            {
                "REDIS_URL": self.redis.url,
                "METRICS_TOKEN": self.token,
                "JWT_SECRET": self.secret,
                "POLICY": str(self.policies),
                "AUDIT_LOG": str(self.folder / "audit.log"),
                # People log in all the time, and one of them asks too much.
                "RATE_LIMIT_AUTH": "1000/minute",
                "RATE_LIMIT_API": "30/minute",
            },
        )
        last.callback(self.stack.stop)
        self.stack.start()
        self.ports["proxy"] = self.stack.metrics

    def _start_nginx(self) -> None:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-nodes"),
                *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=nginx"),
                *("-days", "5", "-keyout", self.folder / "edge.key"),
                *("-out", self.folder / "edge.pem"),
            ],
            check=True,
            capture_output=True,
        )
        settings = self.folder / "nginx.conf"
        text = NGINX.format(
            folder=self.folder,
            **{name: self.ports[name] for name in ("edge", "status")},
            proxy=self.stack.data,
        )
        settings.write_text(text)
        self._start("nginx", "nginx", "-e", self.folder / "nginx.log", "-c", settings)
        # Its exporter gives up when it is not there at once.
        wait_until_up(f"http://{self._address('status')}", self._processes["nginx"])

    def _start_exporters(self) -> None:
        port = self.ports
        listen = {
            name: f"127.0.0.1:{number}"
            for name, number in port.items()
            if name.endswith("-exporter")
        }
        database = f"postgresql://lumina@127.0.0.1:{port['postgres']}/postgres"
        self._start(
            "redis-exporter",
            *("prometheus-redis-exporter", "-redis.addr", self.redis.url),
            *("-web.listen-address", listen["redis-exporter"]),
        )
        self._start(
            "postgres-exporter",
            "prometheus-postgres-exporter",
            f"--web.listen-address={listen['postgres-exporter']}",
            environment={"DATA_SOURCE_NAME": f"{database}?sslmode=disable"},
        )
        self._start(
            "pgbouncer-exporter",
            PGBOUNCER_EXPORTER,
            f"--web.listen-address={listen['pgbouncer-exporter']}",
            "--pgBouncer.connectionString="
            f"postgres://lumina@127.0.0.1:{port['pgbouncer']}/pgbouncer?sslmode=disable",
        )
        self._start(
            "nginx-exporter",
            *("prometheus-nginx-exporter", "-nginx.scrape-uri"),
            f"http://127.0.0.1:{port['status']}/stub_status",
            *("-web.listen-address", listen["nginx-exporter"]),
        )
        self._start(
            "node-exporter",
            "prometheus-node-exporter",
            f"--web.listen-address={listen['node-exporter']}",
            # The root alone: what else is mounted here is nobody's business.
            "--collector.filesystem.mount-points-exclude=^/.",
        )
        self._start(
            "blackbox-exporter",
            "prometheus-blackbox-exporter",
            f"--config.file={SHIPPED / 'prometheus/blackbox.yml'}",
            f"--web.listen-address={listen['blackbox-exporter']}",
        )

    def _start_prometheus(self) -> None:
        (self.folder / "secrets").mkdir()
        (self.folder / "secrets/metrics_token").write_text(self.token)
        for name, url in self.hooks.items():
            (self.folder / "secrets" / name).write_text(url)
        routes = self.folder / "alertmanager.yml"
        text = self._here("alertmanager/alertmanager.yml")
        routes.write_text(re.sub(r"(group_(?:wait|interval)): \w+", r"\1: 1s", text))
        self._start(
            "alertmanager",
            "prometheus-alertmanager",
            f"--config.file={routes}",
            f"--storage.path={self.folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}",
            "--cluster.listen-address=",
        )
        settings = self.folder / "prometheus.yml"
        settings.write_text(json.dumps(self._scraping()))
        self._start(
            "prometheus",
            "prometheus",
            f"--config.file={settings}",
            f"--storage.tsdb.path={self.folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
            # What fires before it has found Alertmanager is else told a minute later.
            f"--rules.alert.resend-delay={SCRAPE_SECONDS}s",
        )

    def _here(self, name: str) -> str:
        """Return a shipped file with this stand's secrets instead of the compose's."""
        text = (SHIPPED / name).read_text(encoding="utf-8")
        return text.replace("/run/secrets/", f"{self.folder}/secrets/")

    def _scraping(self) -> dict[str, Any]:
        """Return the shipped configuration with this stand's addresses, and faster."""
        config: dict[str, Any] = yaml.safe_load(self._here("prometheus/prometheus.yml"))
        each = f"{SCRAPE_SECONDS}s"
        config["global"] = dict.fromkeys(
            ("scrape_interval", "scrape_timeout", "evaluation_interval"), each
        )
        (self.folder / "rules").mkdir(exist_ok=True)
        for file in (SHIPPED / "prometheus/rules").glob("*.yml"):
            text = re.sub(r"\bfor: \w+", f"for: {each}", file.read_text())
            (self.folder / "rules" / file.name).write_text(text)
        for place in (config["alerting"]["alertmanagers"], config["scrape_configs"]):
            for job in place:
                self._bring_here(job)
        return config

    def _bring_here(self, job: dict[str, Any]) -> None:
        for name in ("scrape_interval", "scrape_timeout"):
            if name in job:
                job[name] = f"{SCRAPE_SECONDS}s"
        if "dns_sd_configs" in job:
            [found] = job.pop("dns_sd_configs")
            services = found["names"]
        elif "file_sd_configs" in job:
            job.pop("file_sd_configs")
            services = ["edge"]
            job["relabel_configs"][-1]["replacement"] = self._address(
                "blackbox-exporter"
            )
        else:
            [found] = job["static_configs"]
            services = [target.split(":")[0] for target in found["targets"]]
        job["static_configs"] = [{"targets": [self._address(one) for one in services]}]

    def _address(self, service: str) -> str:
        return f"127.0.0.1:{self.ports[service]}"

    # -- processes

    def _start(
        self,
        name: str,
        *command: str | Path,
        environment: Mapping[str, str] = MappingProxyType({}),
        **options: Any,
    ) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                cwd=self.folder if not options else None,
                env={**os.environ, "PATH": PATH, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                **options,
            )

    def _wait(self) -> None:
        """Wait until each answers in HTTP."""
        for name in self.ports:
            if name.endswith("-exporter"):
                wait_until_up(
                    f"http://{self._address(name)}/metrics", self._processes[name]
                )
        for name in ("prometheus", "alertmanager"):
            wait_until_up(
                f"http://{self._address(name)}/-/ready", self._processes[name]
            )

    def wait_for_jobs(self) -> None:
        """Wait until Prometheus has scraped every target that it can."""
        until = time.monotonic() + DEADLINE
        missing = {"up"}
        while missing:
            assert time.monotonic() < until, f"not scraped: {missing}"
            up = {one["metric"]["job"]: one["value"][1] for one in self.query("up")}
            wanted = {job["job_name"] for job in self._scraping()["scrape_configs"]}
            missing = {
                job
                for job in wanted
                if up.get(job) != ("0" if job in NOT_HERE else "1")
            }
            time.sleep(0.1)  # it has nothing to wait for

    def _stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(DEADLINE)
        self._processes.clear()

    # -- what a test asks

    def ask(self, path: str, **query: str) -> Any:
        """Return the data that Prometheus's API answers with.

        Raises:
            AssertionError: it answers with an error.
        """
        url = f"http://{self._address('prometheus')}/api/v1/{path}"
        text = urllib.parse.urlencode(query)
        try:
            with urllib.request.urlopen(f"{url}?{text}", timeout=DEADLINE) as answer:  # noqa: S310
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                document = json.load(error)
        assert document["status"] == "success", f"{document['error']}: {query}"
        return document["data"]

    def scrape(self) -> str:
        """Return what the proxy's metrics port shows Prometheus."""
        request = urllib.request.Request(
            f"http://{self._address('proxy')}/metrics",
            headers={"Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:  # noqa: S310
            return str(answer.read().decode())

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that Alertmanager knows."""
        url = f"http://{self._address('alertmanager')}/api/v2/alerts"
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            return list(json.load(answer))

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant vector, or of a scalar."""
        data = self.ask("query", query=expression)
        return [data] if data["resultType"] == "scalar" else list(data["result"])
