"""What the pages name is what the code has: settings, errors, metrics, options, commands, files, links."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest

import handler.errors
from handler.errors import ApiError
from handler.metrics import UNITS
from handler.settings import KEYS, Settings
from image.local.options import make_parser
from model_export.__main__ import parser as export_parser
from tests.conftest import ROOT
from tests.pages import PAGES, anchors, commands, everywhere, names, page, table, without_code

SOURCES = ("handler", "model_export", "image", "bench", "kernels/src", "terraform", "examples")
VARIABLE = r"(?:FIREBRICK|POWERTOOLS|AWS|OMP|ORT|OPENBLAS)_[A-Z0-9_]+"
# The worker's page names these by their class; a client that has left gets no answer.
UNTOLD = {"client_gone", "not_enough_time", "results_bucket_missing", "results_unavailable", "unknown_event"}
# Why a document has no result; the worker's page has a table of its own for these.
DOCUMENTS = {
    *("NotificationRefused", "DocumentsUnconfigured", "DocumentGone", "DocumentUnavailable", "DocumentUnsupported"),
    *("DocumentTooLarge", "TooManyParts", "DocumentUnreadable", "DocumentEmpty", "InstructionMissing"),
    *("NoRoomForDocument", "RequeueFailed"),
}
# What only happens on the way by HTTP, and what a batch tells by giving a message back.
NOT_THE_WORKERS = {
    *DOCUMENTS,
    *("BodyTooLarge", "ClientGone", "ClientIdle", "EncodingBroken", "EncodingUnsupported", "EventsNotTaken"),
    *("HeadLate", "HeadTooLarge", "HttpVersionUnsupported", "MalformedHttp", "MalformedJson", "MethodNotAllowed"),
    *("NotAnObject", "NotEnoughTime", "NotFound", "QueueFull", "ShuttingDown", "TooManyConnections", "Unauthorized"),
    *("MethodNotShared", "NothingStored", "OriginRefused", "ThreadsUnsupported"),
}
WORKERS_METRICS = {"Repeats", "Returns"}
FOLDERS = "handler|model_export|image|kernels|terraform|tests|bench|demo|docs|requirements"
MADE = {"terraform/terraform.tfvars", "terraform/terraform.tfstate", "terraform/backend.tf"}


def sources() -> str:
    """All of them, as one text."""
    paths = (path for folder in SOURCES for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".rs", ".tf"))
    return "\n".join(path.read_text(encoding="utf-8") for path in [*paths, ROOT / "Dockerfile", ROOT / "Makefile"])


def api_errors() -> dict[str, type[ApiError]]:
    found = {name: kind for name, kind in vars(handler.errors).items() if isinstance(kind, type)}
    return {name: kind for name, kind in found.items() if issubclass(kind, ApiError) and kind is not ApiError}


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_is_in_the_configurations_page(name: str) -> None:
    for key in KEYS.get(name, [f"FIREBRICK_{name.upper()}"]):
        assert f"`{key}`" in page("docs/configuration.md")


def variables_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(VARIABLE, node.value):
            yield node.value


def test_every_variable_that_the_handler_knows_is_told() -> None:
    told = page("docs/configuration.md") + page("docs/worker.md")
    known = {name for path in (ROOT / "handler").rglob("*.py") for name in variables_in(path)}
    assert len(known) > 20
    assert sorted(name for name in known if name not in told) == []


def test_every_setting_that_a_page_names_exists() -> None:
    text = sources()
    assert [name for name in sorted(everywhere(r"FIREBRICK_[A-Z][A-Z_]*[A-Z]")) if name not in text] == []


def test_every_setting_that_the_workers_page_shortens_exists() -> None:
    short = re.findall(r"`(_[A-Z_]+)`", page("docs/worker.md").split("## Settings")[1])
    told = page("docs/configuration.md")
    assert short
    assert [name for name in short if f"`FIREBRICK{name}`" not in told] == []


# ---------------------------------------------------------------- errors and metrics


def test_the_apis_page_has_all_error_codes_and_no_others() -> None:
    codes = {str(kind.code) for kind in api_errors().values()}
    told = {code for row in table(page("docs/api.md"), "status | code | when") for code in names(row[1])}
    untold = UNTOLD | {str(kind.code) for name, kind in api_errors().items() if name in DOCUMENTS}
    assert told == codes - untold
    assert codes >= untold


def test_the_apis_page_has_each_error_code_beside_its_status() -> None:
    statuses = {str(kind.code): str(kind.status) for kind in api_errors().values()}
    for status, told, _ in table(page("docs/api.md"), "status | code | when"):
        assert {statuses[code] for code in names(told)} <= set(re.findall(r"\d+", status))


def test_the_workers_page_has_all_error_types_and_no_others() -> None:
    told = {name for row in table(page("docs/worker.md"), "`errorType` | when") for name in names(row[0])}
    assert told == set(api_errors()) - NOT_THE_WORKERS


def test_the_workers_page_has_all_errors_of_documents_and_no_others() -> None:
    codes = {str(kind.code): str(kind.status) for name, kind in api_errors().items() if name in DOCUMENTS}
    assert len(codes) == len(DOCUMENTS)
    told = table(page("docs/worker.md"), "`code` | status | when")
    assert {code: row[1] for row in told for code in names(row[0])} == codes


@pytest.mark.parametrize(
    ("name", "header", "missing"),
    [("docs/api.md", "metric | unit", WORKERS_METRICS), ("docs/worker.md", "metric", set())],
)
def test_the_pages_of_both_functions_have_all_their_metrics(name: str, header: str, missing: set[str]) -> None:
    told = {metric for row in table(page(name), header) for metric in names(row[0])}
    assert told == set(UNITS) - missing


def test_the_apis_page_has_the_metrics_units() -> None:
    for told, units, _ in table(page("docs/api.md"), "metric | unit"):
        assert {UNITS[name] for name in names(told)} == set(units.split(", "))


# ---------------------------------------------------------------- options


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")} - {"--help"}


def told_options(rows: list[list[str]]) -> set[str]:
    return {name for row in rows for name in re.findall(r"`(--[a-z-]+)", row[0])}


def test_the_local_lambdas_options_are_those_of_its_page() -> None:
    assert told_options(table(page("docs/local-lambda.md"), "option | default | what")) == options(make_parser())


def test_the_exporters_options_are_those_of_its_page() -> None:
    assert told_options(table(page("docs/configuration.md"), "option | default | what")) == options(export_parser())


def helped(*words: str) -> set[str]:
    """The options that a command's own help has."""
    done = subprocess.run([sys.executable, "-m", *words, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"--[a-z][a-z-]*", done.stdout))


