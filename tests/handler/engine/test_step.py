from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from handler.artefact import GRAPH, MANIFEST, Artefact, load_artefact
from handler.engine.cache import allocate
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.kernels import library_of
from handler.engine.sampling import Choice, SamplingParams
from handler.engine.session import create_session
from handler.engine.step import KEPT_BINDINGS, Step
from handler.errors import Interrupted
from tests.handler.engine.test_batches import Asked, assert_as_alone, together
from tests.kernels.models import LIBRARY, needs_library

pytestmark = needs_library
SLOTS = 4
KINDS = ["native", "stock", "without-slots"]
GREEDY = SamplingParams(temperature=0, top_logprobs=2)


@pytest.fixture(scope="module")
def directories(
    demo_artefact: Path, native_artefact: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The demo model for stock kernels, for native ones, and for native ones before graphs had the input `slots`."""
    older = tmp_path_factory.mktemp("older") / "artefact"
    shutil.copytree(native_artefact, older)
    graph = without_slots(onnx.load(older / GRAPH, load_external_data=False)).SerializeToString()
    (older / GRAPH).write_bytes(graph)
    manifest = json.loads((older / MANIFEST).read_text())
    manifest["files"][GRAPH] |= {"size": len(graph), "sha256": hashlib.sha256(graph).hexdigest()}
    (older / MANIFEST).write_text(json.dumps(manifest))
    return {"native": native_artefact, "stock": demo_artefact, "without-slots": older}


def without_slots(model: onnx.ModelProto) -> onnx.ModelProto:
    inputs = [value for value in model.graph.input if value.name != "slots"]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for node in model.graph.node:
        names = [name for name in node.input if name != "slots"]
        while names and not names[-1]:
            names.pop()
        del node.input[:]
        node.input.extend(names)
    return model


@dataclass
class Made:
    step: Step
    artefact: Artefact

    def run(
        self,
        slots: Sequence[int],
        ids: Sequence[Sequence[int]],
        starts: Sequence[int],
        wanted: Sequence[int] | None = None,
        cancellations: Sequence[Cancellation] = (),
        choices: Sequence[Choice] = (),
    ) -> NDArray[np.float32]:
        array = np.array(ids, dtype=np.int64)
        chosen = range(array.size) if wanted is None else wanted
        return self.step.run(slots, array, starts, chosen, cancellations, choices).copy()


def made(directory: Path) -> Made:
    artefact = load_artefact(directory, "quick")
    library = library_of(artefact, LIBRARY)
    session = create_session(directory / GRAPH, 2, library=library)
    return Made(Step(session, allocate(artefact, SLOTS), artefact.vocab_size), artefact)


@pytest.fixture(params=KINDS)
def step(request: pytest.FixtureRequest, directories: dict[str, Path]) -> Made:
    return made(directories[request.param])


@pytest.fixture
def native(directories: dict[str, Path]) -> Made:
    return made(directories["native"])


def test_only_a_graph_that_takes_slots_batches(directories: dict[str, Path]) -> None:
    assert [made(directories[kind]).step.batches for kind in KINDS] == [True, False, False]


def test_a_batch_is_each_of_its_sequences_alone(step: Made) -> None:
    prompts = [[9, 10, 11], [500, 40, 70], [8, 8, 8]]
    alone = [step.run([3], [prompt], [0]) for prompt in prompts]
    np.testing.assert_array_equal(step.run([2, 0, 1], prompts, [0, 0, 0]), np.concatenate(alone))


def test_sequences_of_a_batch_are_at_different_positions(step: Made) -> None:
    for slot, prompt in ((1, [9, 10, 11, 12]), (3, [40])):
        step.run([slot], [prompt], [0])
    both = step.run([3, 1], [[50], [13]], [1, 4])
    for slot, prompt in ((1, [9, 10, 11, 12]), (3, [40])):
        step.run([slot], [prompt], [0])
    np.testing.assert_array_equal(both, np.concatenate([step.run([3], [[50]], [1]), step.run([1], [[13]], [4])]))


def test_several_tokens_of_a_sequence_are_one_after_the_other(step: Made) -> None:
    step.run([2], [[9, 10, 11]], [0])
    at_once = step.run([2, 2, 2], [[12], [13], [14]], [3, 4, 5])
    step.run([1], [[9, 10, 11]], [0])
    one_by_one = [step.run([1], [[id]], [3 + n]) for n, id in enumerate((12, 13, 14))]
    np.testing.assert_array_equal(at_once, np.concatenate(one_by_one))


@pytest.mark.parametrize("wanted", [[], [0], [5], [1, 3, 4], [4, 1, 1]])
def test_only_the_wanted_rows_are_computed_and_in_their_order(step: Made, wanted: list[int]) -> None:
    ids = [[9, 10, 11], [40, 41, 42]]
    whole = step.run([0, 1], ids, [0, 0])
    np.testing.assert_array_equal(step.run([0, 1], ids, [0, 0], wanted), whole[wanted])


def test_what_is_cancelled_already_interrupts_the_step_and_it_can_be_run_again(step: Made) -> None:
    step.run([0], [[9, 10]], [0])
    expected = step.run([0, 1], [[11], [40]], [2, 0])
    cancelled, other = Cancellation(), Cancellation()
    cancelled.cancel()
    with pytest.raises(Interrupted):
        step.run([0, 1], [[11], [40]], [2, 0], cancellations=[other, cancelled])
    np.testing.assert_array_equal(step.run([0, 1], [[11], [40]], [2, 0], cancellations=[other]), expected)


def test_wherever_a_step_is_interrupted_it_can_be_run_again(step: Made) -> None:
    prompt = [list(range(100, 300))]
    expected = step.run([1], prompt, [0], [199])
    interrupted = 0
    for n in range(40):
        cancellation = Cancellation()
        timer = threading.Timer(0.0005 * n, cancellation.cancel)
        timer.start()
        try:
            step.run([1], prompt, [0], [199], cancellations=[cancellation])
        except Interrupted:
            interrupted += 1
        timer.join()
        np.testing.assert_array_equal(step.run([1], prompt, [0], [199]), expected)
    assert interrupted


def test_a_cancellation_after_the_step_does_not_end_the_next(step: Made) -> None:
    cancellation = Cancellation()
    expected = step.run([0], [[9, 10]], [0], cancellations=[cancellation])
    cancellation.cancel()
    np.testing.assert_array_equal(step.run([0], [[9, 10]], [0]), expected)


def test_what_onnxruntime_refuses_is_no_interruption(native: Made) -> None:
    with pytest.raises(Exception, match=r"seqlens_k|position|cache|context") as caught:
        native.run([0], [[9]], [native.artefact.context_length], cancellations=[Cancellation()])
    assert not isinstance(caught.value, Interrupted)
    assert native.run([0], [[9]], [0]).shape == (1, native.artefact.vocab_size)


def test_a_shape_that_comes_again_is_bound_once(native: Made) -> None:
    first = native.step.run([0], np.array([[9]]), [0], [0])
    again = native.step.run([3], np.array([[10]]), [0], [0])
    assert np.shares_memory(first, again)


def test_shapes_that_no_longer_come_are_forgotten_and_come_again(native: Made) -> None:
    expected = native.run([0], [[9, 10]], [0])
    for length in range(3, 3 + 2 * KEPT_BINDINGS):
        native.run([1], [[9] * length], [0])
    assert len(native.step._bindings) == KEPT_BINDINGS
    np.testing.assert_array_equal(native.run([0], [[9, 10]], [0]), expected)


def test_the_shape_that_comes_all_the_time_is_kept(native: Made) -> None:
    first = native.step.run([0], np.array([[9]]), [0], [0])
    for length in range(2, 2 + 2 * KEPT_BINDINGS):
        native.run([1], [[9] * length], [0])
        native.run([0], [[9]], [0])
    assert np.shares_memory(native.step.run([0], np.array([[9]]), [0], [0]), first)


# ---------------------------------------------------------------- engines of graphs that take no slots


@pytest.mark.parametrize("kind", KINDS)
def test_several_answers_are_each_as_alone(directories: dict[str, Path], kind: str) -> None:
    def load(slots: int) -> Engine:
        options = EngineOptions(64, slots, keep_prefixes=False)
        return Engine.load(load_artefact(directories[kind], "quick"), 2, options, LIBRARY)

    asked = [Asked([9 + n] * (70 + n), GREEDY, 12, starts_at=n) for n in range(5)]
    asked[2] = Asked(asked[2].prompt, SamplingParams(seed=3, top_logprobs=1), 30, leaves_after=7)
    engine = load(5)
    assert_as_alone(together(engine, asked), load(1))
    assert engine.slots.free == 5


@pytest.mark.parametrize("kind", KINDS)
def test_prefixes_are_kept_by_any_kernels(directories: dict[str, Path], kind: str) -> None:
    options = EngineOptions(32, slots=2)
    engine = Engine.load(load_artefact(directories[kind], "quick"), 2, options, LIBRARY)
    prompt = list(range(100, 165))
    first, again = (list(engine.generate(prompt, GREEDY, 8, (), Cancellation())) for _ in range(2))
    assert (first[0].cached_tokens, again[0].cached_tokens) == (0, 65)
    assert [token.top_logprobs for token in again] == [token.top_logprobs for token in first]


def test_an_older_graph_answers_as_today_s(directories: dict[str, Path]) -> None:
    answers = [
        list(
            Engine.load(load_artefact(directories[kind], "quick"), 2, None, LIBRARY).generate(
                [9, 10, 11] * 20, GREEDY, 30, (), Cancellation()
            )
        )
        for kind in ("native", "without-slots")
    ]
    assert answers[0] == answers[1]


def test_a_choice_changes_only_what_cannot_be_chosen(native: Made) -> None:
    ids = [[9, 10, 11, 12, 500, 40, 70, 8]]
    exact = native.run([0], ids, [0])
    coarse = native.run([0], ids, [0], choices=[(0.0, 0.0, 1.0, 0.0)] * 8)
    assert (coarse != exact).any()
    np.testing.assert_array_equal(coarse.argmax(axis=1), exact.argmax(axis=1))
    np.testing.assert_array_equal(coarse.max(axis=1), exact.max(axis=1))
    np.testing.assert_array_equal(native.run([0], ids, [0]), exact)  # nothing is left of the choice


def test_a_graph_that_takes_no_choices_gives_exact_logits(directories: dict[str, Path]) -> None:
    stock = made(directories["stock"])
    ids = [[9, 10, 11]]
    np.testing.assert_array_equal(
        stock.run([0], ids, [0], choices=[(0.0, 0.0, 1.0, 0.0)] * 3), stock.run([0], ids, [0])
    )
