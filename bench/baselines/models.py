"""One checkpoint of random weights in each program's form, made once and kept."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cold_start.disk import Unavailable

CONTEXT = 512  # tokens that there is room for
REPOSITORY = Path(__file__).parent.parent.parent
# Random weights of distilgpt2's shape, written by transformers, and a tokenizer.
DISTILGPT2 = """
import sys
from pathlib import Path
from transformers import GPT2Config, GPT2LMHeadModel
from bench.checkpoint import write_tokenizer
out = Path(sys.argv[1])
config = GPT2Config(n_layer=6, bos_token_id=0, eos_token_id=1)
GPT2LMHeadModel(config).save_pretrained(out)
write_tokenizer(out, config.vocab_size, 0)
"""


@dataclass(frozen=True)
class Models:
    """Where everything lies.

    Attributes:
        checkpoint: bf16, as from the hub.
        native: artefact for our kernels.
        stock: the same for onnxruntime's.
        optimum: the checkpoint by `--builder optimum`.
        gguf: Q4_0.
        distilgpt2: a checkpoint of its shape, float32.
        distilgpt2_int4: the same by `--builder optimum`.
        bucket: of S3, which gets the checkpoint.
        prefix: there.
    """

    checkpoint: Path
    native: Path
    stock: Path
    optimum: Path
    gguf: Path
    distilgpt2: Path
    distilgpt2_int4: Path
    bucket: str = "models"
    prefix: str = "checkpoint"


def prepare(names: Sequence[str], shape: str, work: Path, isa: str, reference: Path) -> Models:
    """Make what is missing.

    Args:
        names: of the programs that need it.
        shape: of `bench.checkpoint`.
        work: where it is kept.
        isa: of llama.cpp's build, whose quantizer makes the GGUF file.
        reference: Python with torch and transformers.

    Raises:
        Unavailable: something can't be made.
    """
    directory = work / shape
    directory.mkdir(parents=True, exist_ok=True)
    forms = ("checkpoint", "native", "stock", "optimum", "q4_0.gguf")
    checkpoint, native, stock, optimum, gguf = (directory / name for name in forms)
    distilgpt2, distilgpt2_int4 = work / "distilgpt2", work / "distilgpt2-int4"
    own = [sys.executable, "-m"]
    by_optimum = [reference, "-m", "model_export", "--builder", "optimum"]
    quick = ["--kernels", "native", "--rounding", "nearest", "--context", str(CONTEXT)]
    made = {
        checkpoint / "config.json": (set(names), [*own, "bench.checkpoint", "--shape", shape, "--out", checkpoint]),
        native: ({"firebrick", "stock"}, [*own, "model_export", checkpoint, "--out", native, *quick]),
        stock: ({"stock"}, [*own, "model_export.convert", native, "--kernels", "stock", "--out", stock]),
        optimum: ({"optimum"}, [*by_optimum, checkpoint, "--out", optimum, "--context", str(CONTEXT)]),
        gguf: (
            {"llama.cpp"},
            [*own, "bench.llama_cpp", "gguf", checkpoint, "--type", "Q4_0", "--out", gguf, "--isa", isa],
        ),
        distilgpt2 / "tokenizer_config.json": (
            {"distilgpt2", "distilgpt2-int4"},
            [reference, "-c", DISTILGPT2, distilgpt2],
        ),
        distilgpt2_int4: ({"distilgpt2-int4"}, [*by_optimum, distilgpt2, "--out", distilgpt2_int4]),
    }
    for path, (users, command) in made.items():
        if users & set(names) and not path.exists():
            words = [str(word) for word in command]
            if subprocess.run(words, cwd=REPOSITORY, stdout=sys.stderr).returncode:
                raise Unavailable(f"{path} can't be made; {' '.join(words[:3])} has said why")
    return Models(checkpoint, native, stock, optimum, gguf, distilgpt2, distilgpt2_int4)


@contextmanager
def s3_with(models: Models) -> Iterator[str]:
    """moto's server with the checkpoint in a bucket; gives its address."""
    import boto3
    from botocore.config import Config
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        patient = Config(read_timeout=600)  # moto keeps what it gets in memory, and hashes it first
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", config=patient, **keys)
        client.create_bucket(Bucket=models.bucket)
        for path in sorted(models.checkpoint.iterdir()):
            with path.open("rb") as body:  # in one part: putting parts together takes moto minutes
                client.put_object(Bucket=models.bucket, Key=f"{models.prefix}/{path.name}", Body=body)
        yield f"http://{host}:{port}"
    finally:
        server.stop()
