"""A sheet of formulas over named figures. What is printed beside a value is the formula that gave it."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Number = int | float

_OPERATORS: dict[type[ast.operator], tuple[str, Callable[[Number, Number], Number]]] = {
    ast.Add: ("+", operator.add), ast.Sub: ("-", operator.sub), ast.Mult: ("×", operator.mul),
    ast.Div: ("/", operator.truediv),
}
_BINDS = {ast.Add: 1, ast.Sub: 1, ast.Mult: 2, ast.Div: 2}


def evenly(wanted: Number) -> int:
    """Partitions: the next of 6, 12, 24, 48, …, which many counts of workers divide."""
    found = 6
    while found < wanted:
        found *= 2
    return found


_FUNCTIONS: dict[str, Callable[..., Number]] = {"ceil": math.ceil, "max": max, "min": min, "evenly": evenly}


@dataclass(frozen=True)
class Line:
    """One figure. `formula` has the names of others, `numbers` their values in the same places."""

    name: str
    value: Number
    unit: str
    formula: str
    numbers: str
    about: str = ""


class Sheet:
    """Figures by name: those that are given, and those that follow from a formula."""

    def __init__(self, given: Mapping[str, Number]) -> None:
        self._values: dict[str, Number] = dict(given)
        self.lines: list[Line] = []

    def __getitem__(self, name: str) -> Number:
        return self._values[name]

    @property
    def values(self) -> Mapping[str, Number]:
        """Every figure by its name."""
        return self._values

    def given(self, name: str, value: Number) -> None:
        """A figure that needs no line."""
        self._values[name] = value

    def put(self, name: str, formula: str, unit: str = "", about: str = "") -> Number:
        """Add a line: `formula` over the figures that are there, with + - * / ceil max min evenly."""
        tree = ast.parse(formula, mode="eval").body
        value = self._value(tree)
        shown = self._written(tree, names=True)
        line = Line(name, value, unit, shown, self._written(tree, names=False), about)
        self._values[name] = value
        self.lines.append(line)
        return value

    def _value(self, node: ast.expr) -> Number:
        if isinstance(node, ast.Name):
            return self._values[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)][1](self._value(node.left), self._value(node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return _FUNCTIONS[node.func.id](*map(self._value, node.args))
        raise ValueError(f"a formula has no {type(node).__name__}")

    def _written(self, node: ast.expr, names: bool, binds: int = 0) -> str:
        """The formula in words, or with every name's value in its place."""
        if isinstance(node, ast.Name):
            return node.id if names else shown(self._values[node.id])
        if isinstance(node, ast.BinOp):
            sign, own = _OPERATORS[type(node.op)][0], _BINDS[type(node.op)]
            right = own + (type(node.op) in (ast.Sub, ast.Div))
            text = f"{self._written(node.left, names, own)} {sign} {self._written(node.right, names, right)}"
            return f"({text})" if own < binds else text
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return f"{node.func.id}({'; '.join(self._written(one, names) for one in node.args)})"
        return shown(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else "?"


def shown(value: Number) -> str:
    """A figure as a person writes it: whole numbers whole, others with four figures."""
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.4g}'):,.12g}" if abs(value) >= 1e-4 else f"{value:.3g}"
