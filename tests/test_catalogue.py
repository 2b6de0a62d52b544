"""What is built in keeps the house rules: documented, tested, checked. CONTRIBUTING's checklist is this file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import actions
import triggers
from engine import cli, wiring
from engine.capabilities import CAPABILITIES
from engine.config import library, load_config
from engine.domain import FIELDS, RECORDS, Event
from engine.plugins import EffectClass, Params
from engine.problems import render_all
from engine.store import lookups
from engine.workflow.check import check_workflow
from engine.workflow.source import read_source
from tests.google_credentials import service_account

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").rglob("hotwash.yaml"))
EXAMPLE_WORKFLOWS = [path for folder in EXAMPLES for path in sorted((folder / "workflows").glob("*.yaml"))]
CATALOGUE = wiring.catalogue()
DECLARED = [
    item
    for table in (CATALOGUE.actions, CATALOGUE.triggers, CATALOGUE.providers, CATALOGUE.sources)
    for item in table.values()
    if item.plugin == "built in"
]
WITH_INPUTS = [item for item in DECLARED if hasattr(item, "params")]
WITH_OPTIONS = [item for item in DECLARED if hasattr(item, "options")]
PROVIDERS = [item for item in WITH_OPTIONS if hasattr(item, "serves")]

#: A project that needs no account; `deploys` is there for the example of the trigger `webhook`.
PROJECT = {
    "hotwash.yaml": """
        timezone: Europe/Prague
        connections: {deploys: {provider: generic, webhook_secret: "${SECRET}"}}
        """,
    "people.yaml": """
        people: {ada: {name: Ada, email: ada@example.com, manager: grace}, grace: {name: Grace}}
        teams: {sre: {lead: ada, members: [ada, grace], channel: "#sre"}}
        services: {checkout: {team: sre}}
        """,
    "templates/postmortem.md": "# {{ incident.title }}\n",
    "workflows/postmortem.yaml": "on: incident.resolved\nsteps:\n  - finish: done\n",
}
#: Earlier steps that examples read from.
BEFORE = {
    "steps.review": "- id: review\n  uses: calendar.schedule\n  with: {title: Review, attendees: [ada]}\n",
    "steps.doc": "- id: doc\n  uses: document.create\n  with: {title: Report, text: Empty}\n",
    "steps.summary": "- id: summary\n  uses: chat.post\n  with: {text: Hello}\n",
    "steps.ask": "- id: ask\n  uses: chat.ask\n  with: {to: ada, text: Well?, choices: {yes: Yes, later: Later}}\n",
}


def named(item):
    return f"{type(item).__name__.lower()}-{item.name}"


def module_of(item):
    function = getattr(item, "function", None) or getattr(item, "matches", None) or item.cls
    return inspect.getmodule(function)


def examples(doc):
    return [textwrap.dedent(block) for block in re.split(r"^Example:\n", doc, flags=re.MULTILINE)[1:]]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    config, problems = load_config(folder, CATALOGUE, {"SECRET": "c2VjcmV0"})
    assert problems == []
    return config


def problems_of(text, config):
    file, reading = read_source("workflows/example.yaml", text.encode())
    _, checking = check_workflow(file, CATALOGUE, wiring.names_of(config, CATALOGUE))
    return reading + checking


# --- examples --------------------------------------------------------------------------------------------------------


def as_workflow(step):
    """Put an action's example into a workflow about what the example is about."""
    about = "document.published" if re.search(r"\bdocument\b[ .]", step.partition("with:")[2]) else None
    about = "ticket.created" if re.search(r"\$\{\{ ticket\b", step) else about or "incident.resolved"
    before = "".join(text for name, text in BEFORE.items() if name in step)
    return f"on: {about}\nsteps:\n" + textwrap.indent(before + "- " + textwrap.indent(step, "  ")[2:], "  ")


@pytest.mark.parametrize("action", CATALOGUE.actions.values(), ids=named)
def test_the_example_of_an_action_is_a_step_that_checks_clean(action, project):
    found = examples(action.doc)
    assert found
    for example in found:
        assert yaml.safe_load(example)["uses"] == action.name
        assert render_all(problems_of(as_workflow(example), project)) == ""


@pytest.mark.parametrize("trigger", CATALOGUE.triggers.values(), ids=named)
def test_the_example_of_a_trigger_heads_a_workflow_that_checks_clean(trigger, project):
    found = examples(trigger.doc)
    assert found
    for example in found:
        assert trigger.name in example
        problems = problems_of(f"{example}\nsteps:\n  - uses: chat.post\n    with: {{text: Hello}}\n", project)
        assert render_all(problems) == ""


