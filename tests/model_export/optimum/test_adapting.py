from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from model_export.errors import GraphUnsupported
from model_export.optimum.adapting import adapt
from model_export.optimum.checking import logits_by_steps
from tests.model_export.optimum.graphs import HEAD_DIM, HEADS, VOCAB, growing_graph, value

IDS = np.random.default_rng(1).integers(0, VOCAB, 40)


def whole(model: ir.Model, path: Path) -> np.ndarray:
    """Logits of all positions by a graph as optimum has it, in one go."""
    ir.save(model, path)
    session = onnxruntime.InferenceSession(path)
    empty = np.zeros((1, HEADS, 0, HEAD_DIM), np.float32)
    caches = {i.name: empty for i in session.get_inputs() if i.name.startswith("past")}
    ids = IDS[None]
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(len(IDS))[None]}
    logits: np.ndarray = session.run(["logits"], {**feeds, **caches})[0][0]
    return logits


def test_steps_over_one_cache_give_what_the_growing_one_gives(tmp_path: Path) -> None:
    expected = whole(growing_graph(), tmp_path / "growing.onnx")
    adapt(model := growing_graph())
    ir.save(model, tmp_path / "adapted.onnx")
    found = logits_by_steps(tmp_path / "adapted.onnx", IDS, 64)
    assert np.abs(found - expected).max() < 1e-5


def test_a_cache_in_the_same_memory_is_written_where_it_lies(tmp_path: Path) -> None:
    adapt(model := growing_graph(1))
    ir.save(model, tmp_path / "adapted.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "adapted.onnx")
    bound, start = session.io_binding(), 3
    cache = {part: np.full((1, HEADS, 8, HEAD_DIM), 7, np.float32) for part in ("key", "value")}
    for part, array in cache.items():
        bound.bind_input(f"past_key_values.0.{part}", "cpu", 0, np.float32, array.shape, array.ctypes.data)
        bound.bind_output(f"present.0.{part}", "cpu", 0, np.float32, array.shape, array.ctypes.data)
    bound.bind_cpu_input("input_ids", IDS[None, :2])
    bound.bind_cpu_input("seqlens_k", np.array([start + 1], np.int32))
    bound.bind_cpu_input("total_sequence_length", np.array(start + 2, np.int32))
    bound.bind_cpu_input("logits_indices", np.array([1]))
    bound.bind_output("logits")
    session.run_with_iobinding(bound)
    for array in cache.values():
        assert [bool((array[:, :, at] == 7).all()) for at in range(8)] == [True] * 3 + [False] * 2 + [True] * 3


def test_it_says_what_the_handler_allocates_and_which_weight_gives_the_logits() -> None:
    found = adapt(growing_graph(2))
    assert (found.layers, found.heads, found.head_dim, found.head) == (2, HEADS, HEAD_DIM, "lm_head")


def test_the_head_runs_for_no_position_that_nobody_asks_for() -> None:
    adapt(model := growing_graph())
    head = next(node for node in model.graph if "lm_head" in [v.name for v in node.inputs if v])
    producer = head.inputs[0].producer() if head.inputs[0] else None
    assert producer is not None
    assert producer.op_type == "Gather"


def test_logits_that_no_product_gives_are_gathered_themselves(tmp_path: Path) -> None:
    def clipped() -> ir.Model:
        model = growing_graph()
        logits = model.graph.outputs[0]
        logits.name = "raw"
        node = ir.node("Clip", [logits])
        node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = "logits", logits.type, logits.shape
        model.graph.append(node)
        model.graph.outputs[0] = node.outputs[0]
        return model

    expected = whole(clipped(), tmp_path / "growing.onnx")
    found = adapt(model := clipped())
    ir.save(model, tmp_path / "adapted.onnx")
    assert found.head is None
    assert np.abs(logits_by_steps(tmp_path / "adapted.onnx", IDS, 64) - expected).max() < 1e-5


def test_an_input_that_nobody_can_feed_is_refused_by_name() -> None:
    model = growing_graph()
    model.graph.inputs.append(value("encoder_hidden_states", ir.DataType.FLOAT, ["batch_size", "n", 8]))
    with pytest.raises(GraphUnsupported, match="'encoder_hidden_states'"):
        adapt(model)


def test_a_graph_without_a_cache_is_refused() -> None:
    model = growing_graph(0)
    with pytest.raises(GraphUnsupported, match=r"no 'past_key_values\.0\.key'"):
        adapt(model)


@pytest.mark.parametrize("shape", [["batch_size", 4, "past", HEAD_DIM], ["batch_size", "past", 8]])
def test_layers_whose_caches_differ_are_refused(shape: list[int | str]) -> None:
    model = growing_graph()
    next(v for v in model.graph.inputs if v.name == "past_key_values.1.value").shape = ir.Shape(shape)
    with pytest.raises(GraphUnsupported, match=r"past_key_values\.1\.value"):
        adapt(model)
