"""What a query of a projection reads, and why its result could not be merged batch by batch.

The query is looked at as DuckDB parses it (``json_serialize_sql``), never as text. A result can be
merged if the query is one ``group by`` over the events taken row by row: of one table, or of
several by ``union all``. A join of two of them, a ``distinct``, a window and the like look at
events of earlier batches too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eslab.errors import ProjectionError, QueryError
from eslab.projections.nodes import (
    Node,
    bare,
    calls,
    ctes,
    is_position,
    place_of_position,
    walk,
)
from eslab.store.port import ReadModels

__all__ = ["FITTING", "ParsedQuery", "parsed_query"]

FITTING: Final[Mapping[str, frozenset[str]]] = {
    "sum": frozenset({"sum", "count", "count_star", "count_if", "countif"}),
    "count": frozenset({"count", "count_star", "count_if", "countif"}),
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
        *("row_number", "lag", "lead", "first_value", "last_value", "nth_value", "ntile"),
    }
)

# A macro, such as geomean(), is what it stands for.
_KINDS_SQL: Final = """
select distinct function_name, function_type = 'aggregate',
       coalesce(stability <> 'CONSISTENT', false),
       json_serialize_sql('select ' || macro_definition)
from duckdb_functions()
where list_contains(?, function_name) and function_type in ('aggregate', 'scalar', 'macro')
"""


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
        if any(part.get("class") == "STAR" for part in walk(node["select_list"])):
            raise self._not("it selects *: name its columns")
        if any(part.get("class") == "COLLATE" for part in walk(node)):
            raise self._not("a collation is not that of the read model: take lower(...), say")
        items = dict(zip(columns, node["select_list"], strict=True))
        key = {column: item for column, item in items.items() if column not in rules}
        self._require_rows(list(key.values()), otherwise="its key is an aggregate")
        self._require_grouped_by_key(items, key)
        for column, rule in rules.items():
            self._require_fit(column, rule, items[column])
        self._require_rows([*node["select_list"], node["where_clause"]], aggregates=True)
        if not self._from(node["from_table"], ctes(node)):
            raise self._not("it reads no events: name one of their tables")

    def require_folds_of_rows(self, columns: Sequence[str]) -> None:
        """Check that it takes rows of one event each, and that each column folds them by one call.

        Args:
            columns: what its columns are called.

        Raises:
            ProjectionError: it does not.
        """
        items = self.node["select_list"]
        if len(items) != len(columns):
            raise self._not(f"{', '.join(columns)} are more columns than they are rules")
        for column, item in zip(columns, items, strict=True):
            if not _is_one_call(item):
                raise self._not(f"{column!r} is more than one rule over one value")
            self._require_rows(item["arguments"])
        if not self._rows_of(self.node["from_table"]["subquery"]["node"], {}):
            raise self._not("it reads no events: name one of their tables")

    def _require_grouped_by_key(self, items: Mapping[str, Node], key: Mapping[str, Node]) -> None:
        for group in self.node["group_expressions"]:
            place = group["literal"]["text"] if group["class"] == "CONSTANT" else ""
            if place.isdigit():
                known = list(items)[int(place) - 1] in key
            else:
                known = bare(group) in map(bare, key.values()) or _same_column(group, items)
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
        if rule in _ORDERED and not self._is_position(order):
            raise self._not(
                f"{column!r} has the rule {rule!r}: order it by position, "
                f"{name}(value, position), because batches are in that order; and where a select "
                f"inside gives that, it is the column of the events as it is, in the same place on "
                f"both sides of a union all"
            )
        if len(item["arguments"]) > 1 + (rule in _ORDERED):
            raise self._not(f"{column!r} is a list of several values: {name}(value, number)")

    def _is_position(self, order: Node) -> bool:
        source = self.node["from_table"]
        place = place_of_position(source, ctes(self.node))
        return place is not None and is_position(order, source)

    def _require_rows(
        self, parts: Any, *, aggregates: bool = False, otherwise: str = "it groups what was grouped"
    ) -> None:
        """Check that expressions see one row each.

        Args:
            parts: the expressions.
            aggregates: whether they may be of groups: in the select that groups.
            otherwise: what to say if they are, and may not.
        """
        for found in walk(parts):
            kind = found.get("class")
            if kind == "WINDOW":
                raise self._not("a window looks at other rows")
            if kind == "SUBQUERY":
                raise self._not("a subquery in an expression looks at other rows")
            if kind == "FUNCTION" and not aggregates and found["function_name"] in self.aggregates:
                raise self._not(otherwise)

    def _from(self, source: Node, named: Mapping[str, Node]) -> bool:
        """Check what rows come from, and say whether that is events (or the same every time)."""
        kind = source["type"]
        if kind == "BASE_TABLE":
            name = source["table_name"].lower()
            outside = {other: node for other, node in named.items() if other != name}
            return self._rows_of(named[name], outside) if name in named else True
        if kind == "SUBQUERY":
            return self._rows_of(source["subquery"]["node"], named)
        if kind == "JOIN":
            return self._joined(source, named)
        if kind in ("TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY"):
            self._require_rows([source.get("function"), source.get("values")])
            return False
        raise self._not(f"it takes rows from a {kind.lower()}")

    def _joined(self, join: Node, named: Mapping[str, Node]) -> bool:
        left, right = self._from(join["left"], named), self._from(join["right"], named)
        self._require_rows(join["condition"])
        if left and right:
            raise self._not(
                "it joins events with events, which may be of two batches: take both by union all"
            )
        kept = {"INNER": True, "RIGHT": right}.get(join["join_type"], False)
        kept = kept or (left and join["join_type"] in ("LEFT", "SEMI", "ANTI"))
        if (left or right) and (join["ref_type"] in ("ASOF", "POSITIONAL") or not kept):
            raise self._not(
                f"a {join['join_type'].lower()} join makes rows of no event: join events with what "
                f"is always the same by an inner join"
            )
        return left or right

    def _rows_of(self, node: Node, named: Mapping[str, Node]) -> bool:
        """Check that a select inside gives rows of events, one by one; say whether of events."""
        inner = {**named, **ctes(node)}
        if node["type"] == "SET_OPERATION_NODE":
            sides = {self._rows_of(child, inner) for child in node["children"]}
            union = node["setop_type"] in ("UNION", "UNION_BY_NAME") and node["setop_all"]
            if not union or node["modifiers"]:
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
    named = [name for found in walk(node) if "cte_map" in found for name in ctes(found)]
    if len(set(named)) < len(named):
        raise ProjectionError(f"{where}: two selects of its query have one name: give each its own")
    if taken := sorted(own.intersection(named)):
        raise ProjectionError(
            f"{where}: its query calls something {taken[0]!r}, which is a table of events: give it "
            f"another name"
        )
    found = [part for part in walk(node) if part.get("type") == "BASE_TABLE"]
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
    for part in walk(node):
        if part.get("class") == "PARAMETER":
            raise ProjectionError(f"{where}: its query has a parameter, and nobody to give it")
        if part.get("type") == "TABLE_FUNCTION":
            function = part["function"]["function_name"]
            if function not in _TABLE_FUNCTIONS:
                raise ProjectionError(
                    f"{where}: its query reads {function}(...), and may read events alone"
                )
    functions = _functions(store, _names(node))
    varying = functions.varying & _names(node)
    varying |= {"a sample" for part in walk(node) if part.get("sample") is not None}
    varying |= {"limit without order by" for part in walk(node) if _cuts_at_random(part)}
    varying |= {"age of one time" for call in calls(node) if _is_age_of_today(call)}
    if varying:
        raise ProjectionError(
            f"{where}: its query uses {', '.join(sorted(varying))}, which gives something else "
            f"each time: a rebuild would make other rows; take what is in the events, such as "
            f"occurred_at"
        )
    for call in calls(node):
        if call["function_name"] in functions.unordered and not _ordered(call):
            raise ProjectionError(
                f"{where}: {call['function_name']}() takes rows in no order: give it one, "
                f"{call['function_name']}(... order by position), or arg_max(..., position)"
            )
    return functions.aggregates


@dataclass(frozen=True, slots=True)
class _Functions:
    """What is known of functions; a macro is what it calls."""

    aggregates: frozenset[str]
    varying: frozenset[str]
    unordered: frozenset[str]


def _functions(store: ReadModels, names: Collection[str]) -> _Functions:
    aggregates, varying, unordered = set(), set(_CLOCKS), set(_UNORDERED)
    called: dict[str, frozenset[str]] = {}
    new = sorted(names)
    while new:
        called |= dict.fromkeys(new, frozenset())
        for name, aggregate, varies, definition in store.sql(_KINDS_SQL, [new]).fetchall():
            aggregates |= {name} if aggregate else set()
            varying |= {name} if varies else set()
            if definition is not None:
                called[name] |= _names(json.loads(definition))
        new = sorted(frozenset().union(*called.values()) - called.keys())
    return _Functions(*(_and_callers(each, called) for each in (aggregates, varying, unordered)))


def _and_callers(functions: set[str], called: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return functions, and the macros that call one of them, or one that does."""
    found = set(functions)
    while callers := {name for name, inner in called.items() if inner & found} - found:
        found |= callers
    return frozenset(found)


