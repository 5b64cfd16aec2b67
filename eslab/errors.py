"""Every error that eslab raises, in one tree, drawn once.

::

    EslabError
    ├── InputError                  what was given cannot be used (arguments, files, messages)
    │   └── LimitError              it is larger than eslab accepts
    ├── MissingDependencyError      an optional package is not installed
    ├── ClockError                  the clock cannot do that (it is virtual, or it is not)
    ├── SchemaError                 event types and their registration
    │   ├── RegistrationError       two definitions claim the same name
    │   ├── UnknownEventTypeError   a stored type has no class here
    │   └── UpcastingError          an upcaster fails, or returns something else than data
    ├── DomainError                 a command was refused by the domain: nothing was recorded
    │   └── CommandRevokedError     it was taken back before it came
    ├── MessagingError              commands, queries and what handles them
    │   ├── HandlerNotFoundError    nothing handles messages of that type
    │   ├── HandlerError            a handler or middleware gave something that it may not give
    │   ├── NotAuthorisedError      whoever sent a message may not
    │   └── StaleReadError          a read model is not yet as far as a query wants it
    ├── StoreError                  the event store
    │   ├── StoreOpenError          the file cannot be opened as a store
    │   ├── StoreClosedError        it was closed
    │   ├── StoreReadOnlyError      it is a copy, to look at only
    │   ├── StoreFailedError        a commit failed, and what it left cannot be read
    │   ├── StoreFullError          no place is left for more events
    │   ├── AppendOutcomeUnknownError  a commit was interrupted: it happened, or it did not
    │   ├── StreamNotFoundError     no such stream
    │   ├── EventNotFoundError      no such event
    │   ├── ConcurrencyError        the stream is not at the expected version
    │   ├── AppendConditionError    an event matches the append condition's query
    │   ├── IdempotencyError        an event id was used before, for something else
    │   ├── PartialDuplicateError   some of the event ids were used before, some were not
    │   └── QueryError              a SQL statement that cannot be run
    ├── ProjectionError             a projection's definition, or its work
    │   └── EventFailedError        a projection cannot apply an event
    └── SagaError                   a saga's use
        ├── SagaDefinitionError     it cannot be run as it is defined
        ├── SagaNotFoundError       no such saga
        └── TimerError              a timer cannot be set so
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "AppendConditionError",
    "AppendOutcomeUnknownError",
    "ClockError",
    "CommandRevokedError",
    "ConcurrencyError",
    "DomainError",
    "EslabError",
    "EventFailedError",
    "EventNotFoundError",
    "HandlerError",
    "HandlerNotFoundError",
    "IdempotencyError",
    "InputError",
    "LimitError",
    "MessagingError",
    "MissingDependencyError",
    "NotAuthorisedError",
    "PartialDuplicateError",
    "ProjectionError",
    "QueryError",
    "RegistrationError",
    "SagaDefinitionError",
    "SagaError",
    "SagaNotFoundError",
    "SchemaError",
    "StaleReadError",
    "StoreClosedError",
    "StoreError",
    "StoreFailedError",
    "StoreFullError",
    "StoreOpenError",
    "StoreReadOnlyError",
    "StreamNotFoundError",
    "TimerError",
    "UnknownEventTypeError",
    "UpcastingError",
    "error_message",
]


class EslabError(Exception):
    """The root: catch this to catch whatever eslab raises on purpose."""


class InputError(EslabError):
    """What was given cannot be used; the message says what was expected, and what was found."""


class LimitError(InputError):
    """What was given is larger than eslab accepts; nothing of it was written."""


class MissingDependencyError(EslabError):
    """An optional package is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: "
            f"pip install 'eslab[{extra}]'"
        )


class ClockError(EslabError):
    """The clock cannot do that: it is virtual and is asked to run by itself, or the reverse."""


class SchemaError(EslabError):
    """Something is wrong with an event type."""


class RegistrationError(SchemaError):
    """Two definitions claim the same name."""


class UnknownEventTypeError(SchemaError):
    """A stored event has a type that nothing here is registered for."""

    def __init__(self, type_name: str, *, known: tuple[str, ...] = ()) -> None:
        self.type_name = type_name
        listed = ", ".join(sorted(known)) or "none"
        super().__init__(
            f"no event class is registered for the type {type_name!r} (registered: {listed}); "
            f"define or import its class, or give the class that now stands for it "
            f"the name type={type_name!r}"
        )


class UpcastingError(SchemaError):
    """An upcaster fails on a stored event, or returns something else than data."""

    def __init__(
        self, type_name: str, *, step: str, data: object, reason: str, event: str = "stored data"
    ) -> None:
        self._parts = {"step": step, "data": data, "reason": reason}
        self.type_name = type_name
        super().__init__(
            f"{event}: {step} of {type_name} cannot take {data!r:.300}: {reason}; mend the "
            f"upcaster: what is stored stays as it is"
        )

    def at(self, event: str) -> UpcastingError:
        """Return the same error, which names the event."""
        return UpcastingError(self.type_name, event=event, **self._parts)  # type: ignore[arg-type]


class DomainError(EslabError):
    """The domain refuses a command; nothing is recorded."""


