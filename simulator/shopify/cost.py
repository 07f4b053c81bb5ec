"""What a query costs before it is run, and the bucket it is paid from.

Objects cost 1, scalars nothing. A connection costs 2 plus its node's cost times a factor that grows with `first` more
slowly than `first` itself: 2 ln(first), which reproduces the figures published for real shops (250 variants with an
inventory item: 25 with the product). A plain list of ids costs its node's cost for each id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
    value_from_ast_untyped,
)

SINGLE_QUERY_LIMIT = 1000


@dataclass(slots=True)
class Bucket:
    """Points of one app in one shop; `available` as of `at`."""

    at: datetime
    maximum: float = 2000.0
    restore_rate: float = 100.0
    available: float = 2000.0

    def settle(self, now: datetime) -> None:
        """Let the points flow back that were restored since the last look."""
        seconds = max(0.0, (now - self.at) / timedelta(seconds=1))
        self.available = min(self.maximum, self.available + seconds * self.restore_rate)
        self.at = now

    def status(self) -> dict[str, float]:
        """Return `throttleStatus` as it is answered."""
        return {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": math.floor(self.available),
            "restoreRate": self.restore_rate,
        }


class CostCount:
    """Counts the requested cost of one document with its variables."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self.schema = schema
        self.variables = dict(variables)
        self.operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
        self.fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}

    def total(self) -> int:
        """Return the cost of the document's operations, at least 1."""
        root = self.schema.query_type
        return max(1, math.ceil(sum(self._selections(root, op.selection_set) for op in self.operations)))

    def _selections(self, parent: GraphQLNamedType | None, selection: SelectionSetNode | None) -> float:
        if selection is None or not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            return 0.0
        cost = 0.0
        for node in selection.selections:
            if isinstance(node, FieldNode):
                cost += self._field(parent, node)
            elif isinstance(node, InlineFragmentNode):
                inner = node.type_condition
                cost += self._selections(self._type(inner.name.value) if inner else parent, node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self.fragments[node.name.value]
                cost += self._selections(self._type(fragment.type_condition.name.value), fragment.selection_set)
        return cost

    def _type(self, name: str) -> GraphQLNamedType | None:
        return self.schema.get_type(name)

    def _field(self, parent: GraphQLObjectType | GraphQLInterfaceType, node: FieldNode) -> float:
        definition = parent.fields.get(node.name.value)
        if definition is None or is_leaf_type(kind := get_named_type(definition.type)):
            return 0.0
        inner = self._selections(kind, node.selection_set)
        if kind.name == "PageInfo":
            return 0.0
        if kind.name.endswith("Edge"):
            return inner
        if kind.name.endswith("Connection"):
            return 2 + growth(self._argument(node, "first") or self._argument(node, "last") or 0) * inner
        if node.name.value == "nodes" and isinstance(ids := self._argument(node, "ids"), list):
            return len(ids) * (1 + inner)
        return 1 + inner

    def _argument(self, node: FieldNode, name: str) -> Any:
        for argument in node.arguments or ():
            if argument.name.value == name:
                return value_from_ast_untyped(argument.value, self.variables)
        return None


def growth(first: int) -> float:
    """Return the factor for a connection of `first` nodes."""
    return 2 * math.log(first) if first >= 2 else float(first)


def objects_in(value: Any) -> int:
    """Count the objects of an answer: what the query turned out to cost."""
    if isinstance(value, list):
        return sum(objects_in(item) for item in value)
    return 1 + sum(objects_in(item) for item in value.values()) if isinstance(value, dict) else 0
