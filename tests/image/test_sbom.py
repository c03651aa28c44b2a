"""The bill of materials."""

from __future__ import annotations

import hashlib

from image.archive import Layer, SavedImage
from image.sbom import ADAPTER, DESCRIPTION, ELF, LAUNCHER, LIBRARY, STATUS, bill, wanted

LOCK = '[[package]]\nname = "ort-sys"\nversion = "2.0.0"\n'
CONTENTS = {
    STATUS: b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u9\n\n"
    b"Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n",
    ADAPTER: b"adapter",
    DESCRIPTION: b'{"model": {"id": "demo", "revision": null}}',
    "opt/firebrick/site/Typing_Extensions.dist-info/METADATA": b"Name: typing_extensions\nVersion: 4.16.0\n"
    b"License-Expression: PSF-2.0\n\nBody",
}
SAVED = SavedImage({}, (Layer(1, 0, {LIBRARY: 0o644}),), CONTENTS)


def purls(saved: SavedImage) -> list[str]:
    document = bill("firebrick:stream", "abc", saved, LOCK)
    return [component["purl"] for component in document["components"] if "purl" in component]


def test_packages_of_every_kind_are_named() -> None:
    assert purls(SAVED) == [
        "pkg:cargo/lambda_web_adapter@0.9.1",
        "pkg:cargo/ort-sys@2.0.0",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64",
        "pkg:pypi/typing-extensions@4.16.0",
    ]


def test_the_launcher_is_named_with_its_hash_unless_it_is_a_script() -> None:
    with_launcher = SavedImage({}, (), {**CONTENTS, LAUNCHER: ELF + b"program"})
    found = [c for c in bill("x", "abc", with_launcher, LOCK)["components"] if c["name"] == "firebrick-launcher"]
    assert [(c["type"], c["purl"]) for c in found] == [("application", "pkg:cargo/firebrick-launcher@0.1.0")]
    assert found[0]["hashes"][0]["content"] == hashlib.sha256(ELF + b"program").hexdigest()
    with_script = SavedImage({}, (), {**CONTENTS, LAUNCHER: b"#!/bin/sh\n"})
    assert "pkg:cargo/firebrick-launcher@0.1.0" not in purls(with_script)


def test_the_model_is_a_component() -> None:
    models = [c for c in bill("x", "abc", SAVED, LOCK)["components"] if c["type"] == "machine-learning-model"]
    assert models == [{"type": "machine-learning-model", "name": "demo"}]


def test_crates_count_only_with_the_library() -> None:
    assert "pkg:cargo/ort-sys@2.0.0" not in purls(SavedImage({}, (), CONTENTS))


def test_it_is_about_one_image() -> None:
    component = bill("firebrick:stream", "abc", SAVED, LOCK)["metadata"]["component"]
    assert component == {"type": "container", "name": "firebrick:stream", "version": "sha256:abc"}


def test_what_it_reads_is_asked_for() -> None:
    assert all(wanted(path) for path in (*CONTENTS, LAUNCHER))
