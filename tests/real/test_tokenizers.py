"""Real tokenizers: what the server reads of them gives the ids that the reference library gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from kitoken import Kitoken
from tokenizers import Tokenizer

from model_export.files import Files
from model_export.source import resolve
from model_export.tokenizer import TOKENIZER_BINARY, TOKENIZER_JSON, check_parity, load_tokenizer, write_binary
from tests.real.lines import lines


@pytest.fixture(scope="module", params=["smollm2", "llama31"])
def forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Path]:
    """The reference, and the directory with kitoken's form."""
    path: Path = request.getfixturevalue(request.param)
    directory: Files = resolve(str(path), None).directory if path.is_file() else path
    out = tmp_path_factory.mktemp(request.param)
    (out / TOKENIZER_JSON).write_bytes((directory / TOKENIZER_JSON).read_bytes())
    write_binary(out, out / TOKENIZER_JSON)
    return load_tokenizer(out), out


def test_ten_thousand_lines_have_the_same_ids_and_come_back(forms: tuple[Tokenizer, Path]) -> None:
    tokenizer, directory = forms
    fast = Kitoken((directory / TOKENIZER_BINARY).read_bytes())
    for line in lines(10_000):
        ids = tokenizer.encode(line, add_special_tokens=False).ids
        assert list(fast.encode(line, True)) == ids, line
        assert fast.decode(ids, True).decode() == tokenizer.decode(ids, skip_special_tokens=False), line


def test_every_added_token_is_one(forms: tuple[Tokenizer, Path]) -> None:
    tokenizer, directory = forms
    assert check_parity(tokenizer, directory / TOKENIZER_BINARY) > 2 * 17
