"""eslab: an event-sourcing lab that lives in notebooks.

Start with `Lab`; below it are `open_store`, `Event`, `Aggregate`, `Projection` and `Saga`.
"""

from eslab.aggregates import Aggregate, applies
from eslab.clock import SystemClock, VirtualClock
from eslab.errors import (
    AppendConditionError,
    ClockError,
    ConcurrencyError,
    DomainError,
    EslabError,
    IdempotencyError,
    InputError,
    LimitError,
    MissingDependencyError,
    PartialDuplicateError,
    ProjectionError,
    QueryError,
    RegistrationError,
    SagaError,
    SchemaError,
    StoreClosedError,
    StoreError,
    StoreOpenError,
    StreamNotFoundError,
    UnknownEventTypeError,
)
from eslab.events import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    AppendCondition,
    Event,
    Metadata,
    NewEvent,
    Query,
    QueryItem,
    RecordedEvent,
)
from eslab.lab import Lab
from eslab.projections import Cost, Projection, Row, Rows, on
from eslab.sagas import Saga, Step, StepContext
from eslab.store import AppendResult, EventStore, MemoryStore, StreamAppend, open_store

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "NO_STREAM",
    "STREAM_EXISTS",
    "Aggregate",
    "AppendCondition",
    "AppendConditionError",
    "AppendResult",
    "ClockError",
    "ConcurrencyError",
    "Cost",
    "DomainError",
    "EslabError",
    "Event",
    "EventStore",
    "IdempotencyError",
    "InputError",
    "Lab",
    "LimitError",
    "MemoryStore",
    "Metadata",
    "MissingDependencyError",
    "NewEvent",
    "PartialDuplicateError",
    "Projection",
    "ProjectionError",
    "Query",
    "QueryError",
    "QueryItem",
    "RecordedEvent",
    "RegistrationError",
    "Row",
    "Rows",
    "Saga",
    "SagaError",
    "SchemaError",
    "Step",
    "StepContext",
    "StoreClosedError",
    "StoreError",
    "StoreOpenError",
    "StreamAppend",
    "StreamNotFoundError",
    "SystemClock",
    "UnknownEventTypeError",
    "VirtualClock",
    "applies",
    "on",
    "open_store",
]
