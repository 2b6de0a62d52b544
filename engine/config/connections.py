"""`connections:` and `use:`: which vendors the project talks to, and which of them does which job."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from engine.capabilities import CAPABILITIES, DEFAULT_PROVIDERS
from engine.config.rates import Rate, parse_rate
from engine.config.reader import (
    BAD_SETTING,
    MISSING_CREDENTIAL,
    MISSING_SETTING,
    UNKNOWN_SETTING,
    Reader,
    Unresolved,
)
from engine.plugins import OURSELVES, Catalogue, Options, Secret
from engine.problems import Span, declare, did_you_mean, nearest
from engine.workflow import source
from engine.workflow.source import Entry, Node, Scalar

UNKNOWN_PROVIDER = declare(
    "unknown-provider",
    "A connection's `provider:` names none that is built in or comes from a plugin.",
    "Write one of `hotwash list providers`, or install the plugin that brings it.",
)
LITERAL_SECRET = declare(
    "literal-secret",
    "A credential stands in hotwash.yaml itself, where everybody who reads the file sees it.",
    "Write it as ${NAME}, from the environment, or ${file:PATH}, from a file that only the engine can read.",
)
NAME_TAKEN = declare(
    "connection-name",
    "A connection has a name that stands for something else: for the engine itself, or for a provider that needs no "
    "account and is a connection of its own name.",
    "Give the connection another name.",
)
UNKNOWN_CAPABILITY = declare(
    "unknown-capability",
    "`use:` says which connection does a job, and this is none of the jobs.",
    "Write one of the jobs that the hint names.",
)
USED_UNKNOWN = declare(
    "use-unknown", "`use:` names a connection that is not configured.", "Configure it under `connections:`."
)
USED_CANNOT = declare(
    "use-cannot-serve",
    "`use:` names a connection whose provider does not do that job.",
    "Name a connection that does; `hotwash list providers` says what each provider serves.",
)


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """One connection as configured. A disabled one has no options."""

    name: str
    provider: str  #: name of the provider, of the source, or of both
    options: Options | None = None  #: the provider's; None where there is only a source
    source_options: Options | None = None  #: the source's, where webhooks can come in
    disabled: str | None = None  #: why it is off: which credential is missing
    rate: Rate | None = None  #: how often it may be called; None is as often as it is needed
    span: Span | None = None  #: its key in hotwash.yaml; None for one that is there by default

    @property
    def by_default(self) -> bool:
        """Whether it is a provider that needs no account and that hotwash.yaml does not mention."""
        return self.span is None


def read_use(reader: Reader, entry: Entry | None) -> dict[str, Scalar]:
    """Give the connection's name, as written, by capability; what `use:` leaves out is left out."""
    wanted: dict[str, Scalar] = {}
    for capability, line in reader.mapping(entry).items():
        if capability not in CAPABILITIES:
            reader.unknown(UNKNOWN_CAPABILITY, "no job is called", line.key, CAPABILITIES, "jobs")
        elif isinstance(line.value, Scalar) and isinstance(line.value.value, str):
            wanted[capability] = line.value
        else:
            message = f"'{capability}' must be the name of a connection, not {reader.kind(line.value)}"
            reader.add(BAD_SETTING, message, line.value)
    return wanted


def read_connections(
    reader: Reader, entry: Entry | None, catalogue: Catalogue, wanted: Mapping[str, Scalar]
) -> dict[str, ConnectionConfig]:
    """Give every connection that can be told, and the account-free providers as connections of their own names."""
    used = {node.text for node in wanted.values()}
    lines = reader.named(entry, "a connection")
    read = {name: _Connection(reader, line, catalogue, used=name in used).read() for name, line in lines.items()}
    connections = {name: found for name, found in read.items() if found is not None}
    for name in dict.fromkeys(DEFAULT_PROVIDERS.values()):
        declared = catalogue.providers.get(name)
        if declared is not None and name not in lines:
            connections[name] = ConnectionConfig(name, name, declared.options())
    return connections