def test_the_servers_options_are_those_of_its_page() -> None:
    rows = table(page("docs/configuration.md"), "variable | option | default | what")
    assert told_options([row[1:] for row in rows]) == helped("handler") - {"--help"}


# Options of the exporter's go through the one; the other needs torch.
PASSES_ON = {("bench.export",)}
NEEDS_TORCH = {("demo.train",)}


def used_options() -> dict[tuple[str, ...], set[str]]:
    """Options by module and subcommand, of all commands that the pages show with some."""
    used: dict[tuple[str, ...], set[str]] = {}
    for module, rest in commands():
        found = set(re.findall(r"(?<!\S)\[?(--[a-z][a-z-]*)", rest))
        subcommand = re.match(r" ([a-z]+) ", rest)
        if found:
            used.setdefault((module, *(subcommand.groups() if subcommand else ())), set()).update(found)
    return used


@pytest.mark.parametrize("command", sorted(used_options().keys() - NEEDS_TORCH), ids=" ".join)
def test_a_command_that_is_shown_has_the_options_that_are_shown(command: tuple[str, ...]) -> None:
    passed_on = options(export_parser()) if command in PASSES_ON else set()
    assert used_options()[command] <= helped(*command) | passed_on


# ---------------------------------------------------------------- commands and files


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", page("Makefile"), re.MULTILINE))


def test_every_make_target_that_is_named_exists() -> None:
    texts = [*PAGES, ROOT / ".ci/run", ROOT / ".github/workflows/ci.yml"]
    named = everywhere(r"(?:`|^|\$ |&& |run: |\" )make ([a-z][a-z-]+)", *texts)
    assert len(named) > 15
    assert sorted(named - targets()) == []


def test_every_module_that_is_run_exists() -> None:
    named = {module for module, _ in commands()}
    assert len(named) > 15
    assert sorted(name for name in named if find_spec(name) is None) == []


def test_every_module_in_the_readmes_table_exists() -> None:
    rows = [row for row in table(page("README.md"), "folder | what") if "python -m" in row[1] or "`." in row[1]]
    modules = {
        f"{row[0].split('`')[1].rstrip('/')}{name}" for row in rows for name in re.findall(r"`(\.[a-z_]+)`", row[1])
    }
    assert len(modules) > 10
    assert sorted(name for name in modules if find_spec(name) is None) == []


def test_every_file_that_is_named_exists() -> None:
    named = everywhere(rf"`((?:{FOLDERS})/[\w./-]+)`") - MADE
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_source_that_is_named_without_its_folder_exists() -> None:
    there = {path.name for folder in SOURCES for path in (ROOT / folder).rglob("*.*")}
    named = everywhere(r"`(\w+\.(?:py|rs|tf))`")
    assert len(named) > 50
    assert sorted(named - there) == []


def test_the_workflow_runs_what_ci_runs() -> None:
    ours = set(re.findall(r"make ([a-z-]+)", page(".ci/run")))
    theirs = re.findall(r"run: .*?make ([a-z- ]+)", page(".github/workflows/ci.yml"))
    assert {name for line in theirs for name in line.split()} - {"test-reference"} == ours


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(path)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
