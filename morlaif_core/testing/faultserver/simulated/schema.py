"""Fills in a JSON schema as a model that is held to it would: verdicts in the order asked, prose, a confidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

RATIONALE = "A careful reading of both responses settles it."
"""What stands before a verdict; it begins with a letter that is no verdict."""
_SAID = {"A": ("A",), "B": ("B",), "C": ("not_applicable", "not applicable", "C"), "tie": ("tie", "Tie")}


class Verdict(NamedTuple):
    """What the judge says of one question. letter: A, B, C (does not apply) or tie; p: how sure it is of that.

    otherwise: A or B, where the letter is not on offer.
    """

    letter: str
    p: float
    otherwise: str


def fill(schema: Mapping[str, Any], verdicts: Sequence[Verdict]) -> Any:
    """Return a value that follows a schema. Every enumeration that holds A and B takes the next verdict.

    A list whose length the schema leaves open has one item per verdict. A number after a verdict is its confidence
    (within minimum and maximum, else 0 to 1; whole numbers 0 to 100). Raises ValueError where the schema asks for more
    verdicts than there are questions.
    """
    return _Filler(schema, verdicts).value(schema)


class _Filler:
    def __init__(self, root: Mapping[str, Any], verdicts: Sequence[Verdict]) -> None:
        self._root, self._count = root, len(verdicts)
        self._left: Iterator[Verdict] = iter(verdicts)
        self._last = verdicts[0]

    def value(self, schema: Mapping[str, Any]) -> Any:
        if "$ref" in schema:
            return self.value(self._referred(schema["$ref"]))
        if "enum" in schema:
            return self._chosen(list(schema["enum"]))
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            return {name: self.value(part) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            length = schema.get("minItems", min(self._count, schema.get("maxItems", self._count)))
            return [self.value(schema["items"]) for _ in range(length)]
        return self._simple(kind, schema)

    def _chosen(self, options: list[Any]) -> Any:
        if not {"A", "B"} <= {option for option in options if isinstance(option, str)}:
            return options[0]
        try:
            self._last = next(self._left)
        except StopIteration:
            raise ValueError("the schema asks for more verdicts than the prompt asks questions") from None
        said = [word for word in _SAID[self._last.letter] if word in options]
        return said[0] if said else self._last.otherwise

    def _simple(self, kind: str, schema: Mapping[str, Any]) -> Any:
        if kind not in ("number", "integer"):
            return {"string": RATIONALE, "boolean": True}.get(kind)
        low, high = schema.get("minimum", 0), schema.get("maximum", 100 if kind == "integer" else 1)
        level = low + (high - low) * self._last.p
        return round(level) if kind == "integer" else round(level, 4)

    def _referred(self, path: str) -> Mapping[str, Any]:
        found: Any = self._root
        for part in path.removeprefix("#/").split("/"):
            found = found[part]
        return found  # type: ignore[no-any-return]
