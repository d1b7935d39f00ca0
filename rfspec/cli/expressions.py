"""Constructor calls in options, such as PowerLaw(1.0, cutoff=0.01): read, never evaluated."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any


def construct(name: str, text: str, known: Mapping[str, Callable[..., Any]]) -> Any:
    """What a call says, its arguments numbers, lists of them, or calls again, of the functions `known` alone."""
    like = f"{name} must be a call of {', '.join(sorted(known))} with numbers, lists or such calls in brackets"
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as e:
        raise ValueError(f"{like}, got {text!r}") from e
    if not isinstance(tree, ast.Call):
        raise ValueError(f"{like}, got {text!r}")

    def read(node: ast.expr) -> Any:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            named = {k.arg: read(k.value) for k in node.keywords if k.arg is not None}
            if len(named) == len(node.keywords):
                try:
                    return known[node.func.id](*map(read, node.args), **named)
                except TypeError as e:
                    raise ValueError(f"{name} has wrong arguments in {ast.unparse(node)}: {e}") from e
        if isinstance(node, ast.List | ast.Tuple):
            return [read(item) for item in node.elts]
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError) as e:
            raise ValueError(f"{like}, got {text!r}") from e
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        raise ValueError(f"{like}, got {text!r}")

    return read(tree)