@pytest.mark.parametrize("item", WITH_OPTIONS, ids=named)
def test_the_example_of_a_connection_is_read_without_a_problem(item, tmp_path):
    found = examples(inspect.getdoc(item.options))
    assert found
    for example in found:
        (entry,) = yaml.safe_load(example).values()
        assert entry["provider"] == item.name
        (tmp_path / "hotwash.yaml").write_text(f"timezone: UTC\nconnections:\n{textwrap.indent(example, '  ')}")
        for name in re.findall(r"\$\{file:([^}]+)\}", example):
            (tmp_path / name).write_text(service_account("https://oauth2.googleapis.com/token"))
        secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", example), "c2VjcmV0")
        assert render_all(load_config(tmp_path, CATALOGUE, secrets)[1]) == ""


def files_of(folder):
    return {path.name for path in (folder / "workflows").glob("*.yaml")}


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_every_example_project_checks_clean(folder, capsys, monkeypatch):
    assert files_of(folder)
    for name in re.findall(r"\$\{(\w+)\}", (folder / "hotwash.yaml").read_text("utf-8")):
        monkeypatch.setenv(name, "a-secret-of-some-length")
    code = cli.run(["check", "--project", str(folder)])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    assert captured.out.endswith("checked, no problems\n")


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_every_example_project_is_introduced_and_stands_in_the_table(folder):
    introduction = (folder / "README.md").read_text("utf-8")
    table = (ROOT / "examples" / "README.md").read_text("utf-8")
    for name in files_of(folder):
        assert f"workflows/{name}" in introduction
        assert f"({folder.name}/workflows/{name})" in table


