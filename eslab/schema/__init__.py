"""Event types: their registry, the canonical JSON that is stored of them, their columns."""

from eslab.schema.canonical import canonical_json, parse_json, sorted_sets
from eslab.schema.checking import Unreadable, UpcastingReport, check_upcasting
from eslab.schema.codec import (
    AnyEvent,
    EncodedEvent,
    decode,
    encode,
    encode_all,
    encoded,
    event_list,
    metadata_text,
)
from eslab.schema.columns import columns_of
from eslab.schema.compatibility import Break, Compatibility, compatibility
from eslab.schema.handlers import (
    BY,
    EventMarker,
    class_list,
    event_handlers,
    marker,
    message_classes,
    message_handlers,
    visible_names,
)
from eslab.schema.naming import qualified_name, snake_case
from eslab.schema.registry import EventRegistry
from eslab.schema.upcasting import Upcaster, upcasts

__all__ = [
    "BY",
    "AnyEvent",
    "Break",
    "Compatibility",
    "EncodedEvent",
    "EventMarker",
    "EventRegistry",
    "Unreadable",
    "Upcaster",
    "UpcastingReport",
    "canonical_json",
    "check_upcasting",
    "class_list",
    "columns_of",
    "compatibility",
    "decode",
    "encode",
    "encode_all",
    "encoded",
    "event_handlers",
    "event_list",
    "marker",
    "message_classes",
    "message_handlers",
    "metadata_text",
    "parse_json",
    "qualified_name",
    "snake_case",
    "sorted_sets",
    "upcasts",
    "visible_names",
]
