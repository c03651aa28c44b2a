"""Documents answered by the demo; then by the real process, which is killed in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo.ask import LETTER, ORDER
from handler.model import Model
from handler.settings import Settings
from handler.start.loading import load_model
from handler.worker.documents.documents import make_desk
from handler.worker.results import connect
from handler.worker.worker import Worker
from tests.conftest import ROOT
from tests.handler.worker.conftest import BUCKET
from tests.handler.worker.documents.conftest import Buckets, told
from tests.handler.worker.messages import batch, failed
from tests.handler.worker.runtime_api import Lambda
from tests.handler.worker.test_worker import context, telemetry
from tests.kernels.models import LIBRARY, needs_library

SENTENCES = " ".join(
    f"In year {year} the brick works made {year % 97} ovens, and sold them all." for year in range(400)
)
LIST = {"combine": "list", "max_tokens": 40, "temperature": 0}


@pytest.fixture(scope="module")
def model(native: Path) -> Model:
    return load_model(Settings(native, slots=4, kernels=LIBRARY), 2, memory=2**33)[0]


def working(model: Model) -> Worker:
    settings = Settings(Path(), input_bucket="input")
    bucket = connect(BUCKET, "us-east-1")
    return Worker(model, bucket, telemetry(), 0.0, make_desk=lambda: make_desk(settings, BUCKET, "us-east-1"))


@pytest.fixture
def worker(model: Model, buckets: Buckets) -> Worker:
    return working(model)


@needs_library
def test_every_line_is_extracted_by_a_schema(worker: Worker, buckets: Buckets) -> None:
    cities = ["Tessin", "Malchin", "Torgau", "Werben", "Lauenburg"]
    body = "\n".join(json.dumps(LETTER.replace("Tessin", city)) for city in cities)
    schema = {"type": "json_schema", "json_schema": {"name": "order", "schema": ORDER}}
    record = buckets.put(
        "letters.jsonl", body, "Read the order.", request={"response_format": schema, "temperature": 0}
    )
    assert failed(worker.handle(batch(told(record)), context())) == []
    orders = [json.loads(one["text"]) for one in buckets.result()["answers"]]
    assert [order["order"] for order in orders] == ["KD-4821"] * 5
    assert len({order["customer"]["city"] for order in orders}) > 1


@needs_library
def test_a_long_document_fits_the_model_part_by_part(worker: Worker, buckets: Buckets, model: Model) -> None:
    text = SENTENCES
    assert len(model.prompts.tokenizer.encode(text)) > 5 * model.context_length
    record = buckets.put("long.txt", text, "Summarize this.", request={"max_tokens": 30, "temperature": 0})
    assert failed(worker.handle(batch(told(record)), context())) == []
    result = buckets.result()
    kept = buckets.kept("parts/").values()
    assert result["plan"]["parts"] > 5
    assert result["plan"]["levels"] >= 1
    assert all(part["usage"]["total_tokens"] <= model.context_length for part in kept)
    assert result["plan"]["longest_prompt_tokens"] + 30 <= model.context_length
    assert result["usage"]["total_tokens"] == sum(part["usage"]["total_tokens"] for part in kept)


@needs_library
def test_side_by_side_parts_have_the_texts_of_one_by_one(native: Path, buckets: Buckets) -> None:
    texts = []
    for slots in (1, 4):
        # Without what the cache holds, bits don't depend on who came before.
        model, _ = load_model(Settings(native, slots=slots, kernels=LIBRARY, prefix_cache=False), 2, memory=2**33)
        record = buckets.put("long.txt", SENTENCES[:9000], "Summarize this.", request=LIST)
        assert failed(working(model).handle(batch(told(record)), context())) == []
        name = f"results/documents/long.txt/{record['s3']['object']['versionId']}.json"
        texts.append([one["text"] for one in buckets.kept()[name]["answers"]])
    assert texts[0] == texts[1]
    assert len(texts[0]) > 3


def test_a_worker_that_is_killed_between_parts_goes_on_where_it_was(
    demo_artefact: Path, s3_environ: dict[str, str], buckets: Buckets
) -> None:
    environ = {"FIREBRICK_MODEL_DIR": str(demo_artefact), "FIREBRICK_INPUT_BUCKET": "input", **s3_environ}
    event = batch(told(buckets.put("long.txt", SENTENCES, "Summarize this.", request=LIST)))
    with Lambda(**environ) as function:
        function.begin(event)
        while len(buckets.kept("parts/")) < 2:
            assert function.process.poll() is None, function.lines
        assert function.end() == -9
    before = buckets.kept("parts/")
    assert buckets.kept() == {}
    with Lambda(**environ) as function:
        assert failed(function.invoke(event)) == []
        answered = function.logged("answered")
        [line] = function.logged("document")
    after, result = buckets.kept("parts/"), buckets.result()
    assert {name: part for name, part in after.items() if name in before} == before
    assert len(after) == len(result["answers"]) == len(before) + len(answered)
    assert {one["source"] for one in answered} == {"s3"}
    assert (line["parts"], line["key"]) == (len(after), f"documents/long.txt/{result['source']['version_id']}")


def test_a_worker_without_documents_imports_nothing_of_them() -> None:
    script = "import sys, handler.worker.start, handler.worker.worker, handler.worker.results; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True).split()
    assert "handler.worker.messages" in modules
    assert not [name for name in modules if name.startswith("handler.worker.documents")]
