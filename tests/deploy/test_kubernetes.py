"""The manifests: of Kubernetes' own schemas, closed in, and of one piece."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml
from tests.deploy.manifests import DEPLOY, check_command, check_variables

from ddx.web import health

FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
OBJECTS: list[dict[str, Any]] = [
    one for file in FILES for one in yaml.safe_load_all(file.read_text())
]
VERSIONS = ("1.30.0", "1.34.0", "1.37.0")
IDS = [f"{one['kind']}-{one['metadata']['name']}" for one in OBJECTS]
SECRETS = {
    "ddx-stores": {"MLFLOW_BACKEND_STORE_URI", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "ddx-models": set(),
}


def of(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == kind}


class Pod(NamedTuple):
    """What a workload starts."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]


def pods() -> Iterator[Pod]:
    for one in OBJECTS:
        spec = one.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            template = spec["template"]
            yield Pod(one["metadata"]["name"], template["metadata"]["labels"], template["spec"])


def containers() -> Iterator[tuple[Pod, dict[str, Any]]]:
    for pod in pods():
        for container in pod.spec["containers"]:
            yield pod, container


def variables(container: dict[str, Any]) -> dict[str, str]:
    given = of("ConfigMap")["ddx-settings"]["data"]
    return {**given, **{one["name"]: one.get("value", "") for one in container.get("env", [])}}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("one", OBJECTS, ids=IDS)
def test_each_object_is_of_the_schema_and_says_nothing_that_it_does_not_know(
    one: dict[str, Any], version: str
) -> None:
    checker = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    checker.validate(one, version, strict=True)


def test_the_schema_would_find_a_fault() -> None:
    checker = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    wrong = {**of("Service")["ddx"], "spec": {"ports": [{"prot": 8000}]}}
    with pytest.raises(checker.ValidationError):
        checker.validate(wrong, VERSIONS[-1], strict=True)


