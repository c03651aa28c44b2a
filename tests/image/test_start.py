"""What the image does to start quickly."""

from __future__ import annotations

import importlib
import json
import marshal
import os
import subprocess
import sys
import types
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

import pytest

from image.start import bundle, record


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A package and a module on a path that Python isn't told of."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("where = __path__[0]\n")
    (tmp_path / "package" / "part.py").write_text("value = 1\n\n\ndef fail():\n    raise ValueError\n")
    return tmp_path


def bundled(modules: Path) -> dict[str, tuple[int, str]]:
    package = modules / "package"
    found = {
        "package": (bundle.PACKAGE, str(package / "__init__.py")),
        "package.part": (bundle.SOURCE, str(package / "part.py")),
    }
    (modules / record.MODULES).write_text(json.dumps(found))
    record.compile_bundles(modules)
    return found


def run(directory: Path, script: str) -> str:
    start = f"from image.start import bundle; bundle.install({str(directory)!r}); "
    return subprocess.check_output([sys.executable, "-c", start + script], text=True)


def test_modules_of_a_bundle_are_found_where_nothing_else_would_find_them(modules: Path) -> None:
    bundled(modules)
    told = run(modules, "import package, package.part as p; print(p.value, p.__file__, package.where)")
    assert told.split() == ["1", str(modules / "package" / "part.py"), str(modules / "package")]


def test_the_source_isnt_needed_but_for_a_traceback(modules: Path) -> None:
    bundled(modules)
    (modules / "package" / "part.py").unlink()
    assert run(modules, "import package.part as p; print(p.value)") == "1\n"


def test_data_beside_a_bundled_module_is_found(modules: Path) -> None:
    bundled(modules)
    (modules / "package" / "data.txt").write_text("data")
    assert run(
        modules, "from importlib.resources import files; print((files('package') / 'data.txt').read_text())"
    ) == ("data\n")


def test_a_bundled_module_runs_as_main(modules: Path) -> None:
    bundled(modules)
    assert run(modules, "import runpy; print(runpy.run_module('package.part')['value'])") == "1\n"


def test_an_extension_is_loaded_from_its_own_file(tmp_path: Path) -> None:
    import _json

    if not isinstance(_json.__spec__.loader, ExtensionFileLoader):
        pytest.skip("this Python has it built in")
    bundle.write(str(tmp_path / bundle.NAMES[0]), [("_json", bundle.EXTENSION, str(_json.__file__), b"")])
    assert run(tmp_path, "import _json; print(_json.__file__)").strip() == _json.__file__


