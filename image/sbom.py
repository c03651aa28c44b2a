"""`python -m image.sbom`: a CycloneDX 1.6 bill of what is in an image, read from the image itself."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from image.archive import SavedImage, read_image
from image.base.adapter import CRATE, VERSION
from image.command import exit_code, images_parser
from image.context import ROOT
from image.engines import choose

STATUS = "var/lib/dpkg/status"
ADAPTER = "opt/extensions/lambda-adapter"
LAUNCHER = "opt/firebrick/start/launcher"
DESCRIPTION = "opt/firebrick/model/firebrick.json"
LIBRARY = "opt/firebrick/app/handler/libfirebrick_kernels.so"
LAUNCHER_CRATE = ROOT / "kernels" / "launcher" / "Cargo.toml"
ELF = b"\x7fELF"
OUT = ROOT / "build" / "image"


def wanted(path: str) -> bool:
    """Whether a file says what is in the image."""
    return path in (STATUS, ADAPTER, LAUNCHER, DESCRIPTION) or path.endswith(".dist-info/METADATA")


def bill(name: str, image_id: str, saved: SavedImage, lock: str) -> dict[str, Any]:
    """Describe an image; the same image gives the same bytes.

    Args:
        name: of the image.
        image_id: its digest.
        saved: read with `wanted`.
        lock: Cargo.lock of the kernels.

    Returns:
        a CycloneDX document. A base that isn't Debian's is described by its Python packages only.
    """
    components = [*_python(saved.contents), *_debian(saved.contents), *_ours(saved, lock)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": f"sha256:{image_id}"}},
        "components": sorted(components, key=lambda component: (component.get("purl", ""), component["name"])),
    }


def _python(contents: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    for path, text in contents.items():
        if path.endswith("/METADATA"):
            headers = BytesHeaderParser().parsebytes(text)
            name, version = str(headers["Name"]), str(headers["Version"])
            found = _library(name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{version}")
            if expression := headers.get("License-Expression"):
                found["licenses"] = [{"expression": str(expression)}]
            yield found


def _debian(contents: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    for paragraph in contents.get(STATUS, b"").split(b"\n\n"):
        headers = BytesHeaderParser().parsebytes(paragraph + b"\n\n")
        if headers.get("Status") == "install ok installed":
            name, version, kind = (str(headers[key]) for key in ("Package", "Version", "Architecture"))
            escaped = version.replace("+", "%2B").replace(":", "%3A")
            yield _library(name, version, f"pkg:deb/debian/{name}@{escaped}?arch={kind}")


def _ours(saved: SavedImage, lock: str) -> Iterator[dict[str, Any]]:
    if ADAPTER in saved.contents:
        yield _application(CRATE, VERSION, saved.contents[ADAPTER])
    if saved.contents.get(LAUNCHER, b"").startswith(ELF):  # without cargo it is a script
        launcher = tomllib.loads(LAUNCHER_CRATE.read_text())["package"]
        yield _application(launcher["name"], launcher["version"], saved.contents[LAUNCHER])
    if any(LIBRARY in layer.files for layer in saved.layers):
        for crate in tomllib.loads(lock)["package"]:
            yield _library(crate["name"], crate["version"], f"pkg:cargo/{crate['name']}@{crate['version']}")
    if DESCRIPTION in saved.contents:
        model = json.loads(saved.contents[DESCRIPTION])["model"]
        found = {"type": "machine-learning-model", "name": model["id"]}
        yield found | ({"version": model["revision"]} if model["revision"] else {})


def _application(crate: str, version: str, program: bytes) -> dict[str, Any]:
    found = _library(crate, version, f"pkg:cargo/{crate}@{version}") | {"type": "application"}
    return found | {"hashes": [{"alg": "SHA-256", "content": hashlib.sha256(program).hexdigest()}]}


def _library(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 0, or 2 if an image is missing."""
    parser = images_parser("sbom", "Write bills of materials (CycloneDX).")
    parser.add_argument("--out", type=Path, default=OUT, help="a directory (default: build/image)")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _write(given))


def _write(given: argparse.Namespace) -> None:
    lock = (ROOT / "kernels" / "Cargo.lock").read_text()
    engine, _ = choose(given.engine)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.image:
        document = bill(name, engine.image_id(name), read_image(engine, name, wanted), lock)
        path = given.out / f"{name.rpartition('/')[2].replace(':', '-')}.cdx.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
        print(f"{path}: {len(document['components'])} components")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
