from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_a_few_documents_survive_a_kill_lost_answers_and_double_notifications(
    demo_artefact: Path, tmp_path: Path
) -> None:
    few = ("--documents", "16", "--environments", "2", "--batch-size", "4", "--kills", "1", "--doubled", "5")
    command = [sys.executable, "-m", "bench.batch_load", str(demo_artefact), *few, "--visibility", "10", "--cut", "0.1"]
    picture = tmp_path / "results.png"
    done = subprocess.run([*command, "--plot", str(picture)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["faults"] == []
    assert figures["figures"]["with faults"]["kills"] == 1
    assert figures["figures"]["with faults"]["results"] == 16
    assert picture.stat().st_size > 10_000
