"""`moved_from:`: which name a file had before."""

from __future__ import annotations

from engine.problems import declare
from engine.workflow.check_base import BAD_VALUE, Report
from engine.workflow.source import Mapping as MappingNode
from engine.workflow.source import Node, Scalar, SourceFile

MOVED_FROM = declare(
    "moved-from",
    "`moved_from` names the file that this one was before it was renamed: one that is not there any more, and that no "
    "other file claims to be.",
    "Write the former name without its ending, or take the key out.",
)


def read(report: Report, node: Node | None, own: str) -> str | None:
    """Read the former name of the file called `own`."""
    name = report.text(node, "moved_from")
    if name is None or not isinstance(node, Scalar):
        return None
    if report.names.moved is None:  # it was looked at when the file was read first
        return name
    claims = [one for one in report.names.moved.get(name, ()) if one != own]
    if name.endswith((".yaml", ".yml")):
        report.add(
            BAD_VALUE, "'moved_from' takes a name without its ending", node, f"write '{name.rpartition('.')[0]}'"
        )
    elif name == own:
        report.add(MOVED_FROM, f"'{name}' is the file's own name", node, "write the name that it had before")
    elif name in report.names.workflows:
        message = f"the file '{name}' is still there, and keeps what is its own"
        report.add(MOVED_FROM, message, node, "delete it, or take 'moved_from' out")
    elif claims:
        message = f"'{claims[0]}' says as well that it was '{name}' before"
        report.add(MOVED_FROM, message, node, "only one of them can take over from it")
    else:
        return name
    return None


def former_name(file: SourceFile) -> str | None:
    """Give what a file says that it was called before, whatever else is in it."""
    node = file.root.get("moved_from") if isinstance(file.root, MappingNode) else None
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None
