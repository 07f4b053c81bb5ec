"""YAML read with the line of every key and item, and strictly: a key given twice is an error, not the last one wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

MOST_NODES = 200_000  # aliases may repeat a part of the file; a few lines could grow without end
BEYOND = "the file is nested too deeply or grows too large"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a file; `line` counts from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        """Return it as people look it up."""
        return f"line {self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, as plain values, and on which line each path begins."""

    value: Any
    lines: Mapping[Path, int]

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line of a path, or of the nearest part around it that is in the file."""
        for length in range(len(path), 0, -1):
            found = self.lines.get(tuple(path[:length]))
            if found is not None:
                return found
        return 1


def read_yaml(text: str) -> tuple[Document, list[Fault]]:
    """Return what the text says, with what is wrong with it as YAML. Only plain values are made, never objects."""
    try:
        reading = _Reading(yaml.SafeLoader(text))
        node = reading.loader.get_single_node()
        value = None if node is None else reading.value(node, ())
        return Document(value, reading.lines), reading.faults
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _nothing((mark.line if mark else 0) + 1, f"this is not YAML: {error.problem or error.context}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return _nothing(line, "the file holds a character that YAML does not take")
    except RecursionError:
        return _nothing(1, BEYOND)


def _nothing(line: int, message: str) -> tuple[Document, list[Fault]]:
    return Document(None, {}), [Fault(line, message)]


@dataclass(slots=True)
class _Reading:
    """Turns nodes into values and notes their lines."""

    loader: yaml.SafeLoader
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        """Return a node's value."""
        line = node.start_mark.line + 1
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise yaml.MarkedYAMLError(problem=BEYOND, problem_mark=node.start_mark)
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, position)) for position, item in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except (yaml.constructor.ConstructorError, ValueError):
            self.faults.append(
                Fault(line, f"{node.value!r} cannot be read as {node.tag.removeprefix('tag:yaml.org,2002:')}")
            )
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(Fault(line, "a key must be a plain word"))
                continue
            key = str(key_node.value)
            if key in values:
                self.faults.append(Fault(line, f"the key {key} is given twice"))
                continue
            self.lines[(*path, key)] = line
            values[key] = self.value(value_node, (*path, key))
        return values
