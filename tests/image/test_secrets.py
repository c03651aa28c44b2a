"""What pip is told while an image is built."""

from __future__ import annotations

import os
from pathlib import Path

from image.secrets import pip_options, write_secrets

BARE = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PIP_CONFIG_FILE": os.devnull}


def test_a_private_index_and_its_authorities_are_passed_on(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    environ = {**BARE, "PIP_INDEX_URL": "https://index.example/simple", "PIP_CERT": str(bundle)}
    secrets = write_secrets(tmp_path, environ)
    assert secrets["pip.conf"].read_text() == "[global]\nindex-url = https://index.example/simple\n"
    assert secrets["ca.pem"] == bundle


def test_only_this_user_can_read_what_may_hold_a_password(tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path, {**BARE, "PIP_INDEX_URL": "https://user:password@index.example/simple"})
    assert secrets["pip.conf"].stat().st_mode & 0o077 == 0


def test_a_host_with_nothing_to_say_has_no_secrets(tmp_path: Path) -> None:
    assert write_secrets(tmp_path, BARE) == {}


def test_folders_of_this_host_are_not_passed_on(tmp_path: Path) -> None:
    assert write_secrets(tmp_path, {**BARE, "PIP_FIND_LINKS": "/wheels"}) == {}


def test_several_further_indexes_stay_several() -> None:
    options = pip_options({**BARE, "PIP_EXTRA_INDEX_URL": "https://a.example https://b.example"})
    assert options["extra-index-url"].split() == ["https://a.example", "https://b.example"]
