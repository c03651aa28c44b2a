"""Manifests are held against schemas that know no members but those that there are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import image.deploy.kubernetes as kubernetes
from image.deploy.schemas import closed, from_definition, from_openapi
from image.errors import CheckFailed

POD: dict[str, Any] = {
    "definitions": {
        "Pod": {
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "port": {"type": "string", "format": "int-or-string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "spec": {"$ref": "#/definitions/Spec"},
            },
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
        },
        "Spec": {"type": "object", "properties": {"memory": {"$ref": "#/definitions/Quantity"}}},
        "Options": {"x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Options"}]},
        "Quantity": {"type": "string"},
    }
}


def errors(schema: Any, value: object) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(value)]


def test_unknown_members_are_refused_wherever_they_are() -> None:
    schema = {**closed(POD), **closed(POD)["definitions"]["Pod"]}
    assert errors(schema, {"spec": {"memory": "1Gi"}, "labels": {"any": "x"}, "port": 80}) == []
    assert errors(schema, {"port": "http"}) == []
    assert len(errors(schema, {"specs": {}})) == 1
    assert len(errors(schema, {"spec": {"memoy": "1Gi"}})) == 1


def test_what_is_to_be_kept_open_stays_open() -> None:
    schema = closed({"properties": {"a": {}}, "x-kubernetes-preserve-unknown-fields": True})
    assert errors(schema, {"b": 1}) == []


def test_a_member_may_be_called_as_a_keyword_is() -> None:
    schema = closed({"properties": {"properties": {"type": "string"}, "format": {"type": "string"}}})
    assert errors(schema, {"properties": "x", "format": "int-or-string"}) == []


def test_kinds_have_files_by_group_and_version() -> None:
    assert {name for name, _ in from_openapi(POD)} == {"definitions.json", "v1_v1_pod.json"}


def test_a_definitions_versions_are_kinds() -> None:
    version = {"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}}}
    made = dict(
        from_definition({"spec": {"group": "keda.sh", "names": {"kind": "ScaledObject"}, "versions": [version]}})
    )
    assert errors(made["keda.sh_v1_scaledobject.json"], {"specs": {}})


def test_without_go_it_says_loudly_that_nothing_was_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert kubernetes.main([], {}) == 0
    assert "!!! THE MANIFESTS WERE NOT CHECKED: go is missing" in capsys.readouterr().err


@pytest.fixture(scope="module")
def checked() -> tuple[Path, Path]:
    """kubeconform and the schemas, if `make check-kubernetes` has made them."""
    programs, schemas = list(kubernetes.BUILD.glob("*/kubeconform")), list(kubernetes.BUILD.glob("schemas-*[0-9]"))
    if not programs or not schemas:
        pytest.skip("run `make check-kubernetes` first")
    return programs[0], schemas[0]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("minReplicaCount: 0", "minReplicas: 0"),
        ("averageUtilization: 70", "averageUtilization: much"),
        ("readOnlyRootFilesystem: true", "readonlyRootFilesystem: true"),
        ("kind: NetworkPolicy", "kind: NetworkPolicies"),
        ("provider: aws ", "provider: azure "),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(
    checked: tuple[Path, Path], right: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n---\n".join(path.read_text() for path in sorted((kubernetes.MANIFESTS / "base").glob("[nsw]*.yaml")))
    assert "Invalid: 0" in kubernetes.validate(*checked, text, "base")
    assert right in text
    with pytest.raises(CheckFailed, match="kubernetes/"):
        kubernetes.validate(*checked, text.replace(right, wrong, 1), "base")
    assert "kubeconform" not in capsys.readouterr().out


def test_a_folder_that_cannot_be_put_together_is_named(tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl here")
    (tmp_path / "kustomization.yaml").write_text(json.dumps({"resources": ["nowhere.yaml"]}))
    with pytest.raises(CheckFailed, match="kustomize"):
        kubernetes.render([shutil.which("kubectl") or "", "kustomize"], tmp_path)
