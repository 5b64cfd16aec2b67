"""What a query of a projection reads, and why its result could not be merged batch by batch.

The query is looked at as DuckDB parses it (``json_serialize_sql``), never as text. A result can be
merged if the query is one ``group by`` over the events taken row by row: of one table, or of
several by ``union all``. A join of two of them, a ``distinct``, a window and the like look at
events of earlier batches too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eslab.errors import ProjectionError, QueryError
from eslab.store.port import ReadModels

__all__ = ["FITTING", "ParsedQuery", "parsed_query"]

FITTING: Final[Mapping[str, frozenset[str]]] = {
    "sum": frozenset({"sum", "count", "count_star", "count_if"}),
    "count": frozenset({"count", "count_star", "count_if"}),
    "min": frozenset({"min", "bool_and"}),
    "max": frozenset({"max", "bool_or"}),
    "first": frozenset({"arg_min", "min_by"}),
    "last": frozenset({"arg_max", "max_by"}),
}
"""Which aggregates each rule merges."""

_ORDERED: Final = frozenset({"first", "last"})
_TABLE_FUNCTIONS: Final = frozenset(
    {"unnest", "range", "generate_series", "json_each", "json_tree"}
)
# DuckDB calls these consistent, or they are no functions when a query is parsed.
_CLOCKS: Final = frozenset(
    {
        *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
        *("current_localtime", "current_localtimestamp", "get_current_time"),
    }
)
# What they return depends on the order of rows, of which there is none.
_UNORDERED: Final = frozenset(
    {
        *("any_value", "arbitrary", "array_agg", "first", "group_concat", "last", "list"),
        *("listagg", "string_agg"),
    }
)

_KINDS_SQL: Final = """
select distinct function_name, function_type = 'aggregate', stability <> 'CONSISTENT'
from duckdb_functions() where list_contains(?, function_name)
"""

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query as it was parsed.

    Attributes:
        where: whose it is, for the errors.
        node: its outermost part.
        tables: the tables that it reads, in small letters.
        aggregates: the aggregates that it uses.
        otherwise: what one can do, if it cannot be taken apart.
    """

    where: str
    node: Node
    tables: frozenset[str]
    aggregates: frozenset[str]
    otherwise: str = ""

    def require_mergeable(self, columns: Sequence[str], rules: Mapping[str, str]) -> None:
        """Check that its results for parts of the log can be merged by rules.

        Args:
            columns: of its result.
            rules: the rule of each column; the others are the key.

        Raises:
            ProjectionError: they cannot.
        """
        node = self.node
        if node["type"] != "SELECT_NODE" or any(
            modifier["type"] != "ORDER_MODIFIER" for modifier in node["modifiers"]
        ):
            raise self._not("it is no plain select: union, distinct and limit see whole results")
        grouped = node["group_expressions"] or node["aggregate_handling"] == "FORCE_AGGREGATES"
        if not grouped or len(node["group_sets"]) > 1:
            raise self._not("it has no group by, or several at once: group by its key")
        for clause in ("having", "qualify", "sample"):
            if node[clause] is not None:
                raise self._not(f"{clause} looks at results that are not complete")
        if any(item["class"] == "STAR" for item in node["select_list"]):
            raise self._not("it selects *: name its columns")
        items = dict(zip(columns, node["select_list"], strict=True))
        self._require_grouped_by_key(items, rules)
        for column, rule in rules.items():
            self._require_fit(column, rule, items[column])
        self._require_rows([*node["select_list"], node["where_clause"]], inside=True)
        if not self._from(node["from_table"], _ctes(node)):
            raise self._not("it reads no events: name one of their tables")

    def require_rows(self) -> None:
        """Check that it takes events one by one, and gives rows of each alone.

        Raises:
            ProjectionError: it does not.
        """
        if not self._rows_of(self.node, {}):
            raise self._not("it reads no events: name one of their tables")

    def _require_grouped_by_key(self, items: Mapping[str, Node], rules: Mapping[str, str]) -> None:
        key = {column: _bare(item) for column, item in items.items() if column not in rules}
        for group in self.node["group_expressions"]:
            place = group["literal"]["text"] if group["class"] == "CONSTANT" else ""
            if place.isdigit():
                known = list(items)[int(place) - 1] in key
            else:
                known = _bare(group) in key.values() or _same_column(group, items)
            if not known:
                raise self._not(
                    f"it is grouped by more than its key ({', '.join(key)}), so that a key would "
                    f"have several rows, or by a column that is called like an expression of it: "
                    f"group by all"
                )

    def _require_fit(self, column: str, rule: str, item: Node) -> None:
        name = item.get("function_name") if item["class"] == "FUNCTION" else None
        wanted = " or ".join(sorted(FITTING[rule]))
        if name not in FITTING[rule]:
            found = f"{name}()" if name in self.aggregates else "something else"
            raise self._not(
                f"{column!r} has the rule {rule!r}, which merges one {wanted}, and is {found}: "
                f"an average, say, is a sum and a count, which whoever reads divides"
            )
        order = item["arguments"][-1]["expression"] if item["arguments"] else {}
        if item["distinct"] and rule in ("sum", "count"):
            raise self._not(f"{column!r} is distinct, which counts again in each batch")
        if rule in _ORDERED and order.get("column_names", [""])[-1] != "position":
            raise self._not(
                f"{column!r} has the rule {rule!r}: order it by position, "
                f"{name}(value, position), because batches are in that order"
            )
        if len(item["arguments"]) > 1 + (rule in _ORDERED):
            raise self._not(f"{column!r} is a list of several values: {name}(value, number)")

    def _require_rows(self, parts: Any, *, inside: bool = False) -> None:
        """Check that expressions see one row each; those of the grouping select may aggregate."""
        for found in _walk(parts):
            kind = found.get("class")
            if kind == "WINDOW":
                raise self._not("a window looks at other rows")
            if kind == "SUBQUERY":
                raise self._not("a subquery in an expression looks at other rows")
            if kind == "FUNCTION" and not inside and found["function_name"] in self.aggregates:
                raise self._not("it groups what was grouped")

    def _from(self, source: Node, ctes: Mapping[str, Node]) -> bool:
        """Check what rows come from, and say whether that is events (or the same every time)."""
        kind = source["type"]
        if kind == "BASE_TABLE":
            name = source["table_name"].lower()
            outside = {other: node for other, node in ctes.items() if other != name}
            return self._rows_of(ctes[name], outside) if name in ctes else True
        if kind == "SUBQUERY":
            return self._rows_of(source["subquery"]["node"], ctes)
        if kind == "JOIN":
            return self._joined(source, ctes)
        if kind in ("TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY"):
            return False
        raise self._not(f"it takes rows from a {kind.lower()}")

    def _joined(self, join: Node, ctes: Mapping[str, Node]) -> bool:
        left, right = self._from(join["left"], ctes), self._from(join["right"], ctes)
        if left and right:
            raise self._not(
                "it joins events with events, which may be of two batches: take both by union all"
            )
        kept = {"INNER": True, "LEFT": left, "RIGHT": right}.get(join["join_type"], False)
        if (left or right) and (join["ref_type"] in ("ASOF", "POSITIONAL") or not kept):
            raise self._not(
                f"a {join['join_type'].lower()} join makes rows of no event: join events with what "
                f"is always the same by an inner join"
            )
        return left or right

    def _rows_of(self, node: Node, ctes: Mapping[str, Node]) -> bool:
        """Check that a select inside gives rows of events, one by one; say whether of events."""
        inner = {**ctes, **_ctes(node)}
        if node["type"] == "SET_OPERATION_NODE":
            sides = {self._rows_of(child, inner) for child in node["children"]}
            if node["setop_type"] != "UNION" or not node["setop_all"] or node["modifiers"]:
                raise self._not("of the set operations only union all takes events row by row")
            if len(sides) > 1:
                raise self._not("it adds rows that are of no event, and would in every batch")
            return sides.pop()
        if node["type"] != "SELECT_NODE":
            raise self._not(f"it has a {node['type'].lower()}")
        plain = not (
            node["group_expressions"] or node["aggregate_handling"] == "FORCE_AGGREGATES"
        ) and all(node[clause] is None for clause in ("having", "qualify", "sample"))
        if not plain or any(m["type"] != "ORDER_MODIFIER" for m in node["modifiers"]):
            raise self._not("a select inside it groups, or is distinct or limited")
        self._require_rows([*node["select_list"], node["where_clause"]])
        return self._from(node["from_table"], inner)

    def _not(self, reason: str) -> ProjectionError:
        return ProjectionError(
            f"{self.where}: its query does not take the events one by one: {reason}{self.otherwise}"
        )


