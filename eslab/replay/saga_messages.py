"""What the stream of a saga or of a process manager tells of the messages that it sent and got."""

from __future__ import annotations

from typing import Any, Final, Literal

from eslab.errors import EslabError
from eslab.events import RecordedEvent
from eslab.replay.drafts import Draft, Drafts
from eslab.replay.messages import Outcome, text_of
from eslab.sagas import SAGA_EVENTS
from eslab.sagas.definition import step_key
from eslab.sagas.instances import CATEGORY
from eslab.sagas.state import NO_ANSWER
from eslab.schema import decode

__all__ = ["SagaReader", "is_of_saga"]

_CLASSES: Final = {cls.event_type: cls for cls in SAGA_EVENTS}

Way = Literal["execute", "compensate"]


def is_of_saga(event: RecordedEvent) -> bool:
    """Say whether a saga recorded an event about itself, and not somebody what only looks so."""
    if event.category != CATEGORY or event.type not in _CLASSES:
        return False
    try:
        decode(event, _CLASSES[event.type])
    except EslabError:
        return False
    return True


class SagaReader:
    """Reads one stream, event by event.

    What a saga decides, it decides because of what came in last: an answer, a timer, an event. So
    that is the cause of what it records until something else comes in.

    Args:
        stream_id: the stream.
        drafts: takes the messages.
    """

    def __init__(self, stream_id: str, drafts: Drafts) -> None:
        self._stream_id = stream_id
        self._drafts = drafts
        self._came: str | None = None  # the id of what came in last
        self._last: dict[tuple[str, Way], Draft] = {}  # of a step: what was sent or answered last
        self._timers: dict[str, tuple[str, str | None]] = {}  # for what each is, and its cause
        self._commands: dict[str, list[Draft]] = {}  # a process manager's, with their attempts

    def read(self, event: RecordedEvent) -> None:
        """Read the next event."""
        match event.type:
            case "SagaStarted":
                self._started(event)
            case "StepStarted" | "CompensationStarted":
                self._step_started(event)
            case "SagaCompleted" | "SagaCompensated" | "SagaStuck" | "SagaResumed":
                self._stands(event)
            case "ProcessStopped":
                self._stands(event)
            case "CommandSent":
                self._command_sent(event)
            case "CommandDelivered" | "CommandRefused" | "CommandFailed":
                self._command_answered(event)
            case "InputReceived":
                self._received(event)
            case "InputFailed":
                self._input_failed(event)
            case "TimerSet":
                self._timer_set(event)
            case "TimerFired":
                self._timer_fired(event)
            case _ if "step" in event.data:
                self._step_ended(event)
            case _:
                self._note(event)

    # What is said of most.

    def _add(self, event: RecordedEvent, draft: Draft, *, comes: bool = False) -> Draft:
        draft.event = event
        draft.source = draft.source or self._stream_id
        self._drafts.add(draft)
        if comes:
            self._came = draft.id
        return draft

    def _because(self, event: RecordedEvent) -> str | None:
        return self._came or text_of(event.metadata.causation_id)

    def _note(self, event: RecordedEvent) -> None:
        because = text_of(event.metadata.causation_id) or self._came
        self._add(event, Draft(str(event.event_id), "note", event.type, because=because))

    # Steps.

    def _step_started(self, event: RecordedEvent) -> None:
        step, attempt, way = event.data["step"], event.data["attempt"], _way(event)
        command = event.data.get("command")
        before = self._last.get((step, way)) if attempt > 1 else None
        draft = Draft(
            "",
            "command" if command else "call",
            _class_name(command) if command else step,
            event,
            because=self._because(event) if before is None else before.id,
            source=self._stream_id,
            attempt=attempt,
            compensates=way == "compensate",
            detail=_step_text(event, way),
            recorded=command,
        )
        self._drafts.send(str(step_key(self._stream_id, step, way)), draft)
        self._last[step, way] = draft

    def _step_ended(self, event: RecordedEvent) -> None:
        step, attempt = event.data["step"], event.data["attempt"]
        way: Way = event.data.get("kind") or _way(event)
        key = str(step_key(self._stream_id, step, way))
        sent = key if attempt == 1 else f"{key}#{attempt}"
        asked = self._drafts.get(sent)
        timed_out = event.type.endswith("TimedOut")
        error = event.data.get("error")
        outcome: Outcome = "timed out" if timed_out else "failed" if error else "ok"
        draft = Draft(
            str(event.event_id),
            "timeout" if timed_out else "reply",
            step,
            # An event answered it; else whoever carried it out.
            because=text_of(event.metadata.causation_id)
            or (self._came if asked is None else asked.id),
            targets=[self._stream_id],
            attempt=attempt,
            compensates=way == "compensate",
            outcome=outcome,
            detail=_late(event, NO_ANSWER if timed_out else error or ""),
        )
        if asked is not None:
            asked.outcome = outcome
        self._add(event, draft, comes=True)
        self._last[step, way] = draft

    # Where it stands.

    def _started(self, event: RecordedEvent) -> None:
        because = text_of(event.metadata.causation_id)
        self._add(
            event, Draft(str(event.event_id), "saga", event.type, because=because), comes=True
        )

    def _stands(self, event: RecordedEvent) -> None:
        stuck = event.type == "SagaStuck"
        failed = event.data.get("failed_step")
        detail = event.data.get("error") or event.data.get("reason") or ""
        draft = Draft(
            str(event.event_id),
            "saga",
            event.type,
            because=self._because(event),
            outcome="stuck" if stuck else "",
            detail=f"{failed} failed" if failed else detail,
        )
        self._add(event, draft, comes=True)

    # A process manager: what comes, its timers, its commands.

    def _received(self, event: RecordedEvent) -> None:
        id, kind = event.data["message_id"], event.data["kind"]
        if kind == "event":
            # What starts it is handled at once: then its start is what came in last.
            begun = self._drafts.get(self._came)
            if begun is None or begun.name != "SagaStarted" or begun.because != id:
                self._came = id
        self._add(event, Draft(str(event.event_id), "note", event.type, because=self._came))

    def _input_failed(self, event: RecordedEvent) -> None:
        if event.data["kind"] == "event":
            self._came = event.data["message_id"]
        draft = Draft(
            str(event.event_id),
            "saga",
            f"{event.data['type']} not handled",
            because=self._came,
            outcome="failed",
            detail=event.data["error"],
        )
        self._add(event, draft, comes=True)

    def _timer_set(self, event: RecordedEvent) -> None:
        self._timers[event.data["timer"]] = event.data["purpose"], self._because(event)
        self._note(event)

    def _timer_fired(self, event: RecordedEvent) -> None:
        name = event.data["timer"]
        purpose, because = self._timers.pop(name, ("process", None))
        retried = self._commands.get(name.removeprefix("retry of "))
        if purpose == "process":
            draft = Draft(str(event.event_id), "timer", name, because=because)
            self._add(event, draft, comes=True)
        elif purpose == "retry" and retried:
            self._again(retried, event, because, retried[-1].attempt + 1)
        else:
            self._note(event)

    def _command_sent(self, event: RecordedEvent) -> None:
        id, command = event.data["command_id"], event.data["command"]
        draft = Draft(
            "",
            "command",
            _class_name(command),
            event,
            because=self._because(event),
            source=self._stream_id,
            attempt=1,
            recorded=command,
        )
        self._commands[id] = [self._drafts.send(id, draft)]

    def _again(
        self, sent: list[Draft], event: RecordedEvent | None, because: str | None, attempt: int
    ) -> None:
        """Take note that a command is sent once more."""
        first = sent[0]
        draft = Draft(
            "",
            "command",
            first.name,
            event,
            because=because,
            source=self._stream_id,
            attempt=attempt,
            detail=f"attempt {attempt}",
            recorded=first.recorded,
        )
        sent.append(self._drafts.send(first.id, draft))

    def _command_answered(self, event: RecordedEvent) -> None:
        sent = self._commands.get(event.data["command_id"], [])
        error = event.data.get("error") or event.data.get("reason") or ""
        attempt = event.data.get("attempt", sent[-1].attempt if sent else 1)
        if sent and sent[-1].attempt < attempt:  # at once, without a timer
            self._again(sent, None, self._came, attempt)
        asked = next((one for one in sent if one.attempt == attempt), None)
        outcome = _ANSWERS[event.type]
        if error == NO_ANSWER:
            outcome = "timed out"
        draft = Draft(
            str(event.event_id),
            "timeout" if outcome == "timed out" else "reply",
            asked.name if asked else event.type,
            because=self._came if asked is None else asked.id,
            targets=[self._stream_id],
            attempt=attempt,
            outcome=outcome,
            detail=error,
        )
        if asked is not None:
            asked.outcome = outcome
        self._add(event, draft, comes=True)


_ANSWERS: Final[dict[str, Outcome]] = {
    "CommandDelivered": "ok",
    "CommandRefused": "refused",
    "CommandFailed": "failed",
}


def _way(event: RecordedEvent) -> Way:
    return "compensate" if event.type.startswith("Compensation") else "execute"


def _class_name(command: dict[str, Any]) -> str:
    return str(command.get("type", "command")).rpartition(".")[2]


def _step_text(event: RecordedEvent, way: Way) -> str:
    words = [f"undoes {event.data['step']}" if way == "compensate" else event.data["step"]]
    if event.data["attempt"] > 1:
        words.append(f"attempt {event.data['attempt']}")
    return ", ".join(words)


def _late(event: RecordedEvent, text: str) -> str:
    if event.type != "LateReplyReceived":
        return text
    return f"late: {text}" if text else "late"