def assign(
    reader: Reader,
    entry: Entry | None,
    wanted: Mapping[str, Scalar],
    connections: Mapping[str, ConnectionConfig],
    catalogue: Catalogue,
) -> dict[str, str]:
    """Give the connection's name for every capability: the one wanted, else the provider that needs no account."""
    configured = entry.value.keys() if entry and isinstance(entry.value, source.Mapping) else ()
    use: dict[str, str] = {}
    for capability in CAPABILITIES:
        node = wanted.get(capability)
        name = DEFAULT_PROVIDERS.get(capability, "") if node is None else node.text
        if name in connections and (node is None or capability in _served(connections[name], catalogue)):
            use[capability] = name
        elif node is not None and name in connections:
            able = [one.name for one in connections.values() if capability in _served(one, catalogue)]
            message = f"connection '{name}' ({connections[name].provider}) does not do '{capability}'"
            reader.add(USED_CANNOT, message, node, f"these do: {', '.join(sorted(able))}" if able else None)
        elif node is not None and name not in configured:  # one that is wrong has been reported
            is_provider = name in catalogue.providers
            hint = f"'{name}' is a provider: configure it under 'connections:'" if is_provider else None
            hint = hint or did_you_mean(name, connections, "connections")
            reader.add(USED_UNKNOWN, f"no connection is called '{name}'", node, hint)
    return use


def _served(connection: ConnectionConfig, catalogue: Catalogue) -> tuple[str, ...]:
    declared = catalogue.providers.get(connection.provider)
    return declared.serves if declared else ()


