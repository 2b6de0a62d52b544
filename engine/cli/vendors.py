"""What `hotwash init --with` writes for the systems that a team has already: connections, jobs, and what to fill in.

All of it follows from the catalogue: a connection is the example of its provider's options, with that of its source. So
a new provider can be asked for as soon as it is there. A name is a provider's, or the first word of several, as
`google` is of `google_calendar` and `google_docs`.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.capabilities import CAPABILITIES, DEFAULT_PROVIDERS
from engine.cli.exits import CommandError
from engine.plugins import Catalogue, Options
from engine.problems import did_you_mean

_LINE = re.compile(r"  (?P<key>[a-z_]+):(?P<value>.*)")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FILE = re.compile(r"\$\{file:([^{}/]+)\}")
#: Jobs that a provider takes on only where somebody asks for it: the people file is the better beginning.
_UNASKED = frozenset({"people"})


@dataclass(frozen=True, slots=True)
class Vendor:
    """A connection to write: its name, its provider, its lines below the name, and the jobs that it does."""

    name: str
    provider: str
    lines: tuple[str, ...]
    serves: tuple[str, ...]
    hears: bool  #: whether webhooks come in by it

    @property
    def variables(self) -> list[str]:
        """The environment variables that it names."""
        return list(dict.fromkeys(_VARIABLE.findall("\n".join(self.lines))))

    @property
    def files(self) -> list[str]:
        """The files with secrets that it names."""
        return list(dict.fromkeys(re.findall(r"\$\{file:([^{}]+)\}", "\n".join(self.lines))))


def vendors(catalogue: Catalogue, names: Iterable[str]) -> list[Vendor]:
    """Give what to write for the systems that are named.

    Raises:
        CommandError: one is not known; the text lists what there is.
    """
    offered = _offered(catalogue)
    chosen: list[str] = []
    for name in names:
        if name not in offered:
            hint = f"there are {', '.join(sorted(offered))}"
            near = did_you_mean(name, offered, "systems")
            raise CommandError(f"no system is called '{name}'", hint=near if near and "did you" in near else hint)
        chosen += [one for one in offered[name] if one not in chosen]
    found: list[Vendor] = []
    for provider in chosen:
        vendor = _vendor(catalogue, provider)
        taken = vendor.name in {one.name for one in found}
        found.append(vendor if not taken else _renamed(vendor, provider))
    return found


def _offered(catalogue: Catalogue) -> dict[str, list[str]]:
    """Give the providers that need an account, by each name that stands for them."""
    own = set(DEFAULT_PROVIDERS.values())
    names = sorted(name for name, one in catalogue.providers.items() if name not in own and one.rate is not None)
    offered = {name: [name] for name in names}
    for name in names:
        family = name.partition("_")[0]
        if family != name and family not in catalogue.providers:
            offered.setdefault(family, []).append(name)
    return offered


def _vendor(catalogue: Catalogue, provider: str) -> Vendor:
    declared, inbound = catalogue.providers[provider], catalogue.sources.get(provider)
    name, lines = _example(declared.options, provider)
    if inbound is not None:
        known = {line.partition(":")[0] for line in lines}
        lines += [line for line in _example(inbound.options, provider)[1] if line.partition(":")[0] not in known]
    serves = tuple(one for one in declared.serves if one not in _UNASKED)
    models = [declared.options, *([inbound.options] if inbound is not None else [])]
    needed = {name for model in models for name, field in model.model_fields.items() if field.is_required()}
    noted = tuple(_noted(line, needed) for line in lines)
    return Vendor(name, provider, noted, serves, inbound is not None)


def _example(options: type[Options], provider: str) -> tuple[str, list[str]]:
    """Give the connection in the example of some options: its name, and the lines below it, without `provider:`."""
    _, _, example = (inspect.getdoc(options) or "").partition("Example:\n")
    name, *rest = textwrap.dedent(example).splitlines() or [f"{provider}:"]
    lines = [f"{found['key']}:{found['value']}" for line in rest if (found := _LINE.fullmatch(line)) is not None]
    return name.rstrip(":"), [line for line in lines if not line.startswith("provider:")]


def _noted(line: str, needed: set[str]) -> str:
    """Keep secrets in the folder that nobody else reads, and say what is only an example, and what may be left out."""
    line = _FILE.sub(r"${file:.hotwash/secrets/\1}", line)
    if "${" not in line:
        return f"{line}  # yours"
    return line if line.partition(":")[0] in needed else f"{line}  # if you have none, take the line out"


def _renamed(vendor: Vendor, name: str) -> Vendor:
    return Vendor(name, vendor.provider, vendor.lines, vendor.serves, vendor.hears)


def connections(found: Sequence[Vendor]) -> Iterator[str]:
    """Yield the lines under `connections:`."""
    for one in found:
        yield f"  {one.name}:"
        yield f"    provider: {one.provider}"
        yield from (f"    {line}" for line in one.lines)


def jobs(found: Sequence[Vendor]) -> dict[str, str]:
    """Give the connection that does each job, where one of these does."""
    done = {job: one.name for one in reversed(found) for job in one.serves}
    return {job: done[job] for job in CAPABILITIES if job in done}


def environment(found: Sequence[Vendor]) -> str:
    """Give a file for the variables that are to be filled in."""
    lines = ["# What hotwash.yaml names as ${NAME}; what the environment says counts before this.", ""]
    for one in found:
        if one.variables:
            lines += [f"# {one.name}: docs/integrations/{one.provider.partition('_')[0]}.md says where they are from"]
            lines += [f"{name}=" for name in one.variables]
            lines.append("")
    return "\n".join(lines)
