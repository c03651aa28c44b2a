from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from handler.artefact import Artefact, load_artefact
from handler.engine.cache import allocate
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.prefixes import read_prefix, write_prefix
from handler.engine.sampling import SamplingParams
from handler.errors import PrefixDamaged, PrefixMismatch, PrefixUnwritable
from model_export.convert import convert
from tests.kernels.models import LIBRARY

IDS = [3, 1, 4, 1, 5]
# One layer, one head of two elements, three tokens.
GOLDEN_HEADER = (
    '{"__metadata__":{"format":"firebrick-prefix","format_version":"1","kv_cache_dtype":"int8","cache_key":"k"},'
    '"ids":{"dtype":"I32","shape":[3],"data_offsets":[0,12]},'
    '"0.key":{"dtype":"I8","shape":[1,3,2],"data_offsets":[12,18]},'
    '"0.value":{"dtype":"I8","shape":[1,3,2],"data_offsets":[18,24]},'
    '"0.key_scale":{"dtype":"F32","shape":[1,3],"data_offsets":[24,36]},'
    '"0.value_scale":{"dtype":"F32","shape":[1,3],"data_offsets":[36,48]}}'
)
GOLDEN_DATA = (
    "070000000800000009000000"  # ids 7, 8, 9
    "010203040506"  # keys 1 … 6
    "fffefdfcfbfa"  # values -1 … -6
    "0000803f0000004000004040"  # 1.0, 2.0, 3.0
    "0000003f0000003f0000003f"  # 0.5 each
)


@pytest.fixture
def artefact(demo_artefact: Path) -> Artefact:
    """The description of a tiny model."""
    demo = load_artefact(demo_artefact, "quick")
    return replace(
        demo,
        vocab_size=10,
        context_length=8,
        num_hidden_layers=1,
        num_key_value_heads=1,
        head_dim=2,
        kernels="native",
        kv_cache_dtype="int8",
        cache_key="k",
    )


@pytest.fixture
def path(artefact: Artefact, tmp_path: Path) -> Path:
    """A file of three tokens, from a slot with eight positions."""
    slot = {name: array[0] for name, array in allocate(artefact).items()}
    slot["0.key"][0, :3] = [[1, 2], [3, 4], [5, 6]]
    slot["0.value"][0, :3] = [[-1, -2], [-3, -4], [-5, -6]]
    slot["0.key_scale"][0, :3] = [1, 2, 3]
    slot["0.value_scale"][0, :3] = 0.5
    slot["0.key"][0, 3:] = 99  # beyond the prefix
    assert write_prefix(tmp_path / "p", artefact, [7, 8, 9], slot) == 4096 + 48
    return tmp_path / "p"


def test_golden_bytes(path: Path) -> None:
    content = path.read_bytes()
    assert int.from_bytes(content[:8], "little") == 4088
    assert content[8:4096].decode() == GOLDEN_HEADER.ljust(4088)
    assert content[4096:].hex() == GOLDEN_DATA


