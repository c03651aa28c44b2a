from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import pytest

from handler.prices import FILE, Rates, lambda_rates, read_regions
from tests.conftest import ROOT

PRICES = json.loads(FILE.read_text())
# What is a price whatever its figure: a member or a variable that is named for one, or dollars for a unit.
LITERALS = (
    re.compile(r"""\busd_per_(?!1000|thousand)\w+["']?\s*[:=]\s*["']?\.?[0-9]""", re.IGNORECASE),
    re.compile(r"\$\s?[0-9.]+[0-9]\s*(?:/|per|an?)\s*(?:GB|vCPU|LCU|million requests|request|hour)", re.IGNORECASE),
)
# Figures that tell a price wherever they stand; 0.1 or 0.008 is all sorts of things.
TELLING_DIGITS = 4


def leaves(prices: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(prices, Mapping):
        for name, value in prices.items():
            yield from leaves(value, f"{path}/{name}")
    else:
        yield path, prices


def tracked() -> list[Path]:
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    paths = [ROOT / name for name in names if name]
    return [path for path in paths if path.is_file() and path not in (FILE, Path(__file__))]


def spellings(price: float) -> set[str]:
    decimal = f"{price:.12f}".rstrip("0")
    return {decimal, decimal.removeprefix("0"), f"{price:e}".replace("e-0", "e-"), repr(price)}


def test_the_file_has_a_date_and_its_sources() -> None:
    assert date(2026, 11, 1) <= date.fromisoformat(PRICES["date"])
    assert PRICES["sources"]
    assert all(source.startswith("https://aws.amazon.com/") for source in PRICES["sources"])


@pytest.mark.parametrize("region", read_regions())
def test_a_region_is_complete(region: str) -> None:
    found, expected = dict(leaves(PRICES["regions"][region])), dict(leaves(PRICES["regions"]["us-east-1"]))
    assert found.keys() == expected.keys()
    assert all(isinstance(price, int | float) and not isinstance(price, bool) and price > 0 for price in found.values())


def test_it_has_what_terraform_and_the_docs_reckon_with() -> None:
    names = {path for path, _ in leaves(PRICES["regions"]["us-east-1"])}
    assert {f"/lambda/{architecture}/gb_second" for architecture in ("x86_64", "arm64")} <= names
    assert {f"/fargate/{architecture}/vcpu_hour" for architecture in ("x86_64", "arm64")} <= names
    assert {"/load_balancer/lcu_hour", "/ec2_instance_hour/g6.xlarge", "/step_functions/transition"} <= names


def test_no_price_stands_anywhere_else() -> None:
    prices = {float(str(price)) for _, price in leaves(PRICES["regions"])}
    telling = {price for price in prices if len(f"{price:.12f}".replace(".", "").strip("0")) >= TELLING_DIGITS}
    assert len(telling) > 8
    figures = "|".join(re.escape(spelling) for price in telling for spelling in sorted(spellings(price)))
    figure = re.compile(rf"(?<![0-9.])(?:{figures})(?![0-9])")
    found = []
    for path in tracked():
        text = path.read_bytes().decode(errors="replace")
        for pattern in (figure, *LITERALS):
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("usd_per_gb_second = 0.1", True),
        ('{"usd_per_1000_by_report": 0.15}', False),
        ('"usd_per_request": 2e-7', True),
        ("it costs $0.20 per million requests", True),
        ("$0.01/GB", True),
        ("usd_per_gb_second = rates.gb_second", False),
        ("estimated_cost_usd 0.0021", False),
        ("$2.10 for 1,000 documents", False),
    ],
)
def test_a_price_is_told_from_what_was_computed(text: str, told: bool) -> None:
    assert any(pattern.search(text) for pattern in LITERALS) == told


def test_a_functions_rates_are_those_of_its_region_and_architecture() -> None:
    prices = PRICES["regions"]["us-east-1"]["lambda"]
    assert lambda_rates("us-east-1", "x86_64") == Rates(prices["x86_64"]["gb_second"], prices["request"])
    assert lambda_rates("us-east-1", "aarch64") == Rates(prices["arm64"]["gb_second"], prices["request"])


def test_provisioned_environments_have_a_duration_price_of_their_own() -> None:
    prices = PRICES["regions"]["us-west-2"]["lambda"]
    rates = lambda_rates("us-west-2", "x86_64", "provisioned-concurrency")
    assert rates == Rates(prices["x86_64"]["provisioned_duration_gb_second"], prices["request"])


def test_environments_from_a_snapshot_pay_for_its_restore() -> None:
    prices = PRICES["regions"]["us-east-2"]["lambda"]
    rates = lambda_rates("us-east-2", "arm64", "snap-start")
    assert rates == Rates(prices["arm64"]["gb_second"], prices["request"], prices["snap_start"]["restored_gb"])


@pytest.mark.parametrize(
    ("region", "machine", "initialization"),
    [
        ("mars-north-1", "x86_64", "on-demand"),
        (None, "x86_64", "on-demand"),
        ("us-east-1", "riscv64", "on-demand"),
        ("us-east-1", "x86_64", "lambda-managed-instances"),
    ],
)
def test_what_the_file_does_not_have_has_no_price(region: str | None, machine: str, initialization: str) -> None:
    assert lambda_rates(region, machine, initialization) is None
