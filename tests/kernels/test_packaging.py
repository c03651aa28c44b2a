from __future__ import annotations

import re
import tomllib

from tests.conftest import ROOT
from tests.kernels.models import LIBRARY, needs_library

TAG = r"manylinux_(\d+)_(\d+)_x86_64"


@needs_library
def test_the_library_needs_no_newer_glibc_than_the_wheel_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    said = re.fullmatch(TAG, project["tool"]["distutils"]["bdist_wheel"]["plat-name"])
    assert said is not None
    needed = re.findall(rb"GLIBC_(\d+)\.(\d+)", LIBRARY.read_bytes())
    assert max((int(major), int(minor)) for major, minor in needed) <= (int(said[1]), int(said[2]))
