"""What Kubernetes and KEDA publish of their objects → JSON Schemas that refuse members which nobody knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = dict[str, Any]
DEFINITIONS = "definitions"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
OPEN = "x-kubernetes-preserve-unknown-fields"
GROUPS = "x-kubernetes-group-version-kind"


def file_name(group: str, version: str, kind: str) -> str:
    """The file of a kind, as kubeconform's template `LOCATION` asks for it."""
    return (
        f"{group or version}_{version}_{kind.lower()}.json"  # The first group has no name; its version stands for it.
    )


LOCATION = "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json"


def from_openapi(document: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
    """The kinds of Kubernetes' own OpenAPI document (2.0), and the definitions that they share.

    Args:
        document: api/openapi-spec/swagger.json of its sources.

    Yields:
        Names of files and what stands in them.
    """
    definitions = {name: closed(schema) for name, schema in document["definitions"].items()}
    definitions[QUANTITY] = {"type": ["string", "number"]}
    shared = f"{DEFINITIONS}.json"
    yield shared, {"definitions": definitions}
    for name, schema in document["definitions"].items():
        for known in schema.get(GROUPS, []):
            # Some of a kind are of every group, such as DeleteOptions; only what stands alone has both of these.
            if {"apiVersion", "kind"} <= schema.get("properties", {}).keys():
                yield (
                    file_name(known["group"], known["version"], known["kind"]),
                    {"$ref": f"{shared}#/definitions/{name}"},
                )


def from_definition(definition: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
    """The versions of a kind that a CustomResourceDefinition adds."""
    spec = definition["spec"]
    for version in spec["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        yield file_name(spec["group"], version["name"], spec["names"]["kind"]), schema


def closed(schema: Any) -> Any:
    """The same schema without room for unknown members, and with numbers where Kubernetes takes them for strings."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    found: Schema = {}
    for name, value in schema.items():
        # Members may be called as keywords are.
        if name == "properties" and isinstance(value, Mapping):
            found[name] = {member: closed(of) for member, of in value.items()}
        else:
            found[name] = closed(value)
    if "properties" in found and "additionalProperties" not in found and not found.get(OPEN):
        found["additionalProperties"] = False
    return found
