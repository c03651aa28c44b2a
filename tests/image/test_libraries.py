"""Reordering an image's libraries by what is known of them."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy
import pytest

from image import touched
from image.start import libraries, pages, record
from image.start.libraries import large_libraries, order

LIBRARY = next((Path(numpy.__file__).parent / "_core").glob("_multiarray_umath.*.so"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory of packages with a large library, a small one, and something else that is called so."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "large.so").write_bytes(LIBRARY.read_bytes())
    (tmp_path / "package" / "small.so.1").write_bytes(LIBRARY.read_bytes()[:1000])
    (tmp_path / "other.so").write_bytes(b"#!/bin/sh\n" * 200_000)
    return tmp_path


def known(sha256: str, numbers: str) -> dict[str, dict[str, dict[str, str]]]:
    return {"some-cp3": {"large.so": {"sha256": sha256, "pages": numbers}}}


def test_only_large_libraries_count(site: Path) -> None:
    assert [path.name for path, _ in large_libraries(site)] == ["large.so"]


def test_a_known_library_is_written_with_its_touched_pages_first(site: Path) -> None:
    before = LIBRARY.read_bytes()
    fronts = order(site, known(hashlib.sha256(before).hexdigest(), "3-5,900"))
    written, length = pages.front(before, {3, 4, 5, 900})
    path = site / "package" / "large.so"
    assert path.read_bytes() == written
    assert fronts == {str(path): length}
    assert json.loads((site / record.FRONTS).read_text()) == fronts


def test_an_unknown_library_stays_as_it_is_and_is_named(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert order(site, known("0" * 64, "3-5,900")) == {}
    assert (site / "package" / "large.so").read_bytes() == LIBRARY.read_bytes()
    assert "large.so stays as it is: touched.json doesn't have it" in capsys.readouterr().err
    assert not (site / record.FRONTS).exists()


def test_a_library_that_no_start_touches_stays_as_it_is(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert order(site, known(hashlib.sha256(LIBRARY.read_bytes()).hexdigest(), "")) == {}
    assert (site / "package" / "large.so").read_bytes() == LIBRARY.read_bytes()
    assert capsys.readouterr().err == ""


def test_what_a_start_opens_is_split_from_the_rest(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("out")
    (site / "anyio").mkdir()
    for name in ("anyio/__init__.py", "package/cold.so", "package/part.py"):
        (site / name).write_text(name)
    small = (site / "package" / "small.so.1").read_bytes()
    libraries.split(site, known(hashlib.sha256(small).hexdigest(), "0"), out)
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {
        *("first/site/anyio/__init__.py", "first/site/package/small.so.1"),
        *("libraries/other.so", "libraries/package/cold.so", "libraries/package/large.so"),
    }
    assert [path.name for path in site.rglob("*") if path.is_file()] == ["part.py"]
    assert (out / "first" / "app" / "handler").is_dir()


def test_the_list_has_the_length_of_a_front(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site / "package" / "large.so"
    fronts = order(site, known(hashlib.sha256(LIBRARY.read_bytes()).hexdigest(), "3-5,900"))
    monkeypatch.setattr(sys, "path", [str(site)])
    assert record.with_lengths([str(path), "/usr/bin/python3"]) == [f"{path}\t{fronts[str(path)]}", "/usr/bin/python3"]


def test_a_function_that_does_not_start_is_an_error_and_not_a_wait(site: Path) -> None:
    with pytest.raises(OSError, match="refused"):
        libraries.record(site, (sys.executable, "-c", "raise SystemExit(3)"))


def test_a_new_record_replaces_the_old_one_of_the_same_python_only() -> None:
    x, y, z = ({"sha256": name, "pages": "1"} for name in "xyz")
    kept = {"a-cp1": {"x": x}, "b-cp1": {"y": y}}
    assert json.loads(touched.merged(kept, {"a-cp1": {"z": z}})) == {"a-cp1": {"z": z}, "b-cp1": {"y": y}}


@pytest.mark.parametrize(("hash", "pages"), [("same", "1-3,7"), ("other", "2-3")])
def test_pages_of_the_same_library_are_added(hash: str, pages: str) -> None:
    kept = {"a-cp1": {"x": {"sha256": "same", "pages": "1-2,7"}}}
    found = {"a-cp1": {"x": {"sha256": hash, "pages": "2-3"}}}
    assert json.loads(touched.merged(kept, found))["a-cp1"]["x"]["pages"] == pages


def test_the_record_in_the_repository_can_be_read() -> None:
    for entries in json.loads(libraries.TOUCHED.read_text()).values():
        for entry in entries.values():
            assert len(entry["sha256"]) == 64
            assert libraries.text(libraries.numbers(entry["pages"])) == entry["pages"]