class _Connection:
    """Reads one entry of `connections:`."""

    def __init__(self, reader: Reader, entry: Entry, catalogue: Catalogue, *, used: bool) -> None:
        self.reader = reader
        self.entry = entry
        self.name = entry.key.text
        self.catalogue = catalogue
        self.used = used
        self.errors = 0
        self.hidden: set[str] = set()  #: values that no message may show
        self.told: set[str] = set()  #: keys whose mistakes have been reported
        self.absent: dict[str, str] = {}  #: secrets that are left out, with the hint for each

    def read(self) -> ConnectionConfig | None:
        """Give the connection; None where it is wrong, which is reported."""
        before = len(self.reader.problems)
        lines = self.reader.entries(self.entry.value, f"connection '{self.name}'")
        if len(self.reader.problems) > before:
            return None
        provider_name = self._provider_name(lines.pop("provider", None))
        if provider_name is None or self._name_is_taken(provider_name):
            return None
        provider = self.catalogue.providers.get(provider_name)
        inbound = self.catalogue.sources.get(provider_name)
        models = [declared.options for declared in (provider, inbound) if declared is not None]
        limited = provider is not None and "rate" not in _keys(provider.options)
        rate = self._rate(lines) if limited else None
        if rate is None and provider is not None and provider.rate is not None:
            rate = parse_rate(provider.rate)
        self._check_keys(lines, models, ("rate", "burst") if limited else ())
        unresolved: dict[str, list[Unresolved]] = {name: [] for name in lines}
        values = {name: self._value(line, unresolved[name]) for name, line in lines.items()}
        missing = {name: found for name, found in unresolved.items() if found}
        for name, line in lines.items():
            self._note_secrets(name, line, values[name], models)
        built = [self._options(model, values, lines, missing) for model in models]
        if self.errors:
            return None
        if missing or None in built:
            return self._without_credentials(provider_name, missing, inbound is not None and not self.used)
        return ConnectionConfig(
            self.name,
            provider_name,
            built[0] if provider else None,
            built[-1] if inbound else None,
            rate=rate,
            span=self.entry.key.span,
        )

    def _problem(self, code: str, message: str, at: Span | Node, hint: str | None = None) -> None:
        self.errors += 1
        self.reader.add(code, self._safe(message), at, hint)

    def _safe(self, message: str) -> str:
        for value in sorted(self.hidden, key=len, reverse=True):
            message = message.replace(value, "***")
        return message

    def _provider_name(self, line: Entry | None) -> str | None:
        known = {**self.catalogue.providers, **self.catalogue.sources}
        if line is None:
            if self.name in known:
                return self.name
            message = f"connection '{self.name}' does not say its provider"
            hint = f"add 'provider:' with one of: {', '.join(sorted(known))}"
            self._problem(MISSING_SETTING, message, self.entry.key, hint)
            return None
        name = self.reader.text(line)
        if name is None or name in known:
            return name
        if isinstance(line.value, Scalar):
            self.reader.unknown(UNKNOWN_PROVIDER, "no provider is called", line.value, known, "providers")
        return None

    def _name_is_taken(self, provider_name: str) -> bool:
        if self.name == OURSELVES:
            message = f"'{OURSELVES}' is what the engine calls itself in events"
        elif self.name in DEFAULT_PROVIDERS.values() and provider_name != self.name:
            message = f"'{self.name}' is the connection of the provider '{self.name}', not one of '{provider_name}'"
        else:
            return False
        self._problem(NAME_TAKEN, message, self.entry.key, "call the connection something else")
        return True

    def _rate(self, lines: dict[str, Entry]) -> Rate | None:
        """Take how often it may be called out of its keys; what is wrong with them is reported."""
        before = len(self.reader.problems)
        rate, burst = lines.pop("rate", None), lines.pop("burst", None)
        at_once = self.reader.integer(burst, 1, 100_000)
        found: Rate | None = None
        if rate is not None:
            value = self.reader.value(rate.value) if isinstance(rate.value, Scalar) else None
            try:
                found = parse_rate(str(value), at_once)
            except ValueError as error:
                self.reader.add(BAD_SETTING, f"'rate' {error}, not {self.reader.kind(rate.value)}", rate.value)
        elif at_once is not None and burst is not None:
            message = f"'burst' of connection '{self.name}' needs a 'rate' beside it"
            self.reader.add(MISSING_SETTING, message, burst.key, "add 'rate:', such as 'rate: 50/min'")
        self.errors += len(self.reader.problems) - before
        return found

    # --- options -----------------------------------------------------------------------------------------------------

    def _check_keys(self, lines: dict[str, Entry], models: list[type[Options]], more: Iterable[str]) -> None:
        known = {*more, *(key for model in models for key in _keys(model))}
        if any(model.model_config.get("extra") == "allow" for model in models):
            return
        for name in [name for name in lines if name not in known]:
            self.errors += 1
            message = f"connection '{self.name}' has no key"
            self.reader.unknown(UNKNOWN_SETTING, message, lines[name].key, {*known, "provider"}, "keys")
            del lines[name]
            near = nearest(name, known)
            if near is not None and near not in lines:  # then its absence is one mistake with this
                self.told.add(near)

    def _value(self, line: Entry, unresolved: list[Unresolved]) -> Any:
        before = len(self.reader.problems)
        value = self.reader.value(line.value, unresolved)
        if len(self.reader.problems) > before:
            self.errors += 1
            self.told.add(line.key.text)
        return value

    def _note_secrets(self, name: str, line: Entry, value: Any, models: list[type[Options]]) -> None:
        """Remember what must not be shown, and warn of a secret that stands in the file."""
        secret = any(is_secret(_keys(model).get(name)) for model in models)
        for node, text in _texts(line.value, value):
            if secret or "${" in node.text:
                self.hidden.add(text)
            if secret and "${" not in node.text:
                message = f"'{name}' of connection '{self.name}' stands in the file for everybody to read"
                self.reader.add(LITERAL_SECRET, message, node, "write it as ${NAME} or ${file:PATH}", "warning")
        self.hidden.discard("")

    def _options(
        self,
        model: type[Options],
        values: Mapping[str, Any],
        lines: Mapping[str, Entry],
        missing: Mapping[str, Any],
    ) -> Options | None:
        """Give the options; None where a credential is missing or something is wrong, which is reported."""
        takes_all = model.model_config.get("extra") == "allow"
        mine = {name: value for name, value in values.items() if takes_all or name in _keys(model)}
        try:
            return model.model_validate(mine)
        except ValidationError as error:
            reported: set[Span] = set()
            for found in error.errors(include_url=False):
                first = str(found["loc"][0]) if found["loc"] else ""
                if first in missing or first in self.told:
                    continue
                if found["type"] == "missing" and len(found["loc"]) == 1 and is_secret(_keys(model)[first]):
                    hint = f"add '{first}: ${{NAME}}' or '{first}: ${{file:PATH}}'"
                    self.absent.setdefault(first, hint)
                    continue
                node, within = self._place(found["loc"], lines)
                if node.span not in reported:
                    reported.add(node.span)
                    self._wrong_option(dict(found), node, within)
        return None

    def _place(self, loc: tuple[int | str, ...], lines: Mapping[str, Entry]) -> tuple[Node, str]:
        """Find the node that an error is about, as deep as the path leads, and what messages call it."""
        line = lines.get(str(loc[0])) if loc else None
        if line is None:
            return self.entry.key, self.name
        node, name = line.value, line.key.text
        for part in loc[1:]:
            if isinstance(node, source.Mapping) and (inner := node.get(str(part))) is not None:
                node, name = inner, str(part)
            elif isinstance(node, source.Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
        return node, name

    def _wrong_option(self, found: Mapping[str, Any], node: Node, name: str) -> None:
        last = str(found["loc"][-1]) if found["loc"] else self.name
        if found["type"] == "missing":
            where = f"connection '{self.name}'" if node is self.entry.key else f"'{name}' of connection '{self.name}'"
            self._problem(MISSING_SETTING, f"{where} needs '{last}'", node, f"add '{last}:'")
        elif found["type"] == "extra_forbidden" and isinstance(node, Scalar):
            self._problem(UNKNOWN_SETTING, f"connection '{self.name}' has no key '{last}' there", node)
        else:
            self._problem(BAD_SETTING, sentence(name, found), node)

    def _without_credentials(
        self, provider_name: str, missing: Mapping[str, list[Unresolved]], may_be_off: bool
    ) -> ConnectionConfig:
        """Report the credentials that are missing and give the connection as one that is off."""
        found = [(one.message, one.span, one.hint) for several in missing.values() for one in several]
        found += [(f"'{name}' is left out", self.entry.key.span, hint) for name, hint in self.absent.items()]
        for message, span, hint in found:
            state = f"connection '{self.name}' is off" if may_be_off else f"connection '{self.name}' cannot work"
            self.reader.add(MISSING_CREDENTIAL, f"{state}: {message}", span, hint, "warning" if may_be_off else "error")
        reason = "; ".join(message for message, _, _ in found)
        return ConnectionConfig(self.name, provider_name, disabled=reason, span=self.entry.key.span)


def _keys(model: type[Options]) -> dict[str, Any]:
    """Give the annotation of each option by the key that hotwash.yaml has for it."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def is_secret(annotation: Any) -> bool:
    """Whether the values of an option are secret."""
    return annotation is Secret or any(is_secret(argument) for argument in get_args(annotation))


def secrets_of(connections: Iterable[ConnectionConfig]) -> set[str]:
    """Give every text that is secret in the options of connections."""
    models = [model for one in connections for model in (one.options, one.source_options) if model is not None]
    return {
        text
        for model in models
        for name, field in type(model).model_fields.items()
        if is_secret(field.annotation)
        for text in _secret_texts(getattr(model, name))
    }


def _secret_texts(value: Any) -> Iterable[str]:
    match value:
        case str():
            yield value
            yield from _keys_in(value)
        case Mapping():
            yield from (text for item in value.values() for text in _secret_texts(item))
        case list() | tuple():
            yield from (text for item in value for text in _secret_texts(item))


def _keys_in(text: str) -> Iterable[str]:
    """Yield what is secret in credentials that are JSON: tokens, secrets, and each line of a private key."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError:
        return
    for name, value in (found or {}).items():
        if isinstance(value, str) and re.search("key|secret|token", name) and not value.startswith("http"):
            yield value
            yield from (line for line in value.splitlines() if "-----" not in line)


def _texts(node: Node, value: Any) -> Iterable[tuple[Scalar, str]]:
    """Give each scalar in a node with its value as text; nulls and values that are missing are left out."""
    match node:
        case Scalar():
            if value is not None:
                yield node, str(value)
        case source.Mapping():
            for entry in node.entries:
                yield from _texts(entry.value, value[entry.key.text])
        case source.Sequence():
            for item, one in zip(node.items, value, strict=True):
                yield from _texts(item, one)


_KINDS = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a mapping of keys to values",
    "mapping": "a mapping of keys to values",
    "model": "a mapping of keys to values",
}


def sentence(name: str, found: Mapping[str, Any]) -> str:
    """Put pydantic's finding into words; values are left out, since they may be secrets."""
    wanted = _KINDS.get(str(found["type"]).partition("_")[0])
    if wanted and str(found["type"]).endswith(("_type", "_parsing", "_from_float")):
        return f"'{name}' must be {wanted}"
    text = str(found.get("ctx", {}).get("error") or found["msg"])
    if text.startswith(f"'{name}' "):  # a validator that names its key itself
        return text
    text = re.sub(r"^(Input|Value|String|List) should (be|have|match)", r"must \2", text)
    if text.startswith("must "):
        return f"'{name}' {text}"
    return f"'{name}': {text[:1].lower()}{text[1:]}"
