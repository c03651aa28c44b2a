"""Saved images, made by hand."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping


def tar(files: Mapping[str, bytes]) -> bytes:
    """An archive of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def docker_archive(*layers: bytes) -> io.BytesIO:
    """What an engine saves: layers, lowest first, then the documents."""
    names = [f"layer-{number}.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "Layers": names, "RepoTags": ["firebrick:stream"]}]
    documents = {"config.json": b'{"os": "linux"}', "VERSION": b"1.0", "manifest.json": json.dumps(manifest).encode()}
    return io.BytesIO(tar({**dict(zip(names, layers, strict=True)), **documents}))
