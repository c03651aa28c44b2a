"""llm: a prompt, a schema, and a tool, through its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

folder = Path.cwd() / "llm"
folder.mkdir()
(folder / "extra-openai-models.yaml").write_text(
    json.dumps(
        [
            {
                "model_id": "firebrick",
                "model_name": os.environ["MODEL"],
                "api_base": f"{os.environ['BASE_URL']}/v1",
                "api_key_name": "firebrick",
                "supports_schema": True,
                "supports_tools": True,
            }
        ]
    )
)
(folder / "keys.json").write_text(json.dumps({"firebrick": os.environ["API_KEY"]}))


def llm(*arguments: str) -> str:
    command = [sys.executable, "-m", "llm", *arguments]
    environ = {**os.environ, "LLM_USER_PATH": str(folder)}
    done = subprocess.run(command, env=environ, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


assert llm("-m", "firebrick", "Hello!").strip()
assert llm("-m", "firebrick", "--no-stream", "Hello!").strip()
found = json.loads(llm("-m", "firebrick", "--schema", "name, age int", "Extract name and age.\nAnna is 31 years old."))
assert found.keys() == {"name", "age"}
assert llm("-m", "firebrick", "-T", "llm_version", "--chain-limit", "3", "What is the version of llm?") is not None