def test_everything_is_in_the_namespace_which_refuses_what_is_not_restricted() -> None:
    (namespace,) = of("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [one for one in OBJECTS if one["kind"] != "Namespace"]
    assert {one["metadata"]["namespace"] for one in others} == {"ddx"}


@pytest.mark.parametrize("pod", pods(), ids=lambda pod: pod.owner)
def test_each_pod_is_restricted_and_knows_nothing_of_the_cluster(pod: Pod) -> None:
    context = pod.spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["fsGroupChangePolicy"] == "OnRootMismatch"
    assert pod.spec["automountServiceAccountToken"] is False
    assert pod.spec["serviceAccountName"] in of("ServiceAccount")
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
    assert all("hostPath" not in volume for volume in pod.spec.get("volumes", []))


@pytest.mark.parametrize(
    ("pod", "container"), containers(), ids=[container["name"] for _, container in containers()]
)
def test_each_container_is_closed_in_and_what_it_runs_exists(
    pod: Pod, container: dict[str, Any]
) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    words = container["command"]
    if words[0] == "ddx-backup":
        assert os.access(DEPLOY / "systemd" / words[0], os.X_OK)
        assert "deploy/systemd/ddx-backup" in (DEPLOY / "docker/Dockerfile").read_text()
    else:
        check_command(words)
    check_variables(variables(container), quiet=False)
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    claimed = {
        claim["metadata"]["name"]
        for claim in of("StatefulSet")
        .get(pod.owner, {})
        .get("spec", {})
        .get("volumeClaimTemplates", [])
    }
    assert mounted <= {volume["name"] for volume in pod.spec.get("volumes", [])} | claimed


def test_there_is_one_image() -> None:
    (image,) = {container["image"] for _, container in containers()}
    assert not image.endswith(":latest")
    assert ":" in image


def test_the_probes_ask_for_what_there_is() -> None:
    routes = {route.path for route in health.router(None, None).routes}  # type: ignore[arg-type, attr-defined]
    server = next(one for _, one in containers() if one["name"] == "server")
    asked = {kind: server[kind]["httpGet"] for kind in server if kind.endswith("Probe")}
    assert {kind: get["path"] for kind, get in asked.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {get["path"] for get in asked.values()} <= routes
    for _, container in containers():
        ports = {port["name"] for port in container.get("ports", [])}
        for kind in (kind for kind in container if kind.endswith("Probe")):
            if "httpGet" in container[kind]:
                assert container[kind]["httpGet"]["port"] in ports
            else:
                check_command(container[kind]["exec"]["command"])


def test_the_journal_has_one_writer_on_a_disk_that_outlives_it() -> None:
    (stateful,) = of("StatefulSet").values()
    assert stateful["spec"]["replicas"] == 1
    (claim,) = stateful["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert set(stateful["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    names = {
        f"{claim['metadata']['name']}-{stateful['metadata']['name']}-0",
        *of("PersistentVolumeClaim"),
    }
    (backup,) = (pod for pod in pods() if pod.owner == "backup")
    used = [volume.get("persistentVolumeClaim") for volume in backup.spec["volumes"]]
    assert {claim["claimName"] for claim in used if claim} <= names


def test_each_service_finds_its_pods_and_the_ingress_its_service() -> None:
    for service in of("Service").values():
        found = [pod for pod in pods() if service["spec"]["selector"].items() <= pod.labels.items()]
        assert len(found) == 1
        ports = {port["name"] for c in found[0].spec["containers"] for port in c.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    (ingress,) = of("Ingress").values()
    for rule in ingress["spec"]["rules"]:
        assert rule["host"] in ingress["spec"]["tls"][0]["hosts"]
        for path in rule["http"]["paths"]:
            assert path["backend"]["service"]["name"] in of("Service")
    settings = of("ConfigMap")["ddx-settings"]["data"]
    assert settings["DDX_MLFLOW_HOST"] in of("Service")
    assert settings["DDX_REQUIRE_API_KEYS"] == settings["DDX_BEHIND_PROXY"] == "1"
    mlflow = next(one for _, one in containers() if one["name"] == "mlflow")
    (hosts,) = (word for word in mlflow["command"] if word.startswith("--allowed-hosts="))
    assert "mlflow:5000" in hosts.partition("=")[2].split(",")


def test_what_no_policy_names_is_closed_for_every_pod() -> None:
    policies = of("NetworkPolicy")
    closed = policies["nothing-else"]["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for pod in pods():
        opened = [p for p in policies.values() if selects(p["spec"]["podSelector"], pod.labels)]
        assert len(opened) >= 2, pod.owner


def test_no_way_leads_out_to_a_machines_metadata_or_into_the_cluster() -> None:
    blocks = [
        (target["ipBlock"], rule["ports"])
        for policy in of("NetworkPolicy").values()
        for rule in policy["spec"].get("egress", [])
        for target in rule["to"]
        if "ipBlock" in target
    ]
    assert blocks
    for block, ports in blocks:
        assert [port["port"] for port in ports] in ([443], [5432])
        if block["cidr"] == "0.0.0.0/0":
            assert {"169.254.0.0/16", "10.0.0.0/8", "127.0.0.0/8"} <= set(block["except"])


def test_secrets_are_named_and_none_is_here() -> None:
    assert of("Secret") == {}
    used: dict[str, set[str]] = {}
    for pod, container in containers():
        for one in container.get("env", []):
            reference = one["valueFrom"]["secretKeyRef"]
            used.setdefault(reference["name"], set()).add(reference["key"])
        for one in container.get("envFrom", []):
            if "secretRef" in one:
                used.setdefault(one["secretRef"]["name"], set())
                assert (pod.owner, container["name"]) == ("ddx", "server")
    assert used == SECRETS


def test_a_disruption_budget_keeps_the_one_that_there_is() -> None:
    (budget,) = of("PodDisruptionBudget").values()
    assert budget["spec"]["maxUnavailable"] == 0
    assert [p.owner for p in pods() if selects(budget["spec"]["selector"], p.labels)] == ["ddx"]
