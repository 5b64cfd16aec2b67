"""Event types: their registry, the canonical JSON that is stored of them, their columns."""

from eslab.schema.codec import (
    AnyEvent,
    EncodedEvent,
    canonical_json,
    decode,
    encode,
    encode_all,
    encoded,
    parse_json,
    sorted_sets,
)
from eslab.schema.columns import columns_of
from eslab.schema.handlers import event_handlers, marker, message_classes, message_handlers
from eslab.schema.naming import qualified_name, snake_case
from eslab.schema.registry import EventRegistry

__all__ = [
    "AnyEvent",
    "EncodedEvent",
    "EventRegistry",
    "canonical_json",
    "columns_of",
    "decode",
    "encode",
    "encode_all",
    "encoded",
    "event_handlers",
    "marker",
    "message_classes",
    "message_handlers",
    "parse_json",
    "qualified_name",
    "snake_case",
    "sorted_sets",
]