@pytest.mark.parametrize("path", EXAMPLE_WORKFLOWS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_workflow_of_an_example_is_named_in_a_test_of_that_example(path):
    tests, project = ROOT / "tests" / "examples", path.parts[-3]
    files = [*(tests / project).glob("test_*.py"), *tests.glob(f"test_{project.replace('-', '_')}.py")]
    named = any(f'"{path.stem}"' in file.read_text("utf-8") for file in files)
    assert named or (tests / project / f"test_{path.stem.replace('-', '_')}.py").is_file()


def test_every_shipped_workflow_checks_clean_in_a_new_project(tmp_path, capsys):
    cli.run(["init", str(tmp_path)])
    for path in library().rglob("*"):
        if path.is_file():
            folder = tmp_path / ("templates" if path.parent.name == "templates" else "workflows")
            (folder / path.name).write_text(path.read_text("utf-8"), "utf-8")
    assert files_of(tmp_path) == {path.name for path in library().glob("*.yaml")}
    capsys.readouterr()
    code = cli.run(["check", "--project", str(tmp_path)])
    assert (code, capsys.readouterr().out) == (0, f"{len(files_of(tmp_path))} workflows checked, no problems\n")


# --- what each must have ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", DECLARED, ids=named)
def test_the_first_line_says_what_it_does_as_an_imperative(item):
    first = item.doc.partition("\n")[0]
    word = first.partition(" ")[0]
    assert re.match(r"[A-Z][a-z]+$", word), first
    assert word not in ("A", "An", "The", "This", "What", "Options", "Returns", "It"), first
    assert not re.search(r"(?<!s)s$|ing$|ed$", word), first
    assert re.match(r"[^.]+\.(\s|$)", item.doc.partition("\n\n")[0].replace("`.ics`", "ics")), first


@pytest.mark.parametrize("item", WITH_INPUTS, ids=named)
def test_every_input_is_described_and_unknown_ones_are_refused(item):
    assert issubclass(item.params, Params)
    assert item.params.model_config["extra"] == "forbid"
    assert [name for name, field in item.params.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("item", WITH_OPTIONS, ids=named)
def test_every_option_is_described_and_unknown_ones_are_refused(item):
    assert item.options.model_config["extra"] == "forbid"
    assert [name for name, field in item.options.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("action", CATALOGUE.actions.values(), ids=named)
def test_an_action_has_a_test_file_that_uses_it(action):
    file = ROOT / "tests" / "actions" / f"test_{action.name.partition('.')[0]}.py"
    assert re.search(rf"\b{action.params.__name__}\b|\"{re.escape(action.name)}\"", file.read_text("utf-8"))


@pytest.mark.parametrize("trigger", CATALOGUE.triggers.values(), ids=named)
def test_a_trigger_is_named_in_a_test_of_triggers(trigger):
    word = trigger.name.rpartition(".")[2]
    name = re.compile(rf"(?<![\w.]){re.escape(trigger.name)}(?![\w.])|\"{word}\"")
    files = (ROOT / "tests" / "triggers").glob("test_*.py")
    assert any(name.search(path.read_text("utf-8")) for path in files if "catalogue" not in path.name)


@pytest.mark.parametrize("item", WITH_OPTIONS, ids=named)
def test_a_provider_and_a_source_has_a_test_file_of_its_own(item):
    folder, kind = ("actions/providers", "provider") if item in PROVIDERS else ("triggers/sources", "source")
    vendor = module_of(item).__name__.rpartition(".")[2]
    assert any((ROOT / "tests" / folder / f"test_{name}.py").is_file() for name in (vendor, f"{vendor}_{kind}"))


def needs_an_account(item):
    return any("Secret" in f"{field.annotation} {field.metadata}" for field in item.options.model_fields.values())


@pytest.mark.parametrize("item", [one for one in WITH_OPTIONS if needs_an_account(one)], ids=named)
def test_a_vendor_has_the_page_that_the_doctor_sends_people_to(item):
    page = ROOT / "docs" / "integrations" / f"{item.name.partition('_')[0]}.md"
    assert f"provider: {item.name}" in page.read_text("utf-8")


@pytest.mark.parametrize("item", DECLARED, ids=named)
def test_a_declaration_stands_in_the_file_that_is_called_as_yaml_calls_it(item):
    name = item.name if item in WITH_OPTIONS else item.name.partition(".")[0]
    assert module_of(item).__name__.rpartition(".")[2] == name


# --- effects ---------------------------------------------------------------------------------------------------------


def changing(cls):
    """Give the methods that change something: those that take the effect they belong to, `find` excepted."""
    methods = inspect.getmembers(cls, inspect.isfunction)
    return {name: method for name, method in methods if "effect" in inspect.signature(method).parameters}


@pytest.mark.parametrize("provider", PROVIDERS, ids=named)
def test_a_provider_says_of_each_method_that_changes_something_whether_it_may_be_repeated(provider):
    undeclared = {name for name, method in changing(provider.cls).items() if not hasattr(method, "__effect_class__")}
    assert {name for name in undeclared if not name.startswith("_")} <= {"find"}


@pytest.mark.parametrize("provider", PROVIDERS, ids=named)
def test_a_provider_with_findable_effects_can_find_them(provider):
    classes = {getattr(method, "__effect_class__", None) for method in changing(provider.cls).values()}
    assert EffectClass.FINDABLE not in classes or hasattr(provider.cls, "find")


@pytest.mark.parametrize("provider", PROVIDERS, ids=named)
def test_a_provider_has_every_method_of_the_jobs_it_does(provider):
    wanted = {name for job in provider.serves for name in dir(CAPABILITIES[job]) if not name.startswith("_")}
    assert wanted - set(dir(provider.cls)) <= {"watch"}  # who cannot wake us is asked every few minutes


@pytest.mark.parametrize("action", CATALOGUE.actions.values(), ids=named)
def test_the_effect_class_of_an_action_is_its_own_or_that_of_a_method_of_its_capability(action):
    if action.capability is None:
        assert action.own_class is not None
    else:
        assert hasattr(CAPABILITIES[action.capability], action.method or "")


# --- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(RECORDS))
def test_a_stored_field_is_one_of_its_record(kind):
    stored = {name for name, field in FIELDS[kind].items() if not field.derived}
    assert stored - {field.name for field in fields(RECORDS[kind])} == set()


@pytest.mark.parametrize("kind", sorted(RECORDS))
def test_a_derived_field_is_computed_when_it_is_read(kind):
    derived = {(RECORDS[kind], name) for name, field in FIELDS[kind].items() if field.derived}
    assert derived - set(lookups._DERIVED) == set()


def test_nothing_is_computed_that_no_workflow_may_name():
    kinds = {record: kind for kind, record in RECORDS.items()}
    assert [name for record, name in lookups._DERIVED if name not in FIELDS[kinds[record]]] == []
    assert kinds[Event] == "event"


# --- words -----------------------------------------------------------------------------------------------------------


def modules_of(package):
    return [name for _, name, _ in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")]


PUBLIC = ["engine.plugins", "engine.capabilities", "engine.problems", "actions", "triggers"]


@pytest.mark.parametrize("name", [*PUBLIC, *modules_of("actions"), *modules_of("triggers")])
def test_a_module_that_plugin_authors_read_says_what_it_is(name):
    assert inspect.getdoc(importlib.import_module(name))


@pytest.mark.parametrize("name", [*PUBLIC, *modules_of("actions"), *modules_of("triggers")])
def test_what_is_public_in_it_says_what_it_is(name):
    module = importlib.import_module(name)
    functions = (getattr(value, "function", None) or getattr(value, "matches", None) for value in vars(module).values())
    public = [
        value for value in (*vars(module).values(), *functions) if inspect.isclass(value) or inspect.isfunction(value)
    ]
    own = [value for value in public if value.__module__ == name and not value.__name__.startswith("_")]
    assert [value.__qualname__ for value in own if not value.__doc__] == []


def test_the_built_in_ones_are_written_out_and_nothing_else_is_declared():
    everything = {id(item) for item in (*actions.ALL, *triggers.ALL)}
    for name in (*modules_of("actions"), *modules_of("triggers")):
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, wiring._KINDS):
                assert id(value) in everything, f"{value.name} of {name} is in no ALL"
