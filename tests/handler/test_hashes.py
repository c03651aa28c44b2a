"""sha256 without OpenSSL."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from handler import hashes


@pytest.mark.parametrize("length", [0, 1, hashes.LARGE - 1, hashes.LARGE])
def test_hashes_are_those_of_hashlib(length: int, tmp_path: Path) -> None:
    content = b"x" * length
    (tmp_path / "file").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert (hashes.sha256_of(content), hashes.sha256_of_file(tmp_path / "file")) == (expected, expected)


def test_a_small_hash_loads_no_openssl() -> None:
    script = "import sys; from handler.hashes import sha256_of; sha256_of(b''); print('_hashlib' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"
