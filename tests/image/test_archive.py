"""Reading a saved image."""

from __future__ import annotations

import gzip
import tarfile

import pytest

from image.archive import parse
from tests.image.saved import docker_archive, tar

LOW = tar({"opt/model/a": b"a" * 1000})
HIGH = tar({"./opt/app/b": b"b", "opt/app/c": b"c"})


def test_layers_come_from_the_lowest_up_with_their_files() -> None:
    saved = parse(docker_archive(LOW, HIGH), lambda path: False)
    assert [sorted(layer.files) for layer in saved.layers] == [["opt/model/a"], ["opt/app/b", "opt/app/c"]]
    assert [layer.what for layer in saved.layers] == ["/opt/model/a", "/opt/app"]


def test_sizes_are_those_of_the_layers() -> None:
    saved = parse(docker_archive(LOW, HIGH), lambda path: False, compress=True)
    assert [layer.size for layer in saved.layers] == [len(LOW), len(HIGH)]
    assert saved.size == len(LOW) + len(HIGH)
    assert 0 < saved.layers[0].compressed < 1000


def test_compressed_layers_are_read_too() -> None:
    saved = parse(docker_archive(gzip.compress(LOW, 0)), lambda path: False)
    assert saved.layers[0].size == len(LOW)


def test_contents_are_kept_where_they_are_wanted() -> None:
    saved = parse(docker_archive(LOW, HIGH), lambda path: path.endswith("/b"))
    assert saved.contents == {"opt/app/b": b"b"}


def test_the_configuration_is_read() -> None:
    assert parse(docker_archive(LOW), lambda path: False).config == {"os": "linux"}


def test_half_an_archive_is_an_error() -> None:
    whole = docker_archive(LOW, HIGH)
    whole.truncate(1000)
    with pytest.raises(tarfile.TarError):
        parse(whole, lambda path: False)
