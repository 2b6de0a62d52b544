from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_benchmark_counts_commits_and_finished_runs_and_leaves_only_its_result(tmp_path):
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", "--seconds", "0.2", "--out", str(out)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    result = json.loads(out.read_text("utf-8"))
    assert all(measured["count"] > 0 for measured in result["measured"])
    assert f"{result['ratio']:.3f} durable runs" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