def _names(part: Any) -> frozenset[str]:
    """Return the functions that a query calls, and the clocks that it reads like columns."""
    columns = (found["column_names"] for found in walk(part) if found.get("class") == "COLUMN_REF")
    clocks = {names[0].lower() for names in columns if len(names) == 1} & _CLOCKS
    return frozenset(call["function_name"] for call in calls(part)) | clocks


def _cuts_at_random(part: Node) -> bool:
    kinds = [modifier["type"] for modifier in part.get("modifiers", ())]
    return "LIMIT_MODIFIER" in kinds and "ORDER_MODIFIER" not in kinds


def _is_age_of_today(call: Node) -> bool:
    return bool(call["function_name"] == "age" and len(call["arguments"]) == 1)


def _same_column(group: Node, items: Mapping[str, Node]) -> bool:
    """Say whether a query is grouped by a column that is in its result, under its name.

    Where an expression has the name of a column, SQL groups by the column.
    """
    if group["class"] != "COLUMN_REF":
        return False
    name = group["column_names"][-1]
    item = items.get(name, {})
    return item.get("class") == "COLUMN_REF" and item["column_names"][-1] == name


def _is_one_call(item: Node) -> bool:
    """Say whether a column is one aggregate of one value, or of all rows, and nothing more."""
    if item["class"] != "FUNCTION" or item["is_operator"]:
        return False
    name, values = item["function_name"], len(item["arguments"])
    wanted = 0 if name == "count_star" else 2 if name in ("arg_min", "arg_max") else 1
    return values == wanted and not (item["filter"] or item["order_bys"]["orders"])


def _ordered(call: Node) -> bool:
    if call["class"] == "WINDOW":
        return bool(call["orders"] or call["arg_orders"])
    return bool(call["order_bys"]["orders"])
