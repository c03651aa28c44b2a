"""What the docs name is what the code has: settings, errors, options, commands, Terraform's variables, links."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest

import handler.errors
from handler.errors import ApiError, StartupError
from handler.metrics import UNITS
from handler.settings import KEYS, Settings
from image.local.options import make_parser
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CODE = ("handler", "model_export", "image", "bench", "kernels/src", "terraform")
# The worker's page names these by their class; a client that has left gets none.
UNTOLD = {"client_gone", "not_enough_time", "results_bucket_missing", "results_unavailable", "unknown_event"}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def everywhere(pattern: str, *paths: Path) -> set[str]:
    """What a pattern finds in pages; in all of them by default."""
    return {match for path in paths or PAGES for match in re.findall(pattern, path.read_text(encoding="utf-8"))}


def code() -> str:
    """All sources, as one text."""
    paths = (path for folder in CODE for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".rs", ".tf"))
    return "\n".join(path.read_text(encoding="utf-8") for path in [*paths, ROOT / "Dockerfile", ROOT / "Makefile"])


def subclasses(base: type) -> Iterator[type]:
    for found in vars(handler.errors).values():
        if isinstance(found, type) and issubclass(found, base) and found is not base:
            yield found


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_is_in_the_configurations_page(name: str) -> None:
    for key in KEYS.get(name, [f"FIREBRICK_{name.upper()}"]):
        assert f"`{key}`" in page("docs/configuration.md")


def test_every_setting_that_a_page_names_exists() -> None:
    sources = code()
    assert [name for name in sorted(everywhere(r"FIREBRICK_[A-Z][A-Z_]*[A-Z]")) if name not in sources] == []


def test_every_error_code_is_in_the_apis_page() -> None:
    codes = {str(code) for error in subclasses(ApiError) if (code := getattr(error, "code", None))}
    assert {code for code in codes - UNTOLD if f"`{code}`" not in page("docs/api.md")} == set()
    assert codes >= UNTOLD


def test_every_error_type_in_the_workers_page_is_a_class() -> None:
    rows = re.findall(r"^\| (`[A-Z][a-z]\w+`(?:, `\w+`)*) \|", page("docs/worker.md"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - set(UNITS) - {"Repeats", "Returns"}
    assert named
    assert named <= {error.__name__ for error in (*subclasses(ApiError), *subclasses(StartupError))}


def test_every_metric_is_in_the_workers_page() -> None:
    assert [name for name in UNITS if f"`{name}`" not in page("docs/worker.md")] == []


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")} - {"--help"}


def test_the_local_lambdas_options_are_those_of_its_page() -> None:
    section = page("docs/local-lambda.md").split("## Options")[1].split("## What it imitates")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `--")]
    told = {name for row in rows for name in re.findall(r"`(--[a-z-]+)`", row.split("|")[1])}
    assert told == options(make_parser())


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_that_is_named_exists() -> None:
    pages = [*PAGES, ROOT / ".ci/run", ROOT / ".github/workflows/ci.yml"]
    named = everywhere(r"(?:`|^|\$ |&& |run: |\" )make ([a-z][a-z-]+)", *pages)
    assert len(named) > 15
    assert sorted(named - targets()) == []


def test_every_module_that_is_run_exists() -> None:
    named = everywhere(r"python3? -m ([a-z_][a-z_.]*[a-z_])")
    assert len(named) > 15
    assert sorted(name for name in named if find_spec(name) is None) == []


def test_the_workflow_runs_what_ci_runs() -> None:
    ours = set(re.findall(r"make ([a-z-]+)", page(".ci/run")))
    theirs = set(re.findall(r"run: .*?make ([a-z- ]+)", page(".github/workflows/ci.yml")))
    wanted = {name for line in theirs for name in line.split()}
    assert wanted - {"test-reference"} == ours


def test_every_terraform_variable_is_in_the_deployments_page() -> None:
    names = re.findall(r'^variable "(\w+)"', page("terraform/variables.tf"), re.MULTILINE)
    assert [name for name in names if f"`{name}`" not in page("docs/deploy.md")] == []


def test_every_terraform_output_is_in_the_deployments_page() -> None:
    names = re.findall(r'^output "(\w+)"', page("terraform/outputs.tf"), re.MULTILINE)
    assert [name for name in names if f"`{name}`" not in page("docs/deploy.md")] == []


def test_every_example_is_in_the_deployments_page() -> None:
    found = {path.name for path in (ROOT / "terraform/examples").glob("*.tfvars")}
    assert found == set(re.findall(r"`examples/([\w-]+\.tfvars)`", page("docs/deploy.md")))


def slug(heading: str) -> str:
    """GitHub's anchor of a heading."""
    plain = re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
