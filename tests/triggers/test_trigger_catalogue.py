"""Every built-in trigger and source: it is listed, documented, and its example is what it accepts."""

import inspect
import re
import textwrap

import pytest
import yaml

import triggers
from engine.plugins import Catalogue, Source, Trigger

CATALOGUE = Catalogue.collect(("built in", item) for item in triggers.ALL)
#: LANGUAGE, section 6.
IN_THE_LANGUAGE = {
    "incident.declared",
    "incident.acknowledged",
    "incident.mitigated",
    "incident.resolved",
    "incident.reopened",
    "incident.updated",
    "incident.quiet",
    "incident.marked",
    "alert.firing",
    "alert.resolved",
    "ticket.created",
    "ticket.updated",
    "ticket.commented",
    "ticket.closed",
    "ticket.reopened",
    "ticket.stale",
    "document.published",
    "review.declined",
    "review.scheduled",
    "on_call.changed",
    "schedule",
    "webhook",
    "manual",
    "workflow.failed",
}


def examples(doc):
    for block in re.split(r"^Example:\n", doc, flags=re.MULTILINE)[1:]:
        yield yaml.safe_load(textwrap.dedent(block))


def test_the_triggers_are_those_of_the_language():
    assert set(CATALOGUE.triggers) == IN_THE_LANGUAGE


@pytest.mark.parametrize("trigger", CATALOGUE.triggers.values(), ids=lambda trigger: trigger.name)
def test_the_example_of_a_trigger_names_it_and_is_accepted(trigger: Trigger):
    (example,) = examples(trigger.doc)
    (inputs,) = [example[True][trigger.name]]  # YAML 1.1 reads `on` as true
    trigger.params.model_validate(inputs or {})


@pytest.mark.parametrize("source", CATALOGUE.sources.values(), ids=lambda source: source.name)
def test_the_example_of_a_source_names_it_and_is_accepted(source: Source):
    found = list(examples(inspect.getdoc(source.options)))
    assert found
    for example in found:
        ((_, options),) = example.items()
        assert options.pop("provider") == source.name
        own = {name: value for name, value in options.items() if name in source.options.model_fields}
        assert own  # the others are the provider's of the same name: test_catalogue.py reads the whole
        options = {name: "c2VjcmV0" if str(value).startswith("${") else value for name, value in own.items()}
        source.options.model_validate(options)


@pytest.mark.parametrize("trigger", CATALOGUE.triggers.values(), ids=lambda trigger: trigger.name)
def test_every_input_is_described_and_unknown_ones_are_refused(trigger: Trigger):
    assert trigger.params.model_config["extra"] == "forbid"
    assert all(field.description for field in trigger.params.model_fields.values())


@pytest.mark.parametrize("trigger", CATALOGUE.triggers.values(), ids=lambda trigger: trigger.name)
def test_the_schema_of_every_trigger_can_be_written(trigger: Trigger):
    assert trigger.params.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize("source", CATALOGUE.sources.values(), ids=lambda source: source.name)
def test_no_header_that_is_stored_holds_a_credential(source: Source):
    assert not {name for name in source.headers if "signature" in name or "auth" in name or name == "cookie"}
