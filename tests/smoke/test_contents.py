"""What is in the images, and what isn't."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import pytest

from image.archive import SavedImage, read_image
from image.context import ROOT
from image.engines import Engine
from image.secrets import pip_options
from image.size import LIMIT

NAMES = {"stream": os.environ.get("STREAM_IMAGE", "firebrick:stream")}
NAMES["worker"] = os.environ.get("WORKER_IMAGE", "firebrick:worker")
WEIGHTS = "/opt/firebrick/model/model.safetensors"
COMMON = [WEIGHTS, "/opt/firebrick/model"]
CODE = ["/opt/firebrick/app", "/opt/firebrick/start", "/opt/firebrick/start/own.bundle"]
SITE = ["/opt/firebrick", "/opt/firebrick/site", "/opt/firebrick/site"]  # what a start opens, libraries, all the rest
ORDER = {
    "stream": [*COMMON, "/opt/extensions/lambda-adapter", *SITE, *CODE],
    "worker": [*COMMON, *SITE, "/opt/firebrick/site", *CODE],
}
# Programs that build, and packages and folders that only building or testing needs.
UNWANTED = re.compile(
    r"(^|/)(gcc|g\+\+|cc|c\+\+|clang|ld|as|make|cargo|rustc|pip3?)$|(^|/)(pip|setuptools|torch|pytest|tests?|\.cache|"
    r"\.git|\.venv|model_export|bench|kernels)/|\.(a|rs|c|h|orig|whl)$"
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    """What runs containers here, so it keeps the images."""
    return Engine("podman")


@pytest.fixture(scope="module", params=["stream", "worker"])
def target(request: pytest.FixtureRequest) -> str:
    """One of both images."""
    return str(request.param)


@pytest.fixture(scope="module")
def saved(engine: Engine, target: str) -> SavedImage:
    """The image, with the contents of what could tell of the machine."""
    return read_image(engine, NAMES[target], is_telling)


def is_telling(path: str) -> bool:
    """Whether a file could tell of the machine that built it."""
    return path.startswith(("etc/", "opt/firebrick/app/", "opt/extensions/")) or ".dist-info/" in path


def added(saved: SavedImage) -> Mapping[str, int]:
    """The files above the base."""
    kinds = [layer.what for layer in saved.layers]
    return {path: mode for layer in saved.layers[kinds.index(WEIGHTS) :] for path, mode in layer.files.items()}


def test_weights_lie_low_and_code_on_top(saved: SavedImage, target: str) -> None:
    kinds = [layer.what for layer in saved.layers]
    assert kinds[kinds.index(WEIGHTS) :] == ORDER[target]


def test_nothing_that_only_builds_or_tests_is_added(saved: SavedImage) -> None:
    assert [path for path in added(saved) if UNWANTED.search(path)] == []


def test_any_user_can_read_all_and_only_root_could_write(saved: SavedImage) -> None:
    assert {path: oct(mode) for path, mode in added(saved).items() if mode & 0o044 != 0o044 or mode & 0o022} == {}


def test_it_is_smaller_than_lambdas_limit(saved: SavedImage) -> None:
    assert 0 < saved.size < LIMIT


def test_snapstart_is_allowed(saved: SavedImage) -> None:
    assert saved.config["config"]["Labels"]["com.amazonaws.lambda.feature.snapstart"] == "Allow"


def test_nothing_tells_of_the_machine_that_built_it(saved: SavedImage) -> None:
    index = [value for key, value in pip_options(os.environ).items() if "index" in key]
    traces = [trace.encode() for trace in (str(ROOT), str(ROOT / "build"), "/root/.cargo", *index)]
    texts = {**saved.contents, "configuration": str(saved.config).encode()}
    assert [(path, trace) for path, text in texts.items() for trace in traces if trace in text] == []


def test_both_functions_share_the_weights_and_the_dependencies(engine: Engine) -> None:
    layers = [read_image(engine, name).config["rootfs"]["diff_ids"] for name in NAMES.values()]
    weights_and_code = set(layers[0]) & set(layers[1])
    assert len(weights_and_code) == len(layers[0]) - 3  # all but the adapter, and what a start needs
