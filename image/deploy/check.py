"""`python -m image.deploy.check`: what can be said of terraform/ without an account: form, tests, examples, checkov."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from image.command import exit_code
from image.deploy.tool import DIRECTORY, environment, find_terraform, init, provider_root
from image.errors import CheckFailed, CommandFailed, ToolMissing
from image.tools import require

AT_ONCE = 2  # runs of the provider, each of which takes 600 MB
PROVIDERS = DIRECTORY.parent / "build" / "providers"
# What somebody deploys with must not decide what a check says: values, arguments, accounts, state.
THEIRS = ("TF_VAR_", "TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR", "AWS_")
NOT_COPIED = (".terraform*", "*.tfstate*", "*.tfplan", "terraform.tfvars*", "*.auto.tfvars*")


def neutral(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to somebody's own deployment.

    Args:
        environ: of this process.
    """
    kept = {key: value for key, value in environ.items() if not key.startswith(THEIRS)}
    return {"TF_PLUGIN_CACHE_DIR": str(PROVIDERS), **kept}


@contextmanager
def copied(directory: Path = DIRECTORY) -> Iterator[Path]:
    """A copy of the configuration without values and state of somebody's own deployment, in a clone like this one.

    Args:
        directory: terraform/ of a clone.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / directory.name
        shutil.copytree(directory, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
        for path in directory.parent.iterdir():
            if path != directory:
                (Path(temporary) / path.name).symlink_to(path)
        yield copy


def check_form(terraform: Path, environ: Mapping[str, str], directory: Path) -> None:
    """What needs no provider: syntax and spaces.

    Raises:
        CheckFailed: it isn't as `terraform fmt` has it.
    """
    _run("fmt", [str(terraform), "fmt", "-no-color", "-check", "-diff", "-recursive"], environ, directory)


def check_terraform(terraform: Path, environ: Mapping[str, str], directory: Path) -> None:
    """Validity, tests.

    Args:
        terraform: the program.
        environ: of this process.
        directory: with the configuration.

    Raises:
        CheckFailed: one of them fails; Terraform's own words stand above.
    """
    _run("validate", [str(terraform), "validate", "-no-color"], environ, directory)
    tests = sorted(path.relative_to(directory) for path in (directory / "tests").glob("*.tftest.hcl"))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(lambda test: _test(terraform, test, environ, directory), tests):
            pass


def _test(terraform: Path, test: Path, environ: Mapping[str, str], directory: Path) -> None:
    command = [str(terraform), "test", "-no-color", f"-filter={test}"]
    _run(f"test {test.name}", command, environ, directory)


def check_examples(terraform: Path, environ: Mapping[str, str], directory: Path) -> None:
    """Every file of examples/ in a test that holds for all of them.

    Raises:
        CheckFailed: one can't be planned.
    """
    examples = sorted(path.relative_to(directory) for path in (directory / "examples").glob("*.tfvars"))
    test = "-test-directory=tests/examples"
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(
            lambda path: _run(
                path.name, [str(terraform), "test", "-no-color", test, f"-var-file={path}"], environ, directory
            ),
            examples,
        ):
            pass


def check_security(checkov: Path, environ: Mapping[str, str], directory: Path) -> None:
    """checkov's rules; .checkov.yaml has those that don't apply, each with its reason.

    Raises:
        CheckFailed: one is broken.
    """
    command = [str(checkov), "--directory", str(directory), "--config-file", str(directory / ".checkov.yaml")]
    _run("checkov", command, environ, directory)


def _run(what: str, command: Sequence[str], environ: Mapping[str, str], directory: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(command, cwd=directory, env=environment(environ), capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr, flush=True)
        raise CheckFailed(what, done.returncode)
    last = [line for line in done.stdout.strip().splitlines() if line] or ["nothing to say"]
    print(f"{what}: {last[-1].strip()} ({time.monotonic() - started:.0f} s)", flush=True)


def check_all(checkov: Path | None, environ: Mapping[str, str]) -> None:
    """Check what can be checked here, and say loudly what can't.

    Raises:
        CheckFailed: something is wrong.
        CommandFailed: the provider lies here, and Terraform can't begin nevertheless.
    """
    environ = neutral(environ)
    PROVIDERS.mkdir(parents=True, exist_ok=True)
    with copied() as directory:
        if checkov is not None:
            program = require(str(checkov.absolute()), "knows security rules", "run `make check-deploy`")
            check_security(Path(program), environ, directory)
        try:
            terraform = find_terraform()
        except ToolMissing as error:
            _warn(error)
            return
        check_form(terraform, environ, directory)
        for root in (directory, directory / "fargate"):
            try:
                init(terraform, root, environ)
            except CommandFailed as error:
                if provider_root() is not None:  # Then it is no network that fails.
                    raise
                _warn(error)
                return
            check_terraform(terraform, environ, root)
        check_examples(terraform, environ, directory)


def _warn(error: ToolMissing | CommandFailed) -> None:
    print(f"!!! THE DEPLOYMENT WAS NOT CHECKED: {error}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; the exit code is 0, or 2 if something is wrong."""
    parser = argparse.ArgumentParser("python -m image.deploy.check", description="Check terraform/ without an account.")
    parser.add_argument("--checkov", type=Path, help="the program; default: its rules are not checked")
    given = parser.parse_args(arguments)
    return exit_code(lambda: check_all(given.checkov, environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