def parsed_query(
    store: ReadModels, query: str, *, where: str, own: frozenset[str], otherwise: str = ""
) -> ParsedQuery:
    """Parse a query, and check that it reads events alone, and gives the same every time.

    Args:
        store: whose SQL it is.
        query: its text.
        where: whose it is, for the errors.
        own: the names of the tables that it may read.
        otherwise: what one can do, if it cannot be taken apart.

    Raises:
        ProjectionError: it is no such query.
    """
    try:
        answer = json.loads(store.sql("select json_serialize_sql(?::varchar)", [query]).scalar())
    except QueryError as error:
        raise ProjectionError(f"{where}: its query cannot be parsed: {error}") from error
    if answer["error"] or len(answer["statements"]) != 1:
        reason = answer.get("error_message", "it is several statements")
        raise ProjectionError(f"{where}: its query must be one SELECT: {reason}")
    node = answer["statements"][0]["node"]
    tables = _tables(node, where, own)
    aggregates = _require_repeatable(store, node, where)
    return ParsedQuery(where, node, tables, aggregates, otherwise)


def _tables(node: Node, where: str, own: frozenset[str]) -> frozenset[str]:
    named = {name for found in _walk(node) if "cte_map" in found for name in _ctes(found)}
    if taken := sorted(named & own):
        raise ProjectionError(
            f"{where}: its query calls something {taken[0]!r}, which is a table of events: give it "
            f"another name"
        )
    found = [part for part in _walk(node) if part.get("type") == "BASE_TABLE"]
    for part in found:
        name = part["table_name"].lower()
        if part["schema_name"] or part["catalog_name"]:
            raise ProjectionError(
                f"{where}: write {name}, without a schema, so that a batch can stand in its place; "
                f"found {'.'.join(part['qualified_name']['path'])}"
            )
        if name not in own and name not in named:
            raise ProjectionError(
                f"{where}: its query reads {name!r}, and may read the tables of its events alone: "
                f"{', '.join(sorted(own))}; is a class missing in events = (...)?"
            )
    tables = frozenset(part["table_name"].lower() for part in found) & own
    if not tables:
        raise ProjectionError(f"{where}: its query reads no events: {', '.join(sorted(own))}")
    return tables


