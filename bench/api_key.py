"""`python -m bench.api_key DIR`: what reading the API key from Secrets Manager costs the start.

moto's server stands in for AWS, once in plain HTTP and once in TLS; it is a process's neighbour, so what the network
takes isn't in these figures.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from bench.machine import print_ceiling
from bench.server import Server, compile_handler

SECRET = "firebrick-bench"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
READ = """
import os, time
{before}
begun, wall = time.process_time(), time.perf_counter()
from handler.access.api_key import key_reader
key_reader(os.environ["FIREBRICK_API_KEY_SECRET"], os.environ)()
print((time.process_time() - begun) * 1e3, (time.perf_counter() - wall) * 1e3)
"""
IN_SERVER = "import handler.__main__, handler.engine.engine, handler.http.app, handler.http.server"


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for the loopback.

    Returns:
        Certificate with key, and a bundle of the system's authorities with this one, which takes as long to load.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    own, bundle = directory / "own.pem", directory / "bundle.pem"
    own.write_bytes(text + private)
    system = ssl.get_default_verify_paths().cafile
    bundle.write_bytes((Path(system).read_bytes() if system else b"") + text)
    return own, bundle


@contextmanager
def endpoint(own: Path | None) -> Iterator[str]:
    """Serve moto on the loopback, in TLS if there is a certificate; gives the URL."""
    context = None
    if own is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=context)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"{'https' if own else 'http'}://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def read(before: str, environ: Mapping[str, str]) -> dict[str, float]:
    """Read the key in a process of its own; gives milliseconds of processor and of wall time."""
    command = [sys.executable, "-c", READ.format(before=before)]
    taken = subprocess.check_output(command, env={**os.environ, **environ}, text=True)
    processor, wall = map(float, taken.split())
    return {"processor": processor, "wall": wall}


def start(model_dir: Path, environ: Mapping[str, str]) -> dict[str, float]:
    """Start a server; gives its milliseconds."""
    with Server(model_dir, FIREBRICK_VERIFY="quick", **environ) as server:
        inside = {"api_key": server.ready["api_key_ms"]} if "api_key_ms" in server.ready else {}
        return {"ready": server.ready_ms, **inside}


def measure(model_dir: Path, http: Mapping[str, str], https: Mapping[str, str], runs: int) -> dict[str, Any]:
    """Measure in turns, so that drift hits all alike; gives medians of milliseconds."""
    cases: dict[str, Callable[[], dict[str, float]]] = {
        "alone, http": lambda: read("", http),
        "alone, https": lambda: read("", https),
        "in the server, http": lambda: read(IN_SERVER, http),
        "in the server, https": lambda: read(IN_SERVER, https),
        "start, no key": lambda: start(model_dir, {}),
        "start, http": lambda: start(model_dir, http),
        "start, https": lambda: start(model_dir, https),
    }
    taken = [{name: case() for name, case in cases.items()} for _ in range(runs + 1)][1:]
    return {
        name: {what: round(median(run[name][what] for run in taken), 1) for what in taken[0][name]} for name in cases
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.api_key", description="Time the reading of the API key.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--runs", type=int, default=9, help="counted, after one that isn't (%(default)s)")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    compile_handler()
    with tempfile.TemporaryDirectory() as directory:
        own, bundle = certificate(Path(directory))
        with endpoint(None) as plain, endpoint(own) as encrypted:
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": KEYS["AWS_REGION"]}
            client = boto3.client("secretsmanager", endpoint_url=plain, **keys)
            client.create_secret(Name=SECRET, SecretString="key")
            common = {**KEYS, "FIREBRICK_API_KEY_SECRET": SECRET, "SSL_CERT_FILE": str(bundle)}
            http, https = ({**common, "AWS_ENDPOINT_URL": url} for url in (plain, encrypted))
            medians = measure(args.model_dir, http, https, max(1, args.runs))
    print(f"milliseconds, medians of {args.runs} runs in turns")
    for name, parts in medians.items():
        print(f"{name:<24}" + "".join(f"{what:>12}{value:>9.1f}" for what, value in parts.items()))
    print(json.dumps({"bench": "api-key", "artefact": str(args.model_dir), "ms": medians, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