@pytest.mark.parametrize("content", [None, b"", b"abcd", b"\0" * 64])
def test_what_is_no_bundle_of_this_python_is_passed_over(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.bundle").write_bytes(content)
    assert bundle.read(str(tmp_path / "x.bundle")) is None


def test_bundles_are_the_same_each_time(modules: Path) -> None:
    bundled(modules)
    first = [(modules / name).read_bytes() for name in bundle.NAMES]
    bundled(modules)
    assert [(modules / name).read_bytes() for name in bundle.NAMES] == first


def test_libraries_and_handler_are_bundled_apart(modules: Path) -> None:
    source = modules / "package" / "part.py"
    found = {"handler.x": (bundle.SOURCE, str(source)), "other": (bundle.SOURCE, str(source))}
    (modules / record.MODULES).write_text(json.dumps(found))
    record.compile_bundles(modules)
    assert [list(index(modules / name)) for name in bundle.NAMES] == [["other"], ["handler.x"]]


def index(path: Path) -> dict[str, Any]:
    finder = bundle.read(str(path))
    assert finder is not None
    return finder._index


def test_what_recording_imports_is_not_recorded() -> None:
    modules = {name: sys.modules[name] for name in ("image.start.record", "json", "sys")}
    assert record.modules_of(modules) == {"json": (bundle.PACKAGE, sys.modules["json"].__file__)}


def test_a_module_without_a_spec_is_not_recorded() -> None:
    assert record.modules_of({"x": types.ModuleType("x")}) == {}


def test_code_is_what_its_source_says(modules: Path) -> None:
    bundled(modules)
    entry = index(modules / bundle.NAMES[0])["package.part"]
    assert entry[:2] == (bundle.SOURCE, str(modules / "package" / "part.py"))
    finder = bundle.read(str(modules / bundle.NAMES[0]))
    assert finder is not None
    code = marshal.loads(os.pread(finder._bundle, entry[3] - entry[2], finder._data + entry[2]))
    assert "value" in code.co_names


def test_what_loads_openssl_waits_until_it_is_used(tmp_path: Path) -> None:
    script = (
        "import sys, ssl, hmac, secrets, asyncio.sslproto; from hashlib import sha1; print('_hashlib' in sys.modules, "
        "'_ssl' in sys.modules, hmac.compare_digest(b'a', b'a')); print(sha1(b'').hexdigest()[:4], "
        "'_hashlib' in sys.modules, '_ssl' in sys.modules); print(ssl.create_default_context().check_hostname, "
        "type(ssl.PROTOCOL_TLS_SERVER).__name__, asyncio.sslproto.SSLProtocol.__name__)"
    )
    assert run(tmp_path, script).splitlines() == [
        "False False True",
        "da39 True False",
        "True _SSLMethod SSLProtocol",
    ]


def test_a_socket_of_asyncio_needs_no_tls(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "async def serve():\n"
        "    server = await asyncio.start_server(lambda reader, writer: writer.close(), '127.0.0.1', 0)\n"
        "    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
        "    print(await reader.read(), '_ssl' in sys.modules)\n"
        "asyncio.run(serve())"
    )
    assert run(tmp_path, script) == "b'' False\n"


def test_threads_that_use_a_deferred_module_at_once_all_have_it(tmp_path: Path) -> None:
    script = (
        "import hashlib; from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print({hash for hash in pool.map(lambda _: hashlib.sha256(b'').hexdigest()[:4], range(8))})"
    )
    assert run(tmp_path, script) == "{'e3b0'}\n"


def test_a_deferred_module_can_be_loaded_again(tmp_path: Path) -> None:
    script = (
        "import hashlib, importlib; hashlib.sha256; importlib.reload(hashlib); "
        "print(type(hashlib).__name__, type(hashlib.__spec__.loader).__name__, hashlib.sha1.__name__)"
    )
    assert run(tmp_path, script).split() == ["module", "SourceFileLoader", "openssl_sha1"]


def test_a_deferred_module_that_cant_be_loaded_says_so_each_time(tmp_path: Path) -> None:
    script = (
        "import sys, ssl; sys.modules['_ssl'] = None\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        ssl.SSLContext\n"
        "    except ImportError as error:\n"
        "        print(type(error).__name__)"
    )
    assert run(tmp_path, script).split() == ["ModuleNotFoundError"] * 2


def test_a_deferred_module_is_recorded_as_what_it_is() -> None:
    script = "import ssl, sys; from image.start import record; print(record.modules_of({'ssl': ssl})['ssl'][0])"
    start = "from image.start import bundle; bundle.install('/nowhere'); "
    assert subprocess.check_output([sys.executable, "-c", start + script], text=True) == f"{bundle.SOURCE}\n"


def test_docstrings_of_functions_and_classes_are_left_out(modules: Path) -> None:
    (modules / "package" / "part.py").write_text(
        '"""Module."""\ndef f():\n    """F."""\nclass C:\n    """C."""\n    x = 1\n'
    )
    bundled(modules)
    script = "import package.part as p; print(p.__doc__, p.f.__doc__, p.f(), p.C.__doc__, p.C.x)"
    assert run(modules, script) == "Module. None None None 1\n"


def test_pythons_own_extensions_are_copied_to_lie_together(tmp_path: Path) -> None:
    extension = tmp_path / "lib-dynload" / "_x.so"
    extension.parent.mkdir()
    extension.write_bytes(b"x")
    (tmp_path / record.MODULES).write_text(json.dumps({"_x": (bundle.EXTENSION, str(extension))}))
    record.compile_bundles(tmp_path)
    assert index(tmp_path / bundle.NAMES[0])["_x"][1] == f"{bundle.DIRECTORY}/extensions/_x.so"
    assert (tmp_path / "python" / "extensions" / "_x.so").read_bytes() == b"x"


def test_a_module_that_fails_at_each_start_is_recorded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wants_more.py").write_text("import that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sought = record.Sought()
    monkeypatch.setattr(sys, "meta_path", [sought, *sys.meta_path])
    with pytest.raises(ImportError):
        importlib.import_module("wants_more")
    assert record.modules_of(sought.unfinished()) == {"wants_more": (bundle.SOURCE, str(tmp_path / "wants_more.py"))}