def test_the_official_package_reads_the_same(path: Path, artefact: Artefact) -> None:
    expected, prefix = load_file(path), read_prefix(path, artefact)
    assert prefix.ids == tuple(expected.pop("ids").tolist()) == (7, 8, 9)
    assert prefix.arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(prefix.arrays[name], array, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_every_kind_of_cache_comes_back(dtype: str, artefact: Artefact, tmp_path: Path) -> None:
    artefact = replace(artefact, kv_cache_dtype=dtype, num_hidden_layers=3, num_key_value_heads=2, head_dim=16)
    slot = {name: array[0] for name, array in allocate(artefact).items()}
    numbers = np.random.default_rng(0)
    for array in slot.values():
        array[...] = numbers.integers(-100, 100, array.shape)
    write_prefix(tmp_path / "p", artefact, IDS, slot)
    prefix = read_prefix(tmp_path / "p", artefact)
    assert prefix.ids == tuple(IDS)
    for name, array in slot.items():
        np.testing.assert_array_equal(prefix.arrays[name], array[:, : len(IDS)], strict=True)


def test_nobody_writes_into_the_mapping(path: Path, artefact: Artefact) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read_prefix(path, artefact).arrays["0.key"][0, 0] = 1


def test_a_file_that_cannot_be_written_is_not_there(artefact: Artefact, tmp_path: Path) -> None:
    slot = {name: array[0] for name, array in allocate(artefact).items()}
    with pytest.raises(PrefixUnwritable, match="p can't be written: No such file"):
        write_prefix(tmp_path / "none" / "p", artefact, IDS, slot)


def test_a_full_disk_leaves_no_half_of_a_file(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[Path] = []
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: removed.append(path))
    slot = {name: array[0] for name, array in allocate(artefact).items()}
    with pytest.raises(PrefixUnwritable, match="No space left on device"):
        write_prefix(Path("/dev/full"), artefact, IDS, slot)
    assert removed == [Path("/dev/full")]


# ---------------------------------------------------------------- what doesn't fit


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cache_key": "other"}, "its cache_key is 'k', not 'other'"),
        ({"kv_cache_dtype": "float16"}, "its kv_cache_dtype is 'int8', not 'float16'"),
    ],
)
def test_another_artefacts_prefix_is_refused(changes: Any, said: str, path: Path, artefact: Artefact) -> None:
    with pytest.raises(PrefixMismatch, match=rf"p is of another artefact: {said}; export the model again"):
        read_prefix(path, replace(artefact, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 2}, r"1\.key is null"),
        ({"num_key_value_heads": 2}, r"0\.key is .*\[1, 3, 2\].*not .*\[2, 3, 2\]"),
        ({"head_dim": 4}, r"0\.key is .*\[1, 3, 2\].*not .*\[1, 3, 4\]"),
        ({"vocab_size": 9}, "token id 9 in a vocabulary of 9"),
        ({"context_length": 3}, "3 tokens, not 2 to 2"),
    ],
)
def test_another_shape_is_refused(changes: Any, said: str, path: Path, artefact: Artefact) -> None:
    with pytest.raises(PrefixDamaged, match=rf"p is no whole prefix: {said}"):
        read_prefix(path, replace(artefact, **changes))


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        for key in keys[:-1]:
            header = header[key]
        header[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("__metadata__", "format", value="firebrick"), "its format is 'firebrick', not 'firebrick-prefix'"),
        (put("__metadata__", "format_version", value="2"), "its format_version is '2', not '1'"),
        (put("__metadata__", value={}), "its format is null"),
        (put("__metadata__", value=None), "its header has no __metadata__"),
        (lambda header: header.pop("ids"), "0 tokens, not 2 to 7"),
        (put("ids", value=[3]), "0 tokens, not 2 to 7"),
        (put("ids", "shape", value=3), "0 tokens"),
        (put("ids", "shape", value=[1]), "1 tokens"),
        (put("ids", "shape", value=[-3]), "-3 tokens"),
        (put("ids", "shape", value=["3"]), "0 tokens"),
        (put("ids", "shape", value=[3, 1]), "0 tokens"),
        (put("ids", "dtype", value="I64"), r"ids is .*I64.*, not .*I32"),
        (lambda header: header.pop("0.value"), r"0\.value is null, not \{"),
        (put("0.key", "dtype", value="F16"), r"0\.key is .*F16.*, not .*I8"),
        (put("0.key_scale", "shape", value=[3, 1]), r"0\.key_scale is .*\[3, 1\].*, not .*\[1, 3\]"),
        (put("0.key", "data_offsets", value=[18, 24]), r"0\.key is .*\[18, 24\].*, not .*\[12, 18\]"),
        (put("0.key", "data_offsets", value=[12, 10**30]), r"0\.key is .*10{30}\]"),
        (put("1.key", value={"dtype": "I8", "shape": [0], "data_offsets": [48, 48]}), r"it holds '1\.key', which no"),
    ],
)
def test_a_header_that_is_not_the_only_right_one_is_refused(
    change: Any, said: str, path: Path, artefact: Artefact
) -> None:
    content = path.read_bytes()
    header = json.loads(content[8:4096])
    change(header)
    path.write_bytes(content[:8] + json.dumps(header).encode().ljust(4088) + content[4096:])
    with pytest.raises((PrefixDamaged, PrefixMismatch), match=said):
        read_prefix(path, artefact)


