"""The replay player as a view: where it stands, what it shows, and what it tries out."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from eslab import Aggregate, Event, Lab, NewEvent, applies
from eslab.errors import InputError
from eslab.replay.what_if import Finding, Outcome, Section, Wish
from eslab.simulation.scenarios.accounts import OpenAccount, account
from eslab.views import StreamPlayer
from eslab.views.versions import VersionsView

START = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = """<script>alert("it's")</script>"""


class Placed(Event):
    customer: str


class Added(Event):
    article: str
    quantity: int


class Removed(Event):
    article: str


class Order(Aggregate):
    customer: str = ""
    lines: dict[str, int] = {}  # noqa: RUF012 - copied for each instance
    total: Decimal = Decimal(0)

    @applies
    def placed(self, event: Placed) -> None:
        self.customer = event.customer

    @applies
    def added(self, event: Added) -> None:
        self.lines[event.article] = event.quantity
        self.total += event.quantity

    @applies
    def removed(self, event: Removed) -> None:
        self.total -= self.lines.pop(event.article)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=7) as opened:
        opened.register(Order)
        history = [
            Placed(customer=EVIL),
            Added(article="anvil", quantity=2),
            Added(article="rope", quantity=1),
            Removed(article="rope"),
            Added(article="anvil", quantity=5),
        ]
        for number, event in enumerate(history):
            moment = START + timedelta(minutes=10 * number)
            opened.append("order-1", [event], occurred_at=moment)
        yield opened


@pytest.fixture
def player(lab: Lab) -> StreamPlayer:
    return lab.replay("order-1")


# Where it stands.


def test_it_is_moved_to_a_version_a_moment_or_a_type(player: StreamPlayer) -> None:
    player.seek(START + timedelta(minutes=25))
    assert player.version == 3
    player.seek(Added)
    assert player.version == 5
    player.seek(1)
    player.seek("Removed")
    assert player.version == 4


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        (START - timedelta(seconds=1), "nothing had occurred by 2025-12-31 23:59:59 UTC"),
        (Placed, "no Placed comes behind version 1"),
        ("Nobody", "no Nobody comes behind version 1"),
        (datetime(2026, 1, 1), "aware"),  # noqa: DTZ001 - that is the fault
        (None, "a player is moved to a version"),
        (6, "versions 1 to 5, not 6"),
    ],
)
def test_where_it_cannot_be_moved_it_stays(player: StreamPlayer, to: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        player.seek(to)
    assert player.version == 1


def test_where_the_clock_went_back_time_stands_still(lab: Lab) -> None:
    lab.append("order-1", [Placed(customer="b")], occurred_at=START)
    player = lab.replay("order-1")
    assert player.moments[-2:] == [START + timedelta(minutes=40)] * 2
    player.seek(START + timedelta(minutes=5))
    assert player.version == 1


def test_it_finds_the_first_version_and_goes_there(player: StreamPlayer) -> None:
    found = player.first(lambda order: order.total > 2)
    assert found is not None
    assert found.number == player.version == 3
    assert player.first(lambda order: order.total > 99) is None
    assert player.version == 3


def test_breakpoints_pins_and_moves_are_told_to_who_listens(player: StreamPlayer) -> None:
    heard: list[str] = []
    end = player.listen(lambda: heard.append(f"{player.version} {len(player.breakpoints)}"))
    player.breakpoint(lambda order: order.total > 2, name="over 2")
    player.breakpoint(lambda order: "rope" in order.lines, name="over 2")
    assert repr(player.breakpoints) == "(<Breakpoint 'over 2' at 3>,)"
    player.clear_breakpoints()
    assert player.pin("lines.anvil").tolist()[1:] == [2, 2, 2, 5]
    player.pin("lines.anvil")
    assert player.pins == ("lines.anvil",)
    player.unpin("lines.anvil")
    player.seek(2)
    end()
    player.seek(3)
    assert heard == ["1 1", "1 1", "1 0", "1 0", "1 0", "2 0"]


def test_a_path_that_is_none_is_not_pinned(player: StreamPlayer) -> None:
    with pytest.raises(InputError, match="a path is such as"):
        player.pin("lines[")
    assert player.pins == ()


# What it shows.


def test_the_picture_is_of_where_it_stands_and_the_same_each_time(player: StreamPlayer) -> None:
    player.seek(4)
    picture = player.svg()
    assert picture == player.svg()
    texts = [node.text for node in ET.fromstring(picture).iter() if node.text]
    assert "version 4 of 5: Removed, 2026-01-01 00:30:00 UTC" in texts
    assert texts[texts.index("-") : texts.index("-") + 3] == ["-", "lines.rope: 1", "~"]
    assert 'total: "3" → "2"' in texts
    assert f'alt="{html.escape(player.digest)}"' in player.html()
    player.seek(5)
    assert player.svg() != picture


def test_the_picture_says_what_was_not_applied_and_shows_text_as_text(lab: Lab) -> None:
    lab.store.append("order-1", [NewEvent(EVIL, {EVIL: EVIL})])
    player = lab.replay("order-1")
    player.seek(6)
    picture = player.svg()
    assert "<script" not in picture
    assert "not applied" in picture
    assert "no event class is registered" in picture


def test_the_picture_of_many_events_is_not_larger(lab: Lab) -> None:
    few = len(lab.replay("order-1").svg())
    lab.append("order-2", [Added(article=f"a{n}", quantity=1) for n in range(3_000)])
    player = lab.replay("order-2")
    player.breakpoint(lambda _, event: event.data["article"][-1] == "7")
    player.seek(2_000)
    assert len(player.svg()) < 30 * few
    assert "2,000" in player.svg()


def test_the_digest_of_several_streams(lab: Lab) -> None:
    lab.append("order-2", [Placed(customer="Bob")])
    player = lab.replay(category="order", types=[Placed])
    player.seek(2)
    digest = player.frame.digest
    assert player.digest == (
        f"StreamPlayer(category order, Placed 2/2 order-2 v1 Placed state=sha256:{digest}...)"
    )
    assert "order-2 v1" in player.html()


def test_two_versions_side_by_side(player: StreamPlayer) -> None:
    player.seek(5)
    found = player.compare(3)
    assert found.digest == "Versions(order-1 3 -> 5: 1 disappeared, 2 changed)"
    assert found.df.values.tolist() == [
        ["~", "lines.anvil", "2", "5"],
        ["-", "lines.rope", "1", None],
        ["~", "total", '"3"', '"7"'],
    ]
    assert "lines.rope" in found.html()
    assert found.figure().data[0].x == (0, 1, 2)
    assert player.compare(2, 2).digest == "Versions(order-1 2 -> 2: the same state)"
    with pytest.raises(InputError, match="versions 1 to 5, not 9"):
        VersionsView(player.replay, 1, 9)


# What is tried out.


def test_wishes_are_told_by_positions(player: StreamPlayer) -> None:
    heard: list[Wish] = []

    def try_out(wishes: Any) -> Outcome:
        heard.extend(wishes)
        return Outcome("done", (Section("Events", (Finding("-", "skipped"),)),))

    trying = StreamPlayer(player.replay, what_if=try_out)
    outcome = trying.what_if(
        {"action": "skip", "version": 2},
        {"action": "edit", "version": 3, "data": '{"quantity": 4}'},
        {"action": "move", "version": 4, "after": 0},
        {"action": "insert", "version": 5, "type": "Placed", "data": '{"customer": "c"}'},
    )
    assert str(outcome) == "done\nEvents:\n  - skipped"
    assert heard == [
        Wish("skip", 2, "order-1"),
        Wish("edit", 3, "order-1", {"quantity": 4}),
        Wish("move", 4, "order-1", after=0),
        Wish("insert", 5, "order-1", {"customer": "c"}, "Placed"),
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"action": "skip", "version": 9}, "versions 1 to 5, not 9"),
        ({"action": "skip"}, "versions 1 to 5, not None"),
        ({"action": "burn", "version": 1}, "what to do is one of skip"),
        ({"action": "edit", "version": 1}, "data must be said"),
        ({"action": "edit", "version": 1, "data": "["}, "no JSON"),
        ({"action": "edit", "version": 1, "data": "[1]"}, "JSON object"),
        ({"action": "edit", "version": 1, "data": "[" * 99_999}, "no JSON"),
        ({"action": "insert", "version": 1, "type": 5, "data": "{}"}, "by its name, not 5"),
        ("skip", "a wish is a dict"),
        ({"action": "move", "version": 1, "after": 77}, "not 77"),
        ({"action": "edit", "version": 2, "data": '{"quantity": "x"}'}, "does not fit Added"),
        ({"action": "insert", "version": 1, "type": "Added", "data": "{}"}, "no Added: article"),
        ({"action": "command", "version": 1, "type": "Do", "data": "{}"}, "no command 'Do'"),
    ],
)
def test_what_cannot_be_tried_out_is_said(player: StreamPlayer, said: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        player.what_if(said)


def test_nothing_can_be_tried_out_without_a_lab(player: StreamPlayer) -> None:
    with pytest.raises(InputError, match="nothing can be tried out"):
        StreamPlayer(player.replay).what_if({"action": "skip", "version": 1})
    with pytest.raises(InputError, match="say first"):
        player.what_if()


def test_an_event_that_is_skipped_shows_what_cannot_be_applied_then(
    lab: Lab, player: StreamPlayer
) -> None:
    before = lab.fingerprint()
    outcome = player.what_if({"action": "skip", "version": 3})
    told = str(outcome)
    assert "- order-1 v3 Added skipped" in told
    assert "! order-1 v4 Removed cannot be applied: KeyError: 'rope'" in told
    assert "~ order-1 total: " in told
    assert "branch.json" in outcome.exports
    assert lab.fingerprint() == before


def test_what_changes_nothing_in_the_end_is_said(player: StreamPlayer) -> None:
    told = str(player.what_if({"action": "move", "version": 1, "after": 2}))
    assert "~ order-1 v1 Placed moved" in told
    assert "= states, read models and sagas end as they do in the base" in told


def test_commands_are_carried_out_as_things_stood_then() -> None:
    with Lab(seed=7) as lab:
        lab.register(account)
        lab.execute(OpenAccount(account_id="a-1", owner="Ann"))
        player = lab.replay("account-a-1")
        assert "Deposit" in player.choices.commands
        deposit = {"action": "command", "version": 1, "type": "Deposit"}
        told = player.what_if(
            {**deposit, "data": '{"account_id": "a-1", "amount": 5}'},
            {**deposit, "type": "Withdraw", "data": '{"account_id": "a-1", "amount": 99}'},
        )
        assert "+ Deposit: MoneyDeposited" in str(told)
        assert "! Withdraw is refused" in str(told)
        assert "~ account-a-1 balance: 0 → 5" in str(told)
        assert lab.store.head() == 1


def test_what_was_recorded_behind_a_command_is_no_consequence_of_it() -> None:
    with Lab(seed=7) as lab:
        lab.register(account)
        for number in (1, 2):
            lab.execute(OpenAccount(account_id=f"a-{number}", owner="Ann"))
        player = lab.replay(category="account")
        deposit = {"action": "command", "version": 1, "type": "Deposit"}
        told = str(player.what_if({**deposit, "data": '{"account_id": "a-1", "amount": 5}'}))
        assert "~ account-a-1 balance: 0 → 5" in told
        assert "a-2" not in told


def test_in_a_replay_of_a_query_wishes_are_for_the_streams_of_its_frames(
    lab: Lab, player: StreamPlayer
) -> None:
    several = lab.replay(types=["Added"])
    assert several.frame.event.version == 2
    told = str(several.what_if({"action": "skip", "version": 1}))
    assert "- order-1 v2 Added skipped" in told
    with lab.branch(at=3) as branch:
        told = str(branch.replay("order-1").what_if({"action": "skip", "version": 2}))
    assert "- order-1 v2 Added skipped" in told


def test_a_line_of_what_comes_of_it_has_an_end(player: StreamPlayer) -> None:
    event = {"action": "insert", "version": 1, "type": "x" * 10_000, "data": "{}"}
    findings = player.what_if(event).sections[0].findings
    assert max(len(finding.text) for finding in findings) == 300