class CommandRevokedError(DomainError):
    """A command was taken back before it came, and is never carried out; nothing was recorded.

    Attributes:
        reason: why, if that was said.
    """

    def __init__(self, command_id: object, reason: str = "") -> None:
        self.reason = reason
        super().__init__(
            f"the command {command_id} was revoked before it came: it has no effect"
            f"{reason and f' ({reason})'}"
        )


class MessagingError(EslabError):
    """A command or a query cannot be handled."""


class HandlerNotFoundError(MessagingError):
    """Nothing handles messages of that type; nothing was recorded."""

    def __init__(self, type_name: str, *, known: Iterable[str], by: str) -> None:
        self.type_name = type_name
        listed = ", ".join(sorted(known)) or "nothing"
        super().__init__(
            f"{by} handles {listed}, and not {type_name}: register a handler that takes it "
            f"(is it another class of that name?)"
        )


class HandlerError(MessagingError):
    """A handler or middleware gave something that it may not give."""


class NotAuthorisedError(MessagingError):
    """Whoever sent the message may not; it was not handled."""


class StaleReadError(MessagingError):
    """A read model has not seen what a query wants it to have seen; nothing was answered."""


class StoreError(EslabError):
    """The event store could not do what was asked."""


class StoreOpenError(StoreError):
    """The file cannot be opened as an event store; it was not touched."""


class StoreClosedError(StoreError):
    """The store was closed."""


class StoreReadOnlyError(StoreError):
    """The store is a copy that was opened to look at it; nothing is appended to it."""


class StoreFailedError(StoreError):
    """A commit failed, and what it left cannot be read yet; each use of the store tries again."""


class StoreFullError(StoreError):
    """Events wait to be moved to the database, which fails; what was acknowledged is kept."""


class AppendOutcomeUnknownError(StoreError):
    """The commit of an append was interrupted: it is in the store as a whole, or not at all.

    Attributes:
        reason: why that is not known.
    """

    def __init__(self, reason: str = "it was interrupted while it was committed") -> None:
        self.reason = reason
        super().__init__(
            f"whether the append was recorded is not known: {reason}; read the stream again, or "
            f"retry with the same event ids, which is safe"
        )


class StreamNotFoundError(StoreError):
    """There is no event in that stream."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        super().__init__(f"there is no stream {stream_id!r}")


class EventNotFoundError(StoreError):
    """There is no such event in the log.

    Attributes:
        event: what was asked for.
    """

    def __init__(self, event: str, *, hint: str) -> None:
        self.event = event
        super().__init__(f"there is no event {event} in this log: {hint}")


class ConcurrencyError(StoreError):
    """The stream is not at the version that the append expected; nothing was written.

    Attributes:
        stream_id: the stream.
        expected: the expected version, or the word for it.
        actual: the version the stream has; 0 when it does not exist.
    """

    def __init__(self, stream_id: str, *, expected: object, actual: int) -> None:
        self.stream_id = stream_id
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"stream {stream_id!r} was expected at version {expected} but is at {actual}; "
            f"load it again, decide again, and append with the version that was loaded"
        )


class AppendConditionError(StoreError):
    """An event after the condition's position matches its query; nothing was written.

    Attributes:
        position: the position of the first event that matches.
    """

    def __init__(self, position: int, *, after: int) -> None:
        self.position = position
        self.after = after
        super().__init__(
            f"the append condition failed: the event at position {position} (after {after}) "
            f"matches its query; read again, decide again, and append with the new position"
        )


class IdempotencyError(StoreError):
    """An event id is already in the store, for another event or in another place."""


class PartialDuplicateError(StoreError):
    """Some of the event ids of one append are in the store already and some are not."""


class QueryError(StoreError):
    """A SQL statement is refused, or fails."""


class ProjectionError(EslabError):
    """A projection is defined wrongly, or cannot do its work."""


class EventFailedError(ProjectionError):
    """A projection cannot apply an event: it does not fit its class, or its handler failed.

    Attributes:
        projection: the name of the projection.
        position: of the event.
        reason: what failed.
    """

    def __init__(self, projection: str, position: int, shown: str, error: Exception) -> None:
        self.projection = projection
        self.position = position
        self.reason = f"{type(error).__name__}: {error_message(error)}"
        super().__init__(
            f"projection {projection!r} stopped at {shown}: {self.reason}; its read model holds "
            f"what was before that event. Mend what failed, and define and project it again"
        )


class SagaError(EslabError):
    """A saga is used wrongly, or cannot do its work."""


class SagaDefinitionError(SagaError):
    """A saga cannot be run as it is defined."""


class SagaNotFoundError(SagaError):
    """There is no saga of that name and id."""

    def __init__(self, name: str, saga_id: str) -> None:
        super().__init__(f"there is no saga {name!r} with the id {saga_id!r}: nothing started it")


class TimerError(SagaError):
    """A timer cannot be set so."""


def error_message(error: Exception) -> str:
    """Return what an error says: its class is somebody's, and may not even say that.

    A text that is no UTF-8 could not be stored beside the event.
    """
    try:
        return str(error).encode(errors="backslashreplace").decode()
    except Exception as worse:
        return f"(it cannot say what: {type(worse).__name__})"
