"""Messages while the log is read: each gets its cause and its target when all of them are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eslab.events import RecordedEvent
from eslab.messaging.commands import CommandRevoked
from eslab.replay.messages import Message, MessageKind, Outcome, Target, text_of

__all__ = ["Draft", "Drafts"]


@dataclass(slots=True)
class Draft:
    """A message that is being found out about.

    Attributes:
        because: the id of its cause as it is recorded: of a message, an event, or a command.
        recorded: the command as a saga recorded it.
    """

    id: str
    kind: MessageKind
    name: str
    event: RecordedEvent | None = None
    because: str | None = None
    source: str | None = None
    targets: list[str] = field(default_factory=list)
    actor: str | None = None
    attempt: int = 0
    compensates: bool = False
    outcome: Outcome = ""
    detail: str = ""
    recorded: Mapping[str, Any] | None = None

    def message(self) -> Message:
        """Return what was found out."""
        return Message(
            id=self.id,
            kind=self.kind,
            name=self.name,
            event=self.event,
            cause=self.because,
            source=self.source,
            targets=tuple(self.targets),
            actor=self.actor,
            attempt=self.attempt,
            compensates=self.compensates,
            outcome=self.outcome,
            detail=self.detail,
        )


class Drafts:
    """The messages that events tell of, while these are read in the order of the log."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}
        self._of_event: dict[str, str] = {}
        self._attempts: dict[str, list[Draft]] = {}

    def get(self, id: str | None) -> Draft | None:
        """Return the message with this id, if there is one yet."""
        return None if id is None else self._drafts.get(id)

    def add(self, draft: Draft) -> Draft:
        """Add a message; where another one has its id, it gets the next one that is free."""
        wanted, number = draft.id, 1
        while draft.id in self._drafts:
            number += 1
            draft.id = f"{wanted}#{number}"
        self._drafts[draft.id] = draft
        if draft.event is not None:
            self._of_event[str(draft.event.event_id)] = draft.id
        return draft

    def send(self, command_id: str, draft: Draft) -> Draft:
        """Add an attempt to have a command carried out, or a function called."""
        draft.id = command_id if draft.attempt <= 1 else f"{command_id}#{draft.attempt}"
        self._attempts.setdefault(command_id, []).append(draft)
        return self.add(draft)

    def event(self, event: RecordedEvent) -> None:
        """Add an event that is no saga's."""
        kind: MessageKind = "event"
        because = text_of(event.metadata.causation_id)
        if event.type == CommandRevoked.event_type and "command_id" in event.data:
            kind, because = "note", str(event.data["command_id"])
        draft = Draft(str(event.event_id), kind, event.type, event, because, event.stream_id)
        self.add(draft)

    def messages(self, target: Target | None = None) -> list[Message]:
        """Return what was found out, when all events were read.

        Args:
            target: says for which stream a command is that recorded nothing.
        """
        for draft in list(self._drafts.values()):
            draft.because = self._cause(draft)
        children: dict[str, list[Draft]] = {}
        for draft in self._drafts.values():
            if draft.because is not None:
                children.setdefault(draft.because, []).append(draft)
        self._aim(children, target)
        for draft in self._drafts.values():
            if draft.kind == "reply" and draft.because is not None:
                asked = self._drafts[draft.because]
                sent = asked.kind in ("command", "call")
                draft.source = next(iter(asked.targets), None) if sent else asked.source
        return [draft.message() for draft in self._drafts.values()]

    # What caused what.

    def _cause(self, draft: Draft) -> str | None:
        because = draft.because
        if because is None:
            return None
        if because in self._of_event:
            return self._of_event[because]
        if because in self._attempts:
            return self._attempt_before(because, draft)
        if because not in self._drafts:
            self._drafts[because] = self._unrecorded(because, draft)
        return because

    def _attempt_before(self, command_id: str, draft: Draft) -> str:
        """Return the last attempt that was begun when something was recorded."""
        attempts = self._attempts[command_id]
        if draft.event is None:
            return attempts[0].id
        before = [
            one
            for one in attempts
            if one.event is not None and one.event.position < draft.event.position
        ]
        return (before or attempts)[-1 if before else 0].id

    def _unrecorded(self, id: str, effect: Draft) -> Draft:
        """Return what caused something, and is not in the log itself."""
        assert effect.event is not None
        metadata = effect.event.metadata
        if effect.kind == "note":
            return Draft(id, "command", "command", outcome="refused", detail="it was revoked")
        if text_of(metadata.command_id) != id:
            return Draft(id, "unknown", "unknown", detail="it is not in this log")
        own = id == text_of(metadata.correlation_id)
        return Draft(
            id,
            "command",
            text_of(metadata.command_type) or "command",
            actor=text_of(metadata.actor),
            detail="" if own else "what caused it is not recorded",
        )

    # Who it went to.

    def _aim(self, children: Mapping[str, list[Draft]], target: Target | None) -> None:
        for draft in self._drafts.values():
            caused = children.get(draft.id, ())
            if draft.kind in ("command", "call"):
                draft.targets = _streams(one for one in caused if one.kind in ("event", "saga"))
            elif draft.kind in ("event", "unknown"):
                found = _streams(caused)
                draft.targets = [stream for stream in found if stream != draft.source]
        for attempts in self._attempts.values():
            _aim_alike(attempts, target)


def _streams(drafts: Iterable[Draft]) -> list[str]:
    found = (draft.event.stream_id for draft in drafts if draft.event is not None)
    return list(dict.fromkeys(found))


def _aim_alike(attempts: list[Draft], target: Target | None) -> None:
    """Let attempts that recorded nothing go where the others went, or where their command goes."""
    known = next((one.targets for one in attempts if one.targets), [])
    recorded = attempts[0].recorded
    if not known and recorded is not None and target is not None:
        stream = target(recorded)
        known = [] if stream is None else [stream]
    for one in attempts:
        one.targets = one.targets or list(known)
