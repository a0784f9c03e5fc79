"""docker-compose.prod.yml, as the real Compose reads it, held to what it promises.

``make stack`` starts it.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.__main__ import main
from tests.documents import ROOT, text_of

FILE = "docker-compose.prod.yml"
DOMAIN = "lms.example.test"
COMPOSE = Path(sys.executable).with_name("docker-compose")
OURS = ("lumina-proxy:", "lumina-edge:", "lumina-stub:", "lumina-logs:")
JOBS = {"redis-join"}
"""What ends when it is done, so that there is nothing to ask about its health."""

Document = dict[str, Any]


def read(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Let Compose read the file with every profile, and nothing from a .env."""
    return subprocess.run(
        [
            *(COMPOSE, "--file", FILE, "--env-file", os.devnull, "--profile", "*"),
            *("config", "--format", "json"),
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project() -> Document:
    """The whole file, filled in and merged."""
    done = read({"DOMAIN": DOMAIN})
    assert (done.returncode, done.stderr) == (0, "")
    document: Document = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def services(project: Document) -> dict[str, Document]:
    """Its services by name."""
    found: dict[str, Document] = project["services"]
    return found


def attached(services: dict[str, Document], network: str) -> set[str]:
    """Return who is on a network."""
    return {
        name for name, one in services.items() if network in one.get("networks", {})
    }


def test_what_is_required_has_no_default() -> None:
    """Without the name that clients use, nothing starts, and one line says why."""
    done = read({})

    assert done.returncode != 0
    assert "required variable DOMAIN is missing a value: the name that" in done.stderr


def test_it_says_no_version() -> None:
    """The key is obsolete, and Compose warns of it."""
    assert re.search(r"(?m)^version:", text_of(FILE)) is None


def test_only_the_edge_publishes_ports(services: dict[str, Document]) -> None:
    """Nobody reaches anything but through the edge; operators' ports are loopback."""
    ports = {
        (name, port.get("host_ip"), port["published"], port["target"])
        for name, service in services.items()
        for port in service.get("ports", [])
    }

    assert ports == {
        ("nginx", None, "80", 8080),
        ("nginx", None, "443", 8443),
        ("nginx", "127.0.0.1", "3002", 3000),
        ("nginx", "127.0.0.1", "9090", 9090),
    }


def test_only_who_has_to_gets_out(
    project: Document, services: dict[str, Document]
) -> None:
    """Every network but one is internal, and few services are on that one."""
    outside = {
        name
        for name, network in project["networks"].items()
        if not network.get("internal")
    }
    on_it = attached(services, "public")

    assert outside == {"public"}
    assert on_it == {"nginx", "certbot", "alertmanager"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("nginx", "backend"),
        ("nginx", "postgres"),
        ("nginx", "redis"),
        ("proxy", "postgres"),
        ("proxy", "pgbouncer"),
        ("backend", "redis"),
        ("backend", "prometheus"),
        ("certbot", "proxy"),
    ],
)
def test_who_has_no_business_with_another_does_not_reach_it(
    one: str, other: str, services: dict[str, Document]
) -> None:
    """They share no network, but for the one on which those who watch are."""
    shared = set(services[one]["networks"]) & set(services[other]["networks"])

    assert shared <= {"watch"}
    assert shared == set() or {one, other} & {"nginx", "proxy"}


def test_every_service_is_bounded_and_kept(services: dict[str, Document]) -> None:
    """Limits, reservations, log rotation, a restart policy and no new privileges."""
    for name, service in services.items():
        resources = service["deploy"]["resources"]
        assert set(resources["limits"]) == {"cpus", "memory", "pids"}, name
        assert set(resources["reservations"]) == {"cpus", "memory"}, name
        limits, reserved = resources["limits"], resources["reservations"]
        assert float(reserved["cpus"]) <= float(limits["cpus"]), name
        assert int(reserved["memory"]) <= int(limits["memory"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        expected = "no" if name in JOBS else "unless-stopped"
        assert service["restart"] == expected, name
        assert "privileged" not in service, name
        assert "docker.sock" not in json.dumps(service), name


def test_the_specified_limits_are_the_usual_ones(
    services: dict[str, Document],
) -> None:
    """The proxy and the LMS get 2 GiB and one core, of which half is theirs."""
    gibibyte = 1024**3
    for name in ("proxy", "backend"):
        resources = services[name]["deploy"]["resources"]

        assert resources["limits"]["cpus"] == 1.0
        assert int(resources["limits"]["memory"]) == 2 * gibibyte
        assert resources["reservations"]["cpus"] == 0.5
        assert int(resources["reservations"]["memory"]) == gibibyte


def test_every_service_says_how_it_is(services: dict[str, Document]) -> None:
    """Each has a health check, here or in the image that is built here."""
    without = {
        name
        for name, service in services.items()
        if "healthcheck" not in service and not service["image"].startswith(OURS)
    }

    assert without == JOBS


def test_services_start_when_what_they_need_is_well(
    services: dict[str, Document],
) -> None:
    """The order is by health: data, LMS, proxy, edge."""
    needs = {
        name: {one: how["condition"] for one, how in service["depends_on"].items()}
        for name, service in services.items()
        if "depends_on" in service
    }

    assert {how for one in needs.values() for how in one.values()} == {
        "service_healthy"
    }
    assert set(needs["nginx"]) == {"proxy"}
    assert set(needs["proxy"]) == {"backend", "redis"}
    assert set(needs["backend"]) == {"pgbouncer"}
    assert set(needs["pgbouncer"]) == {"postgres"}


def test_our_own_images_are_confined(services: dict[str, Document]) -> None:
    """Read-only, without a capability; the collector alone may read what is root's."""
    ours = {
        name: service
        for name, service in services.items()
        if service["image"].startswith(OURS)
    }

    assert set(ours) == {"nginx", "proxy", "backend", "nginx-exporter", "logs"}
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        expected = ["DAC_READ_SEARCH"] if name == "logs" else None
        assert service.get("cap_add") == expected, name
        assert service.get("user") == ("0:0" if name == "logs" else None), name


def test_images_are_pinned(services: dict[str, Document]) -> None:
    """Each image has a version that does not move."""
    loose = {
        name: service["image"]
        for name, service in services.items()
        if not re.search(r":(v?\d+\.\d+|RELEASE\.\d{4})[\w.-]*$", service["image"])
    }

    assert loose == {}


def test_secrets_are_files_and_never_variables(
    project: Document, services: dict[str, Document]
) -> None:
    """No variable is called a secret, but those that name a file; each file is used."""
    named = re.compile(r"SECRET|PASS|TOKEN|(?<!_)KEY(?!_PATH)|CREDENTIAL|URL")
    harmless = {"BACKEND_URL", "GF_SERVER_ROOT_URL", "SSL_KEY_PATH"}
    variables = {
        (name, variable)
        for name, service in services.items()
        for variable in service.get("environment") or {}
        if named.search(variable)
        and not variable.endswith(("_FILE", "__FILE"))
        and variable not in harmless
    }
    used = {
        secret["source"]
        for service in services.values()
        for secret in service.get("secrets", [])
    }

    assert variables == set()
    assert used == set(project["secrets"])
    assert all("file" in secret for secret in project["secrets"].values())


def test_configurations_are_files_that_exist(project: Document) -> None:
    """Compose cannot put a text into a container whose root is read-only."""
    files = {name: Path(config["file"]) for name, config in project["configs"].items()}

    assert [name for name, file in files.items() if not file.is_file()] == []


def test_only_who_needs_it_gets_a_secret(services: dict[str, Document]) -> None:
    """The keys of the protected fields and of tokens go to few."""
    holders: dict[str, set[str]] = {}
    for name, service in services.items():
        for secret in service.get("secrets", []):
            holders.setdefault(secret["source"], set()).add(name)

    assert holders["encryption_key"] == {"proxy"}
    assert holders["jwt_secret"] == {"proxy", "backend"}
    assert holders["metrics_token"] == {"proxy", "prometheus"}
    assert holders["grafana_admin_password"] == {"grafana"}


def test_the_proxy_believes_its_edge_alone(
    project: Document, services: dict[str, Document]
) -> None:
    """The trusted network is the one on which nobody but the edge and the proxy are."""
    subnet = project["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    on_it = attached(services, "edge")

    assert services["proxy"]["environment"]["TRUSTED_PROXIES"] == subnet
    assert on_it == {"nginx", "proxy"}


def test_a_stop_is_over_in_time(services: dict[str, Document]) -> None:
    """What drains has time to, and nothing is waited for longer than 15 seconds."""
    graces = {name: one["stop_grace_period"] for name, one in services.items()}
    drain = services["proxy"]["environment"]
    needed = float(drain["DRAIN_GRACE"]) + float(drain["DRAIN_TIMEOUT"])

    assert {float(grace.removesuffix("s")) <= 15 for grace in graces.values()} == {True}
    assert float(graces["proxy"].removesuffix("s")) > needed


def test_what_init_writes_is_what_is_needed(tmp_path: Path, project: Document) -> None:
    """``lumina-proxy init production`` writes every secret, and a .env that fits."""
    arguments = ["init", "production", "--domain", DOMAIN, "--folder", str(tmp_path)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    files = {path.name for path in (tmp_path / "secrets").iterdir()}
    (tmp_path / FILE).symlink_to(ROOT / FILE)

    done = subprocess.run(
        [COMPOSE, "--project-directory", tmp_path, "config", "--services"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )

    assert files == set(project["secrets"])
    assert {"nginx", "proxy", "prometheus", "grafana"} <= set(done.stdout.split())


def test_every_variable_is_explained() -> None:
    """.env.example has what the file takes from outside, and with the same default."""
    used = dict(re.findall(r"\$\{([A-Z_]+)(?::-([^}$]*))?", text_of(FILE)))
    told = dict(re.findall(r"(?m)^#([A-Z][A-Z_]*)=(.*)$", text_of(".env.example")))
    of_the_proxy = {"BACKEND_URL", "RATE_LIMIT_AUTH", "RATE_LIMIT_API"}

    assert set(used) - of_the_proxy == set(told)
    assert {name: used[name] for name in told} == told
