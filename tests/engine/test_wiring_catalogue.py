from __future__ import annotations

import sys

import pytest

from engine import wiring
from engine.problems import ProblemError, render

ACTION = '''
from engine.plugins import EffectClass, Params, action

class Wave(Params):
    """Wave."""

@action("{name}", Wave, returns=None, lasts=False, via=None, effect=EffectClass.READ)
async def wave(params, ctx):
    return None
'''


def project(folder, **plugins):
    folder.mkdir(exist_ok=True)
    (folder / "hotwash.yaml").write_text("timezone: UTC\n")
    (folder / "plugins").mkdir()
    for name, text in plugins.items():
        (folder / "plugins" / f"{name}.py").write_text(text)
    return folder


def test_what_is_built_in_needs_no_project():
    catalogue = wiring.catalogue()
    assert {"document.create", "chat.ask"} <= set(catalogue.actions)
    assert {"incident.resolved", "schedule"} <= set(catalogue.triggers)
    assert "markdown" in catalogue.providers
    assert "pagerduty" in catalogue.sources


def test_an_action_of_the_projects_plugins_folder_is_known_by_its_file(tmp_path):
    found = wiring.catalogue(project(tmp_path, hands=ACTION.format(name="hand.wave")))
    assert found.actions["hand.wave"].plugin == "plugins/hands.py"


def test_without_plugins_none_of_the_projects_python_runs(tmp_path):
    folder = project(tmp_path, loud="raise SystemExit('ran')")
    assert "hand.wave" not in wiring.catalogue(folder, plugins=False).actions


def test_plugin_files_of_the_same_name_in_two_projects_are_two_modules(tmp_path):
    first = project(tmp_path / "a", hands=ACTION.format(name="hand.wave"))
    second = project(tmp_path / "b", hands=ACTION.format(name="hand.clap"))
    assert "hand.wave" in wiring.catalogue(first).actions
    assert "hand.wave" not in wiring.catalogue(second).actions


def test_a_broken_plugin_is_named_with_its_line_and_so_is_every_other(tmp_path):
    folder = project(tmp_path, crash="x = 1\nx = x / 0\n", syntax="def f(:\n")
    with pytest.raises(ProblemError) as caught:
        wiring.catalogue(folder)
    assert [str(problem.span) for problem in caught.value.problems] == ["plugins/crash.py:2:1", "plugins/syntax.py:1:1"]
    assert render(caught.value.problems[0]).startswith(
        "plugins/crash.py:2:1: the plugin cannot be loaded: ZeroDivisionError: division by zero [broken-plugin]\n"
        "  |\n2 | x = x / 0\n"
    )


def test_a_broken_plugin_leaves_no_module_behind(tmp_path):
    before = set(sys.modules)
    with pytest.raises(ProblemError):
        wiring.catalogue(project(tmp_path, crash="1 / 0"))
    assert {name for name in set(sys.modules) - before if name.startswith("hotwash_plugin")} == set()


def test_a_plugin_cannot_take_the_name_of_a_built_in_action(tmp_path):
    with pytest.raises(ProblemError, match=r"'chat\.post' is declared by built in and by plugins/chat\.py"):
        wiring.catalogue(project(tmp_path, chat=ACTION.format(name="chat.post")))


def test_a_plugin_may_import_what_it_builds_on(tmp_path):
    text = "from actions.chat import post\n" + ACTION.format(name="hand.wave")
    assert wiring.catalogue(project(tmp_path, hands=text)).actions["chat.post"].plugin == "built in"
