"""What kubernetes/ says, against what the images and the settings are."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from handler.settings import Settings, read_settings
from tests.conftest import ROOT

BASE = ROOT / "kubernetes" / "base"


def objects() -> Iterator[dict[str, Any]]:
    for path in sorted(BASE.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())


def found(kind: str, name: str) -> dict[str, Any]:
    [one] = [item for item in objects() if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return one


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = found("Deployment", name)["spec"]["template"]["spec"]
    return spec


def settings(name: str) -> Settings:
    """What the handler reads from a container's plain values."""
    [container] = pod(name)["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    assert all(key.startswith(("FIREBRICK_", "POWERTOOLS_")) for key in given)
    return read_settings({**given, "FIREBRICK_MODEL_DIR": "/m"})


def test_every_file_is_part_of_the_base() -> None:
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]) == files


@pytest.mark.parametrize("name", ["firebrick-stream", "firebrick-worker"])
def test_containers_are_as_restricted_as_they_can_be(name: str) -> None:
    spec = pod(name)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("name", ["firebrick-stream", "firebrick-worker"])
def test_replicas_belong_to_the_autoscaler(name: str) -> None:
    assert "replicas" not in found("Deployment", name)["spec"]


def test_the_server_is_reached_from_outside_at_the_images_port() -> None:
    [container] = pod("firebrick-stream")["containers"]
    [port] = re.findall(r"AWS_LWA_PORT=(\d+)", (ROOT / "Dockerfile").read_text())
    assert settings("firebrick-stream").host == "0.0.0.0"
    assert container["ports"] == [{"name": "http", "containerPort": int(port)}]


def test_the_image_runs_as_it_is() -> None:
    [container] = pod("firebrick-stream")["containers"]
    assert "command" not in container
    assert "args" not in container


def test_the_server_ends_before_it_is_killed() -> None:
    [container] = pod("firebrick-stream")["containers"]
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert (
        waits + settings("firebrick-stream").shutdown_grace_s < pod("firebrick-stream")["terminationGracePeriodSeconds"]
    )


def test_the_worker_ends_its_batch_before_it_is_killed() -> None:
    chosen, spec = settings("firebrick-worker"), pod("firebrick-worker")
    assert chosen.queue_timeout_s + chosen.queue_wait_s < spec["terminationGracePeriodSeconds"]


def test_the_workers_command_is_a_module_of_the_image() -> None:
    [container] = pod("firebrick-worker")["containers"]
    assert container["command"][:3] == ["/usr/bin/env", "python3", "-m"]
    assert importlib.util.find_spec(container["command"][3]) is not None


def test_the_queue_scales_the_worker_to_zero_and_messages_in_hand_count() -> None:
    scaled = found("ScaledObject", "firebrick-worker")["spec"]
    [trigger] = scaled["triggers"]
    assert scaled["minReplicaCount"] == 0
    assert trigger["type"] == "aws-sqs-queue"
    assert trigger["metadata"]["scaleOnInFlight"] == "true"
    assert trigger["metadata"]["queueURLFromEnv"] == "FIREBRICK_QUEUE_URL"


def test_what_the_example_gives_the_worker_are_settings() -> None:
    text = (ROOT / "kubernetes" / "overlays" / "example" / "kustomization.yaml").read_text()
    [made] = yaml.safe_load(text)["configMapGenerator"]
    given = dict(literal.split("=", 1) for literal in made["literals"])
    chosen = read_settings({**given, "FIREBRICK_MODEL_DIR": "/m"})
    assert chosen.queue_url is not None
    assert chosen.results_bucket is not None
    assert given.keys() == {"AWS_REGION", "FIREBRICK_QUEUE_URL", "FIREBRICK_RESULTS_BUCKET"}
