"""The workflow files of a project: which are loaded, in which version, and what is wrong with the others.

A file with problems is reported and the others load; its earlier good version stays. Versions are kept by the hash of
their text and the templates they name, so that a run finishes on the version it started with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.problems import Problem, declare, sort
from engine.workflow.model import Workflow
from engine.workflow.source import SourceFile, read_file, read_source
from engine.workflow.templates import MOST_SOURCE

#: Text of a workflow file, its templates, and whether it is a version that runs finish on → the workflow, or what is
#: wrong with it.
Compile = Callable[[SourceFile, Mapping[str, str], bool], tuple[Workflow | None, list[Problem]]]

NAME_GIVEN_UP = declare(
    "name-given-up",
    "A file has the name that another workflow gave up by `moved_from`. What was done under that name is known to the "
    "database as the other's, so that a workflow of the name would do some of it again.",
    "Choose another name; or, to undo the renaming, write `moved_from` with the other's name into this file and delete "
    "the other.",
)


class UnreadableVersion(Exception):
    """A run's version of its workflow no longer compiles, because something that it names is gone."""


@dataclass(slots=True)
class WorkflowLibrary:
    """What is loaded. `compiler` is handed in: it gives the compiler for what is configured and in the folders now."""

    folder: Path
    templates: Path
    compiler: Callable[[], Compile]
    current: dict[str, Workflow] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _versions: dict[str, Workflow] = field(default_factory=dict)

    def load(self) -> list[Workflow]:
        """Read every file again; give the workflows that are new or changed."""
        templates, compile = read_templates(self.templates), self.compiler()
        found: dict[str, Workflow] = {}
        problems: list[Problem] = []
        for path in workflow_files(self.folder):
            file, reading = read_source(_shown(path, self.folder), read_file(path))
            workflow, checking = compile(file, templates, False)
            problems += reading + checking
            kept = self.current.get(path.stem) if workflow is None or _errors(reading + checking) else workflow
            if kept is not None:
                found[path.stem] = kept
        changed = [
            w for name, w in found.items() if name not in self.current or self.current[name].version != w.version
        ]
        self.current, self.problems = found, sort(problems)
        for workflow in changed:
            self._versions[workflow.version] = workflow
        return changed

    def leave_out(self, name: str, now: str) -> None:
        """Take a file out of what is loaded because its name was given up by the workflow that is called `now`."""
        span = self.current.pop(name).span
        message = f"the name '{name}' was given up: '{now}' was '{name}'"
        hint = f"choose another name; or write 'moved_from: {now}' here, and delete '{now}', to undo the renaming"
        self.problems = sort([*self.problems, Problem(NAME_GIVEN_UP, message, span, hint)])

    def version(self, hash: str, stored: Callable[[str], tuple[str, str, Mapping[str, str]]]) -> Workflow:
        """Give a version by its hash; `stored` gives id, text and templates of one that is not loaded.

        Raises:
            UnreadableVersion: it names something that is not there any more.
        """
        known = self._versions.get(hash)
        if known is None:
            name, text, templates = stored(hash)
            file, problems = read_source(f"{name}.yaml", text.encode())
            workflow, more = self.compiler()(file, templates, True)
            if workflow is None or _errors(problems + more):
                first = next(iter(_errors(problems + more)), None)
                raise UnreadableVersion(f"version {hash[:8]} of '{name}': {first.message if first else 'unreadable'}")
            known = self._versions[hash] = workflow
        return known


def workflow_files(folder: Path) -> list[Path]:
    """Give the workflow files of a folder by name; `*.test.yaml` beside them are tests."""
    if not folder.is_dir():
        return []
    paths = (path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
    return sorted(path for path in paths if not path.stem.endswith(".test") and not path.name.startswith("."))


def read_templates(folder: Path) -> dict[str, str]:
    """Give the templates of a folder: text by name without its ending; sub-folders are part of the name."""
    if not folder.is_dir():
        return {}
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).with_suffix("").as_posix(): _template(path) for path in paths}


def _template(path: Path) -> str:
    """Read a template; `compile_template` refuses one that is too long, or has signs that stand for no text."""
    return read_file(path, 4 * MOST_SOURCE).decode("utf-8", "replace")


def _shown(path: Path, folder: Path) -> str:
    return f"{folder.name}/{path.name}"


def _errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]
