"""The Helm chart, rendered by Helm and held against the schemas of Kubernetes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import ROOT

CHART = ROOT / "proxy" / "deploy" / "helm" / "lumina-proxy"
TOOLS = Path(sys.executable).parent
HERE = {"backend": {"url": "http://lms:9000"}, "secret": {"name": "lumina"}}
FILES = {"policy": {"files": {"lms.yaml": "version: 1\nrules: []\n"}}}
MINIMAL = {**HERE, **FILES}
SIDECAR = {**FILES, **HERE, "mode": "sidecar", "backend": {"image": "lms:1"}}
EVERYTHING = {
    **MINIMAL,
    "secret": {"name": "lumina", "keys": ["encryption_key", "metrics_token"]},
    "trustedProxies": ["10.0.0.0/8", "192.0.2.1"],
    "env": {"RATE_LIMIT_API": "100/hour"},
    "autoscaling": {"enabled": True, "requestsPerSecond": 500},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "networkPolicy": {
        "clients": [{"namespaceSelector": {"matchLabels": {"edge": "yes"}}}],
        "backend": {"to": [{"podSelector": {"matchLabels": {"app": "lms"}}}]},
        "egress": [
            {
                "to": [{"podSelector": {"matchLabels": {"app": "redis"}}}],
                "ports": [{"protocol": "TCP", "port": 6379}],
            }
        ],
    },
    "podLabels": {"team": "security"},
}
WITHOUT_SCHEMA = {"PrometheusRule", "ServiceMonitor"}
"""Of the Prometheus operator, whose schemas are not Kubernetes's."""


def helm(verb: str, folder: Path, values: dict[str, Any]) -> tuple[int, str]:
    """Run Helm; return the exit code, and what it wrote or what was wrong."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [str(TOOLS / "helm"), verb, *(["r"] if verb == "template" else [])]
    done = subprocess.run(
        [*command, str(CHART), "--values", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    # On success Helm tells the other stream which links it followed.
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def rendered(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return every object of the chart by its kind and name."""
    status, text = helm("template", folder, values)
    assert status == 0, text
    return {
        f"{one['kind']}/{one['metadata']['name']}": one
        for one in yaml.safe_load_all(text)
        if one
    }


def pod(objects: dict[str, Any]) -> Any:
    """Return the pod's specification."""
    return objects["Deployment/r-lumina-proxy"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    "values", [MINIMAL, SIDECAR, EVERYTHING], ids=["minimal", "sidecar", "everything"]
)
def test_objects_are_what_kubernetes_knows(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    """Helm's linter has no finding, and every object meets its schema, strictly."""
    status, said = helm("lint", tmp_path, values)
    assert status == 0, said
    objects = rendered(tmp_path, values)
    file = tmp_path / "objects.yaml"
    known = [one for one in objects.values() if one["kind"] not in WITHOUT_SCHEMA]
    file.write_text(yaml.safe_dump_all(known), encoding="utf-8")
    done = subprocess.run(
        [TOOLS / "kubernetes-validate", "--strict", file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("passed for resource") == len(known)


def test_pod_is_restricted(tmp_path: Path) -> None:
    """Trivy finds nothing but that the release's namespace is its user's choice."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(EVERYTHING), encoding="utf-8")
    command = [str(TOOLS / "trivy"), "config", "--quiet", "--format", "json"]
    flags = ["--skip-check-update", "--skip-version-check", "--helm-values", str(file)]
    done = subprocess.run(
        [*command, *flags, str(CHART)], capture_output=True, text=True, check=False
    )
    results = json.loads(done.stdout)["Results"]
    found = {
        one["ID"] for result in results for one in result.get("Misconfigurations", [])
    }

    assert {"templates/deployment.yaml"} <= {one["Target"] for one in results}
    assert found <= {"KSV-0110"}


def test_secrets_are_files_and_not_in_the_chart(tmp_path: Path) -> None:
    """Each key of the Secret is NAME_FILE; the chart makes no Secret."""
    objects = rendered(tmp_path, EVERYTHING)
    variables = {
        one["name"]: one["value"] for one in pod(objects)["containers"][0]["env"]
    }

    assert (
        variables["ENCRYPTION_KEY_FILE"] == "/run/secrets/lumina-proxy/encryption_key"
    )
    assert variables["METRICS_TOKEN_FILE"] == "/run/secrets/lumina-proxy/metrics_token"
    assert variables["TRUSTED_PROXIES"] == "10.0.0.0/8,192.0.2.1"
    assert variables["RATE_LIMIT_API"] == "100/hour"
    assert not any(name.startswith("Secret/") for name in objects)


def test_nobody_gets_around_a_sidecar(tmp_path: Path) -> None:
    """The service beside the proxy has no port of its own in any Service or policy."""
    objects = rendered(tmp_path, SIDECAR)
    proxy, backend = pod(objects)["containers"]
    ports = {
        port.get("targetPort", port.get("port"))
        for name, one in objects.items()
        if name.startswith("Service/")
        for port in one["spec"]["ports"]
    }

    assert (backend["name"], backend["image"], "ports" in backend) == (
        *("backend", "lms:1"),
        False,
    )
    assert {"name": "BACKEND_URL", "value": "http://127.0.0.1:9000"} in proxy["env"]
    assert ports == {"http", "metrics"}


def test_pod_lives_longer_than_its_drain(tmp_path: Path) -> None:
    """Kubernetes does not kill what still answers."""
    values = {**MINIMAL, "drain": {"grace": 20, "timeout": 60}}

    assert pod(rendered(tmp_path, values))["terminationGracePeriodSeconds"] == 85


def test_rules_are_those_of_prometheus(tmp_path: Path) -> None:
    """What the chart brings is what is tested with promtool."""
    originals = ROOT / "grafana" / "prometheus" / "rules"
    links = sorted((CHART / "rules").iterdir())
    objects = rendered(tmp_path, EVERYTHING)
    groups = objects["PrometheusRule/r-lumina-proxy"]["spec"]["groups"]
    named = [
        group["name"]
        for one in links
        for group in yaml.safe_load(one.read_text("utf-8"))["groups"]
    ]

    assert links
    assert [one.resolve() for one in links] == [originals / one.name for one in links]
    assert [group["name"] for group in groups] == named


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"backend": {"url": ""}}, "backend.url: where the service is"),
        ({"secret": {"name": ""}}, "secret.name: the Secret with the keys"),
        ({"policy": {"files": {}}}, "policy.files or policy.existingConfigMap"),
        ({"mode": "sidecar"}, "backend.image: the service beside the proxy"),
        ({"mode": "daemon"}, "mode"),
        ({"replica": 3}, "replica"),
        ({"env": {"ENCRYPTION_KEY": "x"}}, "ENCRYPTION_KEY"),
        ({"policy": {"files": {"lms.txt": "x"}}}, "lms.txt"),
    ],
    ids=[
        *("backend", "secret", "policy", "sidecar", "mode", "typo"),
        *("secret-in-env", "no-yaml"),
    ],
)
def test_mistakes_are_refused(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    """A release that could not work, or would show a secret, is not made."""
    status, said = helm("template", tmp_path, {**MINIMAL, **change})

    assert status != 0
    assert says in said
