"""A query as DuckDB parses it (``json_serialize_sql``), and what its columns stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["POSITION", "Node", "bare", "calls", "ctes", "is_position", "place_of_position", "walk"]

Node = Mapping[str, Any]

POSITION: Final = "position"


def walk(part: Any) -> Iterator[Node]:
    """Yield all objects in a parsed query."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from walk(inner)


def bare(expression: Any) -> Any:
    """Return an expression without its alias and its place in the text."""
    if isinstance(expression, dict):
        return {
            name: bare(part)
            for name, part in expression.items()
            if name not in ("alias", "query_location", "query_location_length")
        }
    return [bare(part) for part in expression] if isinstance(expression, list) else expression


def calls(part: Any) -> Iterator[Node]:
    """Yield what calls a function in a parsed query, window functions included."""
    return (found for found in walk(part) if found.get("class") in ("FUNCTION", "WINDOW"))


def ctes(node: Node) -> dict[str, Node]:
    """Return the queries that a query begins with, by their names in small letters."""
    entries = node["cte_map"]["map"]
    return {entry["key"].lower(): entry["value"]["query_node"] for entry in entries}


def is_position(expression: Node, source: Node) -> bool:
    """Say whether an expression is the column `position` of a source, by its plain name.

    ``item.position`` may as well be a part of a column ``item``.
    """
    if expression.get("class") != "COLUMN_REF":
        return False
    *qualifier, name = map(str.lower, expression["column_names"])
    return name == POSITION and qualifier in ([], [_called(source)])


def place_of_position(source: Node, named: Mapping[str, Node]) -> int | None:
    """Return where among its columns a source gives the positions of the events.

    Args:
        source: what a query takes its rows from; of a join what is on the left.
        named: the queries that the query begins with.

    Returns:
        The place, from 0; None if there is nothing of this name, or it may be something else.
    """
    if POSITION in map(str.lower, source.get("column_name_alias", ())):
        return None
    if source["type"] == "JOIN":
        return place_of_position(source["left"], named)
    if source["type"] == "SUBQUERY":
        return _place_in(source["subquery"]["node"], named)
    if source["type"] != "BASE_TABLE":
        return None
    query = named.get(source["table_name"].lower())
    # It is the first column of every table of events.
    return 0 if query is None else _place_in(query, named)


def _place_in(node: Node, named: Mapping[str, Node]) -> int | None:
    """Return where among its columns a select inside gives the positions of the events."""
    named = {**named, **ctes(node)}
    if node["type"] == "SET_OPERATION_NODE":
        places = [_place_in(child, named) for child in node["children"]]
        same = len(set(places)) == 1 or node["setop_type"] == "UNION_BY_NAME"
        return places[0] if same and None not in places else None
    source = node["from_table"]
    below = place_of_position(source, named)
    if below is None:
        return None
    for place, item in enumerate(node["select_list"]):
        if item["class"] == "STAR":
            return place + below if _is_plain(item, source) else None
        if is_position(item, source) and item["alias"].lower() in ("", POSITION):
            return place
        # Either gives the name to something else; so does unnest, with each field of a struct.
        if _name(item) == POSITION or item.get("function_name") == "unnest":
            return None
    return None


def _is_plain(star: Node, source: Node) -> bool:
    """Say whether a star is all columns of a source, just as they are."""
    changes = ("columns", "exclude_list", "replace_list", "rename_list", "qualified_exclude_list")
    whose = star["relation_name"].lower()
    return whose in ("", _called(source)) and not any(star[change] for change in changes)


def _name(item: Node) -> str:
    name: str = item["alias"] or item.get("column_names", [""])[-1]
    return name.lower()


def _called(source: Node) -> str:
    """Return by which name the columns of a source are told from others."""
    if source["type"] == "JOIN":
        return _called(source["left"])
    name: str = source["alias"] or source.get("table_name", "")
    return name.lower()