def _require_repeatable(store: ReadModels, node: Node, where: str) -> frozenset[str]:
    """Check that a query gives the same every time; return the aggregates that it uses."""
    calls = [part for part in _walk(node) if part.get("class") in ("FUNCTION", "WINDOW")]
    names = sorted({call["function_name"] for call in calls})
    kinds = store.sql(_KINDS_SQL, [names]).fetchall()
    varying = {name for name, _, varies in kinds if varies} | (_CLOCKS & set(names))
    for part in _walk(node):
        if part.get("class") == "PARAMETER":
            raise ProjectionError(f"{where}: its query has a parameter, and nobody to give it")
        if part.get("class") == "COLUMN_REF" and len(part["column_names"]) == 1:
            varying |= _CLOCKS & {part["column_names"][0].lower()}
        if part.get("type") == "TABLE_FUNCTION":
            function = part["function"]["function_name"]
            if function not in _TABLE_FUNCTIONS:
                raise ProjectionError(
                    f"{where}: its query reads {function}(...), and may read events alone"
                )
        if part.get("sample") is not None:
            varying.add("a sample")
    if varying:
        raise ProjectionError(
            f"{where}: its query uses {', '.join(sorted(varying))}, which gives something else "
            f"each time: a rebuild would make other rows; take what is in the events, such as "
            f"occurred_at"
        )
    for call in calls:
        if call["function_name"] in _UNORDERED and not _ordered(call):
            raise ProjectionError(
                f"{where}: {call['function_name']}() takes rows in no order: give it one, "
                f"{call['function_name']}(... order by position), or arg_max(..., position)"
            )
    return frozenset(name for name, aggregate, _ in kinds if aggregate)


def _same_column(group: Node, items: Mapping[str, Node]) -> bool:
    """Say whether a query is grouped by a column that is in its result, under its name.

    Where an expression has the name of a column, SQL groups by the column.
    """
    if group["class"] != "COLUMN_REF":
        return False
    name = group["column_names"][-1]
    item = items.get(name, {})
    return item.get("class") == "COLUMN_REF" and item["column_names"][-1] == name


def _ordered(call: Node) -> bool:
    if call["class"] == "WINDOW":
        return bool(call["orders"] or call["arg_orders"])
    return bool(call["order_bys"]["orders"])


def _ctes(node: Node) -> dict[str, Node]:
    entries = node["cte_map"]["map"]
    return {entry["key"].lower(): entry["value"]["query_node"] for entry in entries}


def _bare(expression: Any) -> Any:
    """Return an expression without its alias and its place in the text."""
    if isinstance(expression, dict):
        return {
            name: _bare(part)
            for name, part in expression.items()
            if name not in ("alias", "query_location", "query_location_length")
        }
    return [_bare(part) for part in expression] if isinstance(expression, list) else expression


def _walk(part: Any) -> Iterator[Node]:
    """Yield all objects in a parsed query."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _walk(inner)
