"""`hotwash doctor`: what it says of connections that work, and of those that do not."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine import cli
from engine.cli import exits


class PagerDuty(BaseHTTPRequestHandler):
    """Knows one key, and one user."""

    def do_GET(self):
        known = self.headers["Authorization"] == "Token token=good"
        users = {"users": [{"id": "PHOT", "email": "hotwash@example.com"}]}
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(json.dumps(users if known else {"error": {"message": "Invalid key"}}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def vendor():
    server = ThreadingHTTPServer(("127.0.0.1", 0), PagerDuty)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def doctor(tmp_path, capsys, monkeypatch):
    """Give what runs the command on a project with a connection `pager` of the given options."""
    (tmp_path / "workflows").mkdir()
    monkeypatch.setenv("KEY", "good")
    monkeypatch.setenv("OLD_KEY", "a-key-of-last-year")

    def run(options, *arguments):
        pager = f"{{provider: pagerduty, {options}}}"
        (tmp_path / "hotwash.yaml").write_text(f"timezone: UTC\nconnections: {{pager: {pager}}}\n")
        code = cli.run(["doctor", *arguments, "-C", str(tmp_path)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_connection_that_works_is_said_to_work(doctor, vendor):
    code, out, err = doctor(
        f"token: '${{KEY}}', email: hotwash@example.com, api: '{vendor}', webhook_secret: '${{KEY}}'"
    )
    assert (code, err) == (exits.OK, "")
    assert out == "pager  works\n  pagerduty for incident, on_call\n  webhooks come in at /hooks/pager\n"


def test_refused_credentials_are_told_with_what_the_vendor_says_and_without_the_key(doctor, vendor):
    code, out, _ = doctor(f"token: '${{OLD_KEY}}', api: '{vendor}', webhook_secret: '${{KEY}}'")
    assert code == exits.PROBLEMS
    assert "refuses the credentials" in out
    assert "PagerDuty answered GET /abilities with 401: Invalid key" in out
    assert "a-key-of-last-year" not in out


def test_a_vendor_that_cannot_be_reached_is_told(doctor):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        api = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        code, out, _ = doctor(f"token: '${{KEY}}', api: '{api}', webhook_secret: '${{KEY}}'")
    assert (code, out.splitlines()[0]) == (
        exits.PROBLEMS,
        "pager  PagerDuty cannot be reached: ClientConnectorError",
    )


def test_a_connection_that_is_off_is_told_with_what_is_missing(doctor):
    code, out, _ = doctor("webhook_secret: '${NOT_SET}'", "--json")
    line = json.loads(out)[0]
    assert (code, line["name"], line["webhooks"]) == (exits.PROBLEMS, "pager", None)
    assert "NOT_SET" in line["problem"]


def test_an_unknown_connection_is_an_error_with_what_there_is(doctor):
    code, _, err = doctor("webhook_secret: '${KEY}'", "pgaer")
    assert code == exits.USAGE
    assert "no connection is called 'pgaer'" in err
    assert "did you mean 'pager'?" in err


def test_a_connection_without_an_account_can_be_named(doctor):
    code, out, _ = doctor("webhook_secret: '${KEY}'", "local")
    assert (code, out.splitlines()[0]) == (exits.OK, "local  works")


def test_what_refuses_us_is_held_from_then_on_and_let_go_when_it_works(doctor, vendor, capsys, tmp_path):
    doctor(f"token: '${{OLD_KEY}}', api: '{vendor}', webhook_secret: '${{KEY}}'")
    cli.run(["status", "-C", str(tmp_path)])
    held = capsys.readouterr().out
    assert "pager: held since" in held
    assert "makes a new key under Integrations > API Access Keys" in held
    assert "at once: hotwash doctor pager" in held
    doctor(f"token: '${{KEY}}', email: hotwash@example.com, api: '{vendor}', webhook_secret: '${{KEY}}'")
    cli.run(["status", "-C", str(tmp_path)])
    assert "held" not in capsys.readouterr().out


def test_what_is_wrong_comes_with_what_to_do(doctor):
    _, out, _ = doctor("webhook_secret: '${NOT_SET}'")
    assert out.splitlines()[1].startswith(
        "  = fill in .hotwash/env, or set it in the environment, then 'hotwash doctor"
    )
    assert "docs/integrations/pagerduty.md" in out


def test_webhooks_without_a_secret_are_said_to_be_refused(capsys, tmp_path, vendor, monkeypatch):
    monkeypatch.setenv("KEY", "good")
    (tmp_path / "workflows").mkdir()
    tracker = f"{{provider: jira, server: '{vendor}', token: '${{KEY}}'}}"
    (tmp_path / "hotwash.yaml").write_text(f"timezone: UTC\nconnections: {{tracker: {tracker}}}\n")
    cli.run(["doctor", "-C", str(tmp_path)])
    told = "webhooks come in at /hooks/tracker, and are refused until 'webhook_secret' is set"
    assert told in capsys.readouterr().out


def test_a_pager_that_only_says_who_is_on_call_works_without_a_webhook_secret(doctor, vendor):
    code, out, _ = doctor(f"token: '${{KEY}}', email: hotwash@example.com, api: '{vendor}'")
    assert (code, out.splitlines()[0]) == (exits.OK, "pager  works")
    assert "webhooks come in at /hooks/pager, and are refused until 'webhook_secret' is set" in out


def test_what_slack_needs_for_anything_to_come_in_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KEY", "xoxb-1")
    chat = "{provider: slack, token: '${KEY}', api: 'http://127.0.0.1:9/'}"
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text(f"timezone: UTC\nconnections: {{chat: {chat}}}\n")
    cli.run(["doctor", "-C", str(tmp_path)])
    told = "are refused until 'signing_secret' or 'app_token' is set: nothing comes in"
    assert told in capsys.readouterr().out
