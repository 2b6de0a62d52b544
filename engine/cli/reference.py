"""`python -m engine.cli.reference`: the reference of everything that is built in, as Markdown.

`docs/reference.md` is what this prints; `make reference` writes it, and a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.cli.listing import connection_of, effect_class_of

if TYPE_CHECKING:
    from engine.domain import Field
    from engine.plugins import Action, Catalogue, Provider, Source, Trigger
    from engine.problems import Code

_HEAD = """\
# Reference

Everything that is built in. This page is printed by the program itself (`make reference`): do not edit it.
`hotwash list` and `hotwash explain NAME` say the same of your own project, its plugins included.

[Actions](#actions) · [Triggers](#triggers) · [Connections](#connections) · [Fields](#fields) · \
[Problem codes](#problem-codes)
"""
_CLASSES = """\
*Repeating* says whether an effect may be done again after a crash or a time-out, as the connection in use declares it:
`native` the service knows our id, `findable` we look before we make it again, `idempotent` it ends at the same value,
`own_rows` it is only rows in our own database and is committed with its result, `read` it changes nothing,
`at_most_once` it is never done twice unless a person, or the step's `on_unknown: repeat`, says so.
"""
_RATES = """\
Beside a connection's own keys may stand how often it is called:

```yaml
connections:
  deploys:
    provider: http
    base_url: https://deploys.example.com/api
    rate: 50/min
    burst: 10
```

`rate` is calls in a `s`, `min`, `h` or `d`; `burst` says how many of them may come at once, by default a tenth of
them and at least one. In any time there are at most `burst` calls and those that the rate gives in that time,
restarts included. Each effect, each look whether one is there, each reading of a subject, each look-up and each
question what changed is one call, also where a provider needs several requests for it. What has to wait is held until
its turn, oldest first. After an answer 429 with `Retry-After` nobody calls the connection for that time. Without
`rate` a connection is called as often as it is needed. Effects that are only rows in our own database are no calls.
"""


def reference(catalogue: Catalogue, codes: Mapping[str, Code]) -> str:
    """Give the whole page for what is in the catalogue, with the effect classes of the account-free connections."""
    from engine.domain import FIELDS

    parts = [
        _HEAD,
        "## Actions\n",
        _CLASSES,
        *(_action(catalogue.actions[name], catalogue) for name in sorted(catalogue.actions)),
        "## Triggers\n",
        *(_trigger(catalogue.triggers[name]) for name in sorted(catalogue.triggers)),
        "## Connections\n",
        _RATES,
        *(_connection(name, catalogue) for name in sorted({*catalogue.providers, *catalogue.sources})),
        "## Fields\n",
        "What an expression may read after a dot. What is unknown is null.\n",
        *(_record(kind, FIELDS[kind]) for kind in FIELDS),
        "## Problem codes\n",
        *(f"### `{name}`\n\n{codes[name].meaning} {codes[name].remedy}\n" for name in sorted(codes)),
    ]
    return "\n".join(parts)


def _action(action: Action, catalogue: Catalogue) -> str:
    facts = [
        f"Done by: {_code(connection_of(action, None)) or 'the engine itself'}",
        f"repeating: {_code(effect_class_of(action, catalogue, None))}",
        "a later round of the same run keeps it" if action.lasts else "a later round of the same run does it again",
    ]
    return _join(
        f"### `{action.name}`\n",
        _doc(action.doc),
        _inputs("Input", action.params),
        _outputs(action),
        "; ".join(facts) + ".\n",
    )


def _outputs(action: Action) -> str:
    """Give an action's outputs; of one that gives a record, where its fields are listed."""
    from engine.domain import FIELDS, kind_of

    kind = kind_of(action.returns)
    if kind in FIELDS:
        return f"Outputs: the fields of {_article(kind.replace('_', ' '))} ([{kind}](#{kind.replace('_', '-')})).\n"
    return _fields("Output", action.outputs)


def _trigger(trigger: Trigger) -> str:
    facts = [f"About: {_article(trigger.subject)}" if trigger.subject else "About nothing in particular"]
    facts += [f"`for` is left by {', '.join(map(_code, trigger.left_by))}"] if trigger.left_by else []
    return _join(
        f"### `{trigger.name}`\n",
        _doc(trigger.doc),
        _inputs("Input", trigger.params),
        _fields("`event.data`", trigger.data),
        "; ".join(facts) + ".\n",
    )


def _connection(name: str, catalogue: Catalogue) -> str:
    provider, source = catalogue.providers.get(name), catalogue.sources.get(name)
    return _join(f"### `{name}`\n", *_provider(provider), *_source(source))


def _provider(provider: Provider | None) -> Iterator[str]:
    if provider is not None:
        yield _doc(provider.doc)
        if provider.serves:
            yield f"Serves: {', '.join(map(_code, provider.serves))}.\n"
        yield _example(provider.options)
        yield _inputs("Option", provider.options)
        classes = _effect_classes(provider)
        yield _table(("Effect", "Repeating"), ((_code(name), _code(kind)) for name, kind in classes))


def _effect_classes(provider: Provider) -> list[tuple[str, str]]:
    methods = ((name, getattr(provider.cls, name)) for name in sorted(dir(provider.cls)) if not name.startswith("_"))
    return [(name, str(method.__effect_class__)) for name, method in methods if hasattr(method, "__effect_class__")]


def _source(source: Source | None) -> Iterator[str]:
    if source is not None:
        yield f"Webhooks come to `/hooks/NAME`, by the connection's name. {_doc(source.doc)}"
        yield _example(source.options)
        yield _inputs("Option for webhooks", source.options)


def _record(kind: str, fields: Mapping[str, Field]) -> str:
    return _join(f"### {kind.replace('_', ' ')}\n", _fields("Field", fields))


# --- pieces ----------------------------------------------------------------------------------------------------------


def _join(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


_EXAMPLE = re.compile(r"\n?^Example:\n((?:[ ]+.*(?:\n|\Z)|\n)+)", re.MULTILINE)


def _doc(doc: str) -> str:
    """Give a docstring as Markdown: its examples as YAML."""
    return _EXAMPLE.sub(lambda found: f"\n{_yaml(found[1])}", doc.rstrip() + "\n")


def _example(options: type[Any]) -> str:
    """Give the examples of a connection's options, and nothing else of their docstring."""
    import inspect

    return "\n".join(
        _yaml(f"    connections:\n{_deeper(one)}") for one in _EXAMPLE.findall(inspect.getdoc(options) or "")
    )


def _deeper(text: str) -> str:
    return "".join(f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True))


def _yaml(text: str) -> str:
    lines = [line.removeprefix("    ") for line in text.strip("\n").splitlines()]
    return "```yaml\n" + "\n".join(lines) + "\n```\n"


def _inputs(heading: str, model: type[Any]) -> str:
    from engine.cli.explain import input_rows

    rows = ((_code(name), kind, _need(need), what) for name, kind, need, what in input_rows(model))
    return _table((heading, "Type", "Default", "What"), rows)


def _need(need: str) -> str:
    return need if need in ("", "required") else _code(need)


def _fields(heading: str, fields: Mapping[str, Field]) -> str:
    return _table((heading, "Kind", "What"), ((_code(name), field.kind, field.doc) for name, field in fields.items()))


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading), *lines]) + "\n"


def page() -> str:
    """Give the page as it stands in `docs/`: without the plugins that happen to be installed."""
    from engine import wiring
    from engine.cli.explain import known_codes
    from engine.plugins import Catalogue

    found = wiring.catalogue()
    tables = (found.actions, found.triggers, found.providers, found.sources)
    declared = (item for table in tables for item in table.values() if item.plugin == "built in")
    return reference(Catalogue.collect(("built in", item) for item in declared), known_codes())


if __name__ == "__main__":
    print(page(), end="")
