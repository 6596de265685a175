"""Read YAML that people write: safe, no duplicate keys, bounded, and every error says file, line and what to do."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from typing import Any, ClassVar

import yaml

from morlaif_core.errors import UserError

MAX_BYTES = 1_000_000
MAX_VALUES = 100_000
"""Values a document may hold, what an alias repeats counted each time."""
MAX_INTEGER = 2**63 - 1


# The C parser where PyYAML was built with it: much faster, and as safe.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML that refuses a key given twice in one mapping, and reads dates as text."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {
        # A date would else come as an object, also where text was meant, and JSON takes none.
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make a value; whatever PyYAML trips over (``0x_`` is a number by its form) is told with its line."""
        try:
            value = super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        # PyYAML's own converters raise ValueError and others, without the line.
        except Exception:
            kind = str(node.tag).rpartition(":")[2]
            text = f"{str(node.value)[:60]!r} cannot be read as {kind}; put it in quotes where it is text"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from None
        # Beyond 64 bits numpy and SQLite fail, far from the line that says it.
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            text = f"a number beyond {MAX_INTEGER:,}; put it in quotes where it is text"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark)
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, "a mapping is needed here", node.start_mark)
        seen = set()
        for key, _ in node.value:
            # `<<` is no key of its own, and what it brings may be said anew beside it.
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} is not text", key.start_mark)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{name}' stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(file: Traversable, label: str | None = None) -> Any:
    """Read one YAML document. Raises `UserError` with file and line."""
    label = label or str(file)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{label}: cannot be read ({error.strerror or error})") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{label}: larger than {MAX_BYTES:,} bytes; is this a configuration?")
    try:
        return parse_yaml(data.decode("utf-8-sig"), label)  # editors on Windows may begin a file with a BOM
    except UnicodeDecodeError as error:
        raise UserError(f"{label}: not UTF-8 text (byte {error.start})") from None


def parse_yaml(text: str, label: str) -> Any:
    """Parse one YAML document. Raises `UserError` with label and line."""
    try:
        value = yaml.load(text, Loader=_Loader)  # safe: `_Loader` is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{label}:{mark.line + 1}" if mark else label
        hint = ""
        if "while parsing a flow" in str(error.context) or "found character" in str(error.problem):
            hint = "; put text that holds any of ? : [ ] { } , # in quotes"
        raise UserError(f"{where}: {error.problem or error.context}{hint}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{label}: not readable as YAML ({error})") from None
    except UnicodeError:
        raise UserError(f"{label}: text that is not Unicode") from None
    except RecursionError:
        raise UserError(f"{label}: nested too deeply") from None
    _check_size(value, label)
    return value


def _check_size(value: Any, label: str) -> None:
    """Refuse a bomb of aliases and a value that holds itself, before anything walks through it."""
    # A list, not recursion: a value that holds itself would exhaust the stack first.
    left, count = [value], 0
    while left:
        item = left.pop()
        inner = list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else ()
        count += len(inner)
        if count > MAX_VALUES:
            raise UserError(f"{label}: more than {MAX_VALUES:,} values; does an alias (*name) hold itself?")
        left.extend(inner)
