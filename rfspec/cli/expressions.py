"""Constructor calls in options, such as PowerLaw(1.0, cutoff=0.01): read, never evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

DIGITS = r"[0-9](?:_?[0-9])*"
TOKEN = re.compile(
    rf"\s*(?:(?P<number>[+-]?\s*(?:{DIGITS}\.?(?:{DIGITS})?|\.{DIGITS})(?:[eE][+-]?{DIGITS})?)(?!\w)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<mark>[()\[\],=])|(?P<end>$))"
)
DEEPEST = 20  # brackets in brackets
SHOWN = 100  # characters of a text that cannot be read


def construct(name: str, text: str, known: Mapping[str, Callable[..., Any]]) -> Any:
    """What a call says, its arguments numbers, lists of them, or calls again,
    of the functions `known` alone.
    """
    reader = _Reader(name, text, known)
    if "name" not in reader.token:
        reader.refuse()
    value = reader.value(0)
    if "end" not in reader.token:
        reader.refuse()
    return value


class _Reader:
    """A text, token by token; `token` is the next one under its kind."""

    def __init__(self, name: str, text: str, known: Mapping[str, Callable[..., Any]]):
        self.name, self.text, self.known = name, text, known
        self.start = self.stop = 0
        self.token: dict[str, str] = {}
        self.move()

    def refuse(self) -> NoReturn:
        calls = ", ".join(sorted(self.known))
        raise ValueError(
            f"{self.name} must be a call of {calls} with numbers, lists or such calls in brackets, "
            f"got {self.text!r:.{SHOWN}}"
        )

    def move(self) -> None:
        """To the next token."""
        found = TOKEN.match(self.text, self.stop)
        if found is None:
            self.refuse()
        kind = str(found.lastgroup)
        self.token = {kind: found[kind]}
        self.start, self.stop = found.start(kind), found.end()

    def take(self, mark: str) -> bool:
        """Whether this mark was next; then it is passed."""
        next_one = self.token.get("mark") == mark
        if next_one:
            self.move()
        return next_one

    def value(self, depth: int) -> Any:
        """A number, a list or a call."""
        if depth > DEEPEST:
            self.refuse()
        if "number" in self.token:
            return self.number()
        for opening, closing in (("[", "]"), ("(", ")")):
            if self.take(opening):
                return self.items(closing, depth)[0]
        start, function = self.start, self.known.get(self.token.get("name", ""))
        if function is None:
            self.refuse()
        self.move()
        if not self.take("("):
            self.refuse()
        items, named = self.items(")", depth, named=True)
        try:
            return function(*items, **named)
        except (TypeError, OverflowError) as e:
            call = self.text[start : self.start].strip()
            raise ValueError(f"{self.name} has wrong arguments in {call:.{SHOWN}}: {e}") from e

    def items(
        self, closing: str, depth: int, *, named: bool = False
    ) -> tuple[list[Any], dict[str, Any]]:
        """Values separated by commas up to the closing bracket, and those with names,
        which come last.
        """
        items: list[Any] = []
        by_name: dict[str, Any] = {}
        while not self.take(closing):
            key = self.token.get("name", "") if named else ""
            back = self.token, self.start, self.stop
            if key:
                self.move()
                if not self.take("="):
                    key, (self.token, self.start, self.stop) = "", back
            if key in by_name or (by_name and not key):
                self.refuse()
            value = self.value(depth + 1)
            if key:
                by_name[key] = value
            else:
                items.append(value)
            if not self.take(",") and self.token.get("mark") != closing:
                self.refuse()
        return items, by_name

    def number(self) -> int | float:
        digits = "".join(self.token["number"].split())
        self.move()
        try:
            return int(digits) if digits.lstrip("+-").replace("_", "").isdigit() else float(digits)
        except ValueError:  # Python reads at most some thousand digits of an integer
            self.refuse()
