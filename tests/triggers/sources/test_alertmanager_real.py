"""A real Alertmanager fires and resolves an alert into a running `hotwash run`, on loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from engine.clock import SystemClock

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = shutil.which("prometheus-alertmanager")
PROJECT = """\
timezone: UTC
owner: ada
server: {port: 0}
connections:
  alerts: {provider: alertmanager, token: "${file:token}", severity: {critical: sev1}}
"""
FLOW = """\
on: alert.%s
steps:
  - uses: chat.post
    with: {text: "${{ alert.name }} ${{ alert.service }} ${{ alert.severity }} ${{ 'on' if alert.firing else 'off' }}"}
"""
ALERTMANAGER = """\
route: {{receiver: hotwash, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: hotwash
    webhook_configs:
      - url: {address}/hooks/alerts
        send_resolved: true
        http_config: {{authorization: {{credentials: the-token-of-the-receiver}}}}
"""
ALERT = {
    "labels": {"alertname": "HighErrorRate", "service": "checkout", "severity": "critical"},
    "annotations": {"summary": "5xx above 5%"},
}

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Debian's prometheus-alertmanager is not installed here")


@pytest.fixture
def start():
    """Give what starts a program, and ends it after the test."""
    started = []

    def run(*command):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def read_until(process, word):
    """Read what a program says up to a line with a word in it."""
    said = []
    for line in process.stdout:
        said.append(line)
        if word in line:
            return line
    raise AssertionError("".join(said))


def tell(address, *alerts):
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{address}/api/v2/alerts", json.dumps(alerts).encode(), headers, method="POST")
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.status == 200


def test_an_alert_fires_and_is_resolved(tmp_path, start):
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text(PROJECT)
    (tmp_path / "people.yaml").write_text("people: {ada: {name: Ada}}\n")
    (tmp_path / "token").write_text("the-token-of-the-receiver\n")
    for state in ("firing", "resolved"):
        (tmp_path / "workflows" / f"{state}.yaml").write_text(FLOW % state)
    main = (sys.executable, "-c", "from engine.cli import main; main()")
    engine = start(*main, "run", "-C", str(tmp_path), "--log-format", "json")
    read_until(engine, "engine.started")
    address = json.loads((tmp_path / ".hotwash" / "server.json").read_text())["address"]
    (tmp_path / "am.yml").write_text(ALERTMANAGER.format(address=address))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    manager = start(
        str(PROGRAM),
        f"--config.file={tmp_path / 'am.yml'}",
        f"--storage.path={tmp_path / 'am'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    )
    read_until(manager, "Listening on")
    clock = SystemClock()
    began = clock.now().isoformat()
    tell(f"http://127.0.0.1:{port}", {**ALERT, "startsAt": began})
    assert read_until(engine, "#incidents:").endswith("HighErrorRate checkout sev1 on\n")
    tell(f"http://127.0.0.1:{port}", {**ALERT, "startsAt": began, "endsAt": clock.now().isoformat()})
    assert read_until(engine, "#incidents:").endswith("HighErrorRate checkout sev1 off\n")
