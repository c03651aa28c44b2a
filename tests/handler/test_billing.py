from __future__ import annotations

import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.billing import Bill, Environment, Share, make_bill
from handler.prices import Rates, lambda_rates
from handler.settings import Settings, read_settings

GB = 1769 / 1024


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def rates(region: str = "us-east-1", initialization: str = "on-demand") -> Rates:
    found = lambda_rates(region, initialization=initialization)
    assert found is not None
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


def billed(share: Share) -> int:
    value = share.members()["billed_ms"]
    assert isinstance(value, int)
    return value


def usd(share: Share) -> float:
    value = share.members()["estimated_cost_usd"]
    assert isinstance(value, float)
    return value


def test_an_answer_costs_its_time_at_the_functions_memory_and_the_request(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1"), clock)
    with bill.invocation():
        clock.now += 0.25  # the body comes, the prompt is encoded
        share = bill.share()
        share.start()
        clock.now += 1.0001
        share.end()
    assert billed(share) == 1251
    assert usd(share) == pytest.approx(1.251 * GB * rates().gb_second + rates().request, abs=1e-12)


def test_an_answer_that_goes_on_tells_what_it_has_cost_so_far(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1"), clock)
    with bill.invocation():
        share = bill.share()
        share.start()
        clock.now += 0.5
        assert billed(share) == 500
        clock.now += 0.5
        assert billed(share) == 1000


def test_what_comes_after_its_end_costs_it_nothing(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1"), clock)
    with bill.invocation():
        share = bill.share()
        share.start()
        clock.now += 0.5
        share.end()
        clock.now += 0.5
        share.end()
    assert billed(share) == 500


def test_time_between_invocations_is_nobodys(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1"), clock)
    shares = []
    for _ in range(2):
        clock.now += 3600
        with bill.invocation():
            shares.append(bill.share())
            shares[-1].start()
            clock.now += 0.5
            shares[-1].end()
    assert [billed(share) for share in shares] == [500, 500]
    assert usd(shares[0]) == usd(shares[1])


def test_answers_side_by_side_share_their_time(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1"), clock)
    with bill.invocation():
        one, other = bill.share(), bill.share()
        one.start()
        clock.now += 1.0
        other.start()
        clock.now += 1.0
        one.end()
        clock.now += 1.0
        other.end()
    assert (billed(one), billed(other)) == (1500, 1500)
    assert usd(one) - usd(other) == pytest.approx(rates().request, abs=1e-12)


STEPS = st.lists(st.tuples(st.integers(0, 3_000_000), st.sampled_from(["start", "end", "tell"])), max_size=40)


@given(STEPS, st.integers(0, 5000))
def test_the_answers_of_an_invocation_cost_together_what_it_costs(steps: list[tuple[int, str]], init_ms: int) -> None:
    clock = Clock()
    bill = Bill(Environment(GB, "us-east-1"), clock)
    bill.initialized(init_ms)
    running: list[Share] = []
    shares: list[Share] = []
    with bill.invocation():
        began = last = clock.now
        for passed_us, what in [*steps, *[(100, "end")] * len(steps)]:
            clock.now += passed_us / 1e6
            if what == "start":
                shares.append(bill.share())
                running.append(shares[-1])
                running[-1].start()
            elif running and what == "end":
                running.pop(0).end()
                last = clock.now
            elif running:
                running[0].members()
    whole_ms = init_ms + math.ceil(round((last - began) * 1e3, 6)) if shares else 0
    whole_usd = whole_ms / 1e3 * GB * rates().gb_second + (rates().request if shares else 0)
    assert sum(billed(share) for share in shares) == whole_ms
    assert sum(usd(share) for share in shares) == pytest.approx(whole_usd, abs=1e-10)


def test_the_first_answer_of_an_environment_has_its_init_phase(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1"), clock)
    bill.initialized(691.3)
    shares = [bill.share(), bill.share()]
    for share in shares:
        with bill.invocation():
            share.start()
            clock.now += 0.1
            share.end()
    assert shares[0].members()["init_ms"] == 691.3
    assert billed(shares[0]) == 792
    assert "init_ms" not in shares[1].members()
    assert billed(shares[1]) == 100


def test_a_provisioned_environment_was_paid_for_before(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1", "provisioned-concurrency"), clock)
    bill.initialized(691.3)
    with bill.invocation():
        share = bill.share()
        share.start()
        clock.now += 1
        share.end()
    duration = rates(initialization="provisioned-concurrency").gb_second
    assert "init_ms" not in share.members()
    assert usd(share) == pytest.approx(GB * duration + rates().request, abs=1e-12)


def test_the_first_answer_from_a_snapshot_has_its_restore(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1", "snap-start"), clock)
    bill.initialized(691.3)
    shares = [bill.share(), bill.share()]
    for share in shares:
        with bill.invocation():
            share.start()
            clock.now += 0.1
            share.end()
    restored = rates(initialization="snap-start").restored_gb
    assert usd(shares[0]) - usd(shares[1]) == pytest.approx(GB * restored, abs=1e-12)
    assert billed(shares[0]) == billed(shares[1]) == 100


def test_what_ran_after_a_restore_is_the_first_answers(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1", "snap-start"), clock)
    bill.restored(12.5)
    shares = [bill.share(), bill.share()]
    for share in shares:
        with bill.invocation():
            share.start()
            clock.now += 0.1
            share.end()
    assert shares[0].members()["restore_ms"] == 12.5
    assert billed(shares[0]) == 113
    assert "restore_ms" not in shares[1].members()
    assert billed(shares[1]) == 100


def test_a_clock_that_went_back_over_a_restore_bills_nothing_twice(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1", "snap-start"), clock)
    with bill.invocation():
        bill.share().start()
    clock.now -= 1000
    bill.restored(0.0)
    share = bill.share()
    with bill.invocation():
        share.start()
        clock.now += 0.1
        share.end()
    assert billed(share) == 100


@pytest.mark.parametrize(
    "environment", [None, Environment(GB, "us-east-1", "lambda-managed-instances"), Environment(GB, None, "new")]
)
def test_where_no_duration_is_billed_nothing_is_known(environment: Environment | None, clock: Clock) -> None:
    share = Bill(environment, clock).share()
    share.start()
    assert share.members() == {"billed_ms": None, "estimated_cost_usd": None}


@pytest.mark.parametrize("region", [None, "mars-north-1"])
def test_an_unknown_region_has_no_price_and_not_zero(region: str | None, clock: Clock) -> None:
    share = Bill(Environment(GB, region), clock).share()
    share.start()
    clock.now += 1
    assert share.members() == {"billed_ms": 1000, "estimated_cost_usd": None}


def test_an_answer_without_an_invocation_is_one_of_its_own(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1"), clock)
    clock.now += 60
    share = bill.share()
    share.start()
    clock.now += 1
    assert billed(share) == 1000


def test_what_an_invocation_left_open_is_no_part_of_the_next(clock: Clock) -> None:
    bill = Bill(Environment(GB, "us-east-1"), clock)
    with bill.invocation():
        bill.share().start()
    with bill.invocation():
        share = bill.share()
        share.start()
        clock.now += 1
        share.end()
    assert billed(share) == 1000


def test_lambdas_variables_make_the_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="aarch64"))
    environ = {
        "FIREBRICK_MODEL_DIR": "/m",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_REGION": "us-west-2",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency",
    }
    bill = make_bill(read_settings(environ))
    expected = lambda_rates("us-west-2", "aarch64", "provisioned-concurrency")
    assert bill._environment == Environment(GB, "us-west-2", "provisioned-concurrency")
    assert bill._rates == expected


def test_without_lambdas_memory_size_there_is_no_bill() -> None:
    share = make_bill(Settings(Path("/m"), region="us-east-1")).share()
    share.start()
    assert share.members()["billed_ms"] is None
