"""`connection:` as an expression: every value that can reach it is followed to where it comes from.

It may be made of constants (its own, the file's `vars`, those of hotwash.yaml and of teams) and of inputs of the types
`connection` and `choice`. What is asked of a vendor or read of a subject could be anything, and is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.plugins import Action
from engine.problems import did_you_mean
from engine.workflow.check_base import BAD_VALUE, CANNOT_SERVE, UNKNOWN_CONNECTION, Report
from engine.workflow.check_expressions import Expressions, Known
from engine.workflow.expressions import Expression, Text, dotted
from engine.workflow.model import Input, Tree
from engine.workflow.source import Scalar
from engine.workflow.syntax import CONSTANTS

#: Inputs of these types are names, all of which are known but those that somebody gives.
_NAMING = ("connection", "choice")


@dataclass(frozen=True, slots=True)
class Value:
    """A value that may be the connection, and where it comes from, as the end of a sentence."""

    value: Any
    origin: str


class Unfollowed(Exception):
    """A part of the expression, which is given, has values that are not known before there is a run."""


@dataclass(slots=True)
class Connections:
    """Reads the connections of one file's steps."""

    report: Report
    expressions: Expressions
    inputs: Mapping[str, Input]
    variables: Mapping[str, Tree]  #: the file's own

    def read(self, node: Scalar, action: Action | None, known: Known) -> tuple[str | None, Expression | None]:
        """Give the name that is written there, or the expression that gives one."""
        if "${{" not in node.text:
            return self._name(node, action), None
        text = self.expressions.text(node, "connection", known, whole_may_be_anything=True)
        if text is not None and text.whole is None:
            self.report.add(BAD_VALUE, "'connection' must be one expression, and this has text beside it", node)
        elif text is not None and text.whole is not None and action is not None:
            self._follow(text.whole, node, action)
        return None, text.whole if text is not None else None

    def _name(self, node: Scalar, action: Action | None) -> str | None:
        names = self.report.names.connections
        known = self.report.known(
            UNKNOWN_CONNECTION, node.text, node, names, f"no connection is called '{node.text}'", "connections"
        )
        if known and action is not None and action.capability not in names[node.text]:
            what = f"connection '{node.text}' does not serve '{action.capability}', which '{action.name}' needs"
            self.report.add(CANNOT_SERVE, what, node, self._able(action))
        return node.text if known else None

    def _able(self, action: Action) -> str | None:
        names = self.report.names.connections
        able = sorted(name for name, jobs in names.items() if action.capability in jobs)
        return f"connections that do: {', '.join(able)}" if able else None

    # --- every value -------------------------------------------------------------------------------------------------

    def _follow(self, expression: Expression, node: Scalar, action: Action) -> None:
        try:
            found = {(repr(one.value), one.origin): one for one in self._of(expression.tree, expression, ())}
        except Unfollowed as part:
            message = f"'connection' takes constants and inputs of type connection or choice, and '{part}' is neither"
            self.report.add(BAD_VALUE, message, node, "put the names into 'vars', of hotwash.yaml or of the teams")
            return
        for one in found.values():
            self._check(one, node, action)

    def _check(self, one: Value, node: Scalar, action: Action) -> None:
        names = self.report.names.connections
        if not isinstance(one.value, str):
            shown = "null" if one.value is None else repr(one.value)
            self.report.add(BAD_VALUE, f"'connection' may be {shown}, from {one.origin}: that is no name", node)
        elif one.value not in names:
            message = f"no connection is called '{one.value}', from {one.origin}"
            self.report.add(UNKNOWN_CONNECTION, message, node, did_you_mean(one.value, names, "connections"))
        elif action.capability not in names[one.value]:
            does = f"does not serve '{action.capability}', which '{action.name}' needs"
            message = f"connection '{one.value}', from {one.origin}, {does}"
            self.report.add(CANNOT_SERVE, message, node, self._able(action))

    def _of(self, node: ast.expr, within: Expression, seen: tuple[str, ...]) -> Iterator[Value]:
        """Give the values that an expression may have."""
        match node:
            case ast.Constant():
                yield Value(node.value, "this expression")
            case ast.Name() if node.id in CONSTANTS:
                yield Value(CONSTANTS[node.id], "this expression")
            case ast.BoolOp(op=ast.Or()):
                *first, last = node.values
                for part in first:
                    yield from self._filled(part, within, seen)
                yield from self._of(last, within, seen)
            case ast.IfExp():
                yield from self._of(node.body, within, seen)
                yield from self._of(node.orelse, within, seen)
            case ast.BinOp(op=ast.BitOr(), right=ast.Call(func=ast.Name(id="default"), args=[default])):
                yield from self._filled(node.left, within, seen)
                yield from self._of(default, within, seen)
            case ast.Attribute() | ast.Subscript():
                yield from self._read(node, within, seen)
            case _:
                raise Unfollowed(within.source.of(node))

    def _filled(self, node: ast.expr, within: Expression, seen: tuple[str, ...]) -> Iterator[Value]:
        """Give the values for which nothing else is taken."""
        return (one for one in self._of(node, within, seen) if one.value not in (None, False))

    def _read(self, node: ast.Attribute | ast.Subscript, within: Expression, seen: tuple[str, ...]) -> Iterator[Value]:
        path = (dotted(node) or "").split(".")
        match path:
            case ["inputs", name] if name in self.inputs and self.inputs[name].type in _NAMING:
                yield from self._of_input(self.inputs[name])
            case ["vars", name] if name not in seen:
                yield from self._of_var(name, (*seen, name))
            case _ if isinstance(node, ast.Attribute) and (team := _team_of(node)) is not None:
                yield from self._of_teams(node.attr, team)
            case [root, *rest] if root not in ("", "vars") or len(rest) == 1:
                raise Unfollowed(within.source.of(node))
            case _:
                yield from self._of_mapping(node, within, seen)

    def _of_mapping(
        self, node: ast.Attribute | ast.Subscript, within: Expression, seen: tuple[str, ...]
    ) -> Iterator[Value]:
        """Give what stands under a key in a mapping, or all of it where the key is known to a run only."""
        key = node.attr if isinstance(node, ast.Attribute) else node.slice
        for one in self._of(node.value, within, seen):
            if not isinstance(one.value, Mapping) or isinstance(key, ast.Slice):
                raise Unfollowed(within.source.of(node))
            name = key.value if isinstance(key, ast.Constant) else key
            values = {name: one.value.get(name)} if isinstance(name, str) else one.value
            yield from (Value(value, f"'{name}' of {one.origin}") for name, value in values.items())

    def _of_input(self, one: Input) -> Iterator[Value]:
        """Give what is known of an input; what somebody else gives is looked at when it is used."""
        yield from (Value(option, f"the options of the input '{one.name}'") for option in one.options)
        if one.default is not None:
            yield Value(one.default, f"the default of the input '{one.name}'")

    def _of_var(self, name: str, seen: tuple[str, ...]) -> Iterator[Value]:
        if name not in self.variables:
            yield from self._of_project(name)
        elif isinstance(tree := self.variables[name], Text):
            if tree.whole is None:
                raise Unfollowed(f"vars.{name}")
            yield from self._of(tree.whole.tree, tree.whole, seen)
        else:
            yield Value(tree, f"'{name}' under 'vars'")

    def _of_project(self, name: str) -> Iterator[Value]:
        known = self.report.names.vars
        if name in known:  # else it is reported where it is read
            yield Value(known[name], f"'{name}' under 'vars' of hotwash.yaml")

    def _of_teams(self, name: str, team: ast.expr) -> Iterator[Value]:
        """Give what a var may be in the team that an expression gives, which may be any."""
        every = self.report.names.team_vars
        meant = [one] if (one := _named(team)) in every else list(every)
        if any(name not in every[one] for one in meant) or not meant:
            yield from self._of_project(name)
        for one in meant:
            if name in every[one]:
                yield Value(every[one][name], f"'{name}' under 'vars' of team '{one}'")


def _team_of(node: ast.Attribute) -> ast.expr | None:
    """Give the expression of which a var is read: nothing but a team has a field `vars`."""
    owner = node.value
    return owner.value if isinstance(owner, ast.Attribute) and owner.attr == "vars" else None


def _named(team: ast.expr) -> Any:
    """Give the name in `team("sre")`."""
    match team:
        case ast.Call(func=ast.Name(id="team"), args=[ast.Constant(value=str() as name)]):
            return name
    return None
