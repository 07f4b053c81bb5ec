"""The part of Magento's GraphQL that is open to everybody: products by sku, and the store's code."""

from __future__ import annotations

from typing import Any

from graphql import ExecutionResult, build_schema, graphql_sync

from simulator.magento.store import Store

_SCHEMA = build_schema(
    """
type Query { products(filter: ProductAttributeFilterInput, pageSize: Int = 20, currentPage: Int = 1): Products
  storeConfig: StoreConfig }
input ProductAttributeFilterInput { sku: FilterEqualTypeInput }
input FilterEqualTypeInput { eq: String in: [String] }
type Products { items: [SimpleProduct] total_count: Int }
type SimpleProduct { sku: String name: String url_key: String url_suffix: String thumbnail: ProductImage }
type ProductImage { url: String label: String }
type StoreConfig { store_code: String }
"""
)


def answer(store: Store, body: dict[str, Any]) -> dict[str, Any]:
    """Answer one query; errors come with status 200, as Magento gives them."""
    root = {"products": lambda _info, **given: _products(store, given), "storeConfig": {"store_code": "default"}}
    result: ExecutionResult = graphql_sync(
        _SCHEMA, str(body.get("query", "")), root_value=root, variable_values=body.get("variables")
    )
    return dict(result.formatted)


def _products(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    wanted = (given.get("filter") or {}).get("sku") or {}
    skus = wanted.get("in") or [wanted.get("eq")]
    found = [{"sku": sku, **store.products[sku]} for sku in skus if sku in store.products]
    return {"items": found[: given["pageSize"]], "total_count": len(found)}