@pytest.mark.parametrize("header", [b"no JSON", b"[]", b"[" * 4000, b"\xff", b'"text"', b"null"])
def test_a_header_that_is_none_is_refused(header: bytes, path: Path, artefact: Artefact) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:8] + header.ljust(4088) + content[4096:])
    with pytest.raises(PrefixDamaged, match="p is no whole prefix: "):
        read_prefix(path, artefact)


@pytest.mark.parametrize("size", [0, 7, 8, 4095, 4096, 4096 + 47])
def test_a_file_that_ends_too_soon_is_refused(size: int, path: Path, artefact: Artefact) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(PrefixDamaged):
        read_prefix(path, artefact)


def test_a_file_that_goes_on_is_refused(path: Path, artefact: Artefact) -> None:
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PrefixDamaged, match="it has 4145 bytes, and its tensors end at 4144"):
        read_prefix(path, artefact)


def test_a_negative_id_is_refused(path: Path, artefact: Artefact) -> None:
    content = bytearray(path.read_bytes())
    content[4096:4100] = (-1).to_bytes(4, "little", signed=True)
    path.write_bytes(content)
    with pytest.raises(PrefixDamaged, match="token id -1 in a vocabulary of 10"):
        read_prefix(path, artefact)


def test_a_missing_file_is_refused(artefact: Artefact, tmp_path: Path) -> None:
    with pytest.raises(PrefixDamaged, match="No such file"):
        read_prefix(tmp_path / "none", artefact)


# ---------------------------------------------------------------- in the engine


def scored(engine: Engine, prompt: list[int]) -> list[tuple[int, float | None, int]]:
    params = SamplingParams(temperature=0, top_logprobs=0)
    tokens = engine.generate(prompt, params, 12, (), Cancellation())
    return [(token.id, token.logprob, token.cached_tokens) for token in tokens]


@pytest.fixture(scope="module", params=["stock", "native"])
def kinds(request: pytest.FixtureRequest, demo_artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    if request.param == "stock":
        return load_artefact(demo_artefact, "quick")
    if not LIBRARY.is_file():
        pytest.skip("NOT TESTED: the native kernels are not built")
    directory = tmp_path_factory.mktemp("native") / "artefact"
    convert(demo_artefact, directory, "native", "int8")
    return load_artefact(directory, "quick")


def test_an_answer_behind_a_prefix_is_the_one_behind_the_same_tokens_in_the_cache(
    kinds: Artefact, tmp_path: Path
) -> None:
    prefix = np.random.default_rng(0).integers(5, 2000, 300).tolist()
    warm = Engine.load(kinds, 2)
    scored(warm, [*prefix, 9])
    slot = {name: array[0] for name, array in warm.slots.cache.items()}
    write_prefix(tmp_path / "p", kinds, prefix, slot)
    cold = Engine.load(kinds, 2, prefixes=[read_prefix(tmp_path / "p", kinds)])
    for prompt, cached in ([*prefix, 31, 41, 59], 300), (prefix, 299), ([*prefix[:100], 8, 8], 100):
        warm.slots.hold(0, prefix)
        found = scored(cold, prompt)
        assert found == scored(warm, prompt)
        assert found[0][2] == cached


def test_a_prefix_is_not_used_where_nothing_is_kept(kinds: Artefact, tmp_path: Path) -> None:
    slot = {name: array[0] for name, array in allocate(kinds).items()}
    write_prefix(tmp_path / "p", kinds, IDS, slot)
    engine = Engine.load(kinds, 2, EngineOptions(keep_prefixes=False), prefixes=[read_prefix(tmp_path / "p", kinds)])
    assert scored(engine, [*IDS, 7]) == scored(Engine.load(kinds, 2), [*IDS, 7])
