"""The files for a Ray cluster: of Ray's and Kubernetes' own schemas, and closed in."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.deploy.manifests import BIN, DEPLOY, check_variables

LAUNCHER = yaml.safe_load((DEPLOY / "ray" / "cluster.yaml").read_text())
KUBERAY, POLICY = yaml.safe_load_all((DEPLOY / "ray" / "kuberay.yaml").read_text())
SERVICE, SERVICE_POLICY = yaml.safe_load_all((DEPLOY / "ray" / "rayservice.yaml").read_text())
CLUSTERS = [KUBERAY["spec"], SERVICE["spec"]["rayClusterConfig"]]
GROUPS = [one for spec in CLUSTERS for one in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
EVALUATING, SERVING = GROUPS[:2], GROUPS[2:]


def options(command: str) -> set[str]:
    """Return the long options of `ray start`."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.scripts.scripts import cli

    found = {name for one in cli.commands[command].params for name in one.opts}
    return {name.removeprefix("--") for name in found}


def test_the_launchers_file_is_of_rays_schema() -> None:
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(LAUNCHER, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**LAUNCHER, "head": {}}, schema)


@pytest.mark.parametrize("role", ["head", "worker"])
def test_each_machine_starts_with_options_that_exist_and_a_token(role: str) -> None:
    command = LAUNCHER[f"{role}_start_ray_commands"][-1]
    words = command.partition("ray start ")[2].split()
    assert {word.partition("=")[0].removeprefix("--") for word in words} <= options("start")
    set_ = dict(word.rstrip(";").split("=", 1) for word in command.split() if "=" in word[:-1])
    check_variables({k: v for k, v in set_.items() if k.startswith("DDX_")}, quiet=False)
    assert set_["RAY_AUTH_MODE"] == "token"
    assert set_["RAY_AUTH_TOKEN_PATH"] in LAUNCHER["file_mounts"]


@pytest.mark.parametrize("group", GROUPS, ids=["head", "workers", "serving head", "serving"])
def test_each_pod_is_of_the_schema_and_closed_in(group: dict[str, Any]) -> None:
    checker = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    template = group["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "x"}
    for version in ("1.30.0", "1.37.0"):
        checker.validate(pod, version, strict=True)
    spec = template["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    named = {one["name"]: one for one in container["env"]}
    assert named["RAY_AUTH_MODE"]["value"] == "token"
    assert "valueFrom" in named["RAY_AUTH_TOKEN"]
    check_variables(named, quiet=False)
    assert set(group["rayStartParams"]) <= options("start")


def test_only_nodes_and_who_has_their_label_reach_a_node() -> None:
    checker = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    checker.validate(POLICY, "1.37.0", strict=True)
    chosen = POLICY["spec"]["podSelector"]
    assert POLICY["spec"]["ingress"] == [{"from": [{"podSelector": chosen}]}]
    for group in EVALUATING:
        labels = group["template"]["metadata"]["labels"]
        assert chosen["matchLabels"].items() <= labels.items()


def test_the_service_is_of_rays_schema_and_names_what_is_there() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="needs Ray Serve")
    config = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])
    found = schema.ServeDeploySchema.model_validate(config)
    with pytest.raises(ValueError, match="import_path"):
        schema.ServeDeploySchema.model_validate({**config, "applications": [{"name": "ddx"}]})
    (one,) = found.applications
    module, _, name = one.import_path.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_a_journal_outlives_its_pod_on_the_disk_of_its_machine() -> None:
    head, workers = (group["template"]["spec"] for group in SERVING)
    (data,) = (one for one in workers["volumes"] if one["name"] == "data")
    assert data["hostPath"]["type"] == "Directory"
    (container,) = workers["containers"]
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert {"name": "data", "mountPath": told["DDX_DATA_DIR"]} in container["volumeMounts"]
    (apart,) = workers["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    # No replica is put where no disk is.
    assert SERVING[0]["rayStartParams"]["num-cpus"] == "0"
    assert not any("hostPath" in one for one in head["volumes"])


def test_the_network_reaches_the_service_at_its_own_door_alone() -> None:
    checker = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    checker.validate(SERVICE_POLICY, "1.37.0", strict=True)
    own, *others = SERVICE_POLICY["spec"]["ingress"]
    assert own == {"from": [{"podSelector": SERVICE_POLICY["spec"]["podSelector"]}]}
    assert {port["port"] for one in others for port in one["ports"]} == {8000, 8265}
    chosen = SERVICE_POLICY["spec"]["podSelector"]["matchLabels"]
    for group in SERVING:
        assert chosen.items() <= group["template"]["metadata"]["labels"].items()


def test_the_image_has_the_version_that_the_cluster_says_and_this_project_needs() -> None:
    text = (DEPLOY / "ray" / "Dockerfile").read_text()
    version = KUBERAY["spec"]["rayVersion"]
    assert f'"ray[default,serve]=={version}"' in text
    major, minor, _ = version.split(".")
    pyproject = (DEPLOY.parent / "pyproject.toml").read_text()
    assert f"ray[default,serve]=={major}.{minor}.*" in pyproject


def test_hadolint_finds_no_fault_in_the_dockerfile() -> None:
    program = shutil.which("hadolint", path=BIN)
    if program is None:
        pytest.skip("needs hadolint")
    done = subprocess.run(
        [program, DEPLOY / "ray" / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
