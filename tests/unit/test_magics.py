"""The magics in a real IPython: which lab they take, what they show, refuse and complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import eslab

SETUP = """
import eslab
from eslab import Lab
from eslab.simulation.scenarios import orders
from eslab.simulation.scenarios.accounts import *
lab = Lab(seed=7)
lab.register(account)
lab.execute(OpenAccount(account_id="1", owner="Ann"))
lab.execute(Deposit(account_id="1", amount=30))
lab.execute(OpenAccount(account_id="2", owner="<b>Bob</b>"))
class Balance(eslab.Row, key="owner"):
    owner: str
    accounts: int = 0
class Balances(eslab.Projection):
    row = Balance
    @eslab.on
    def opened(self, event: AccountOpened, rows: eslab.Rows[Balance]) -> None:
        rows.ensure(owner=event.owner).accounts += 1
lab.project(Balances())
lab.run()
"""


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "eslab")
    shell.run_cell(SETUP).raise_error()
    yield shell
    for value in list(shell.user_ns.values()):
        if isinstance(value, eslab.Lab):
            value.close()
    shell.reset(new_session=False)


def run(shell: InteractiveShell, cell: str) -> Any:
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%events", "EventsView(3 events, 2 types, 2 streams)"),
        ("%events account-1", "EventsView(2 events, 2 types, 1 stream)"),
        ("%events --category account --type MoneyDeposited", "EventsView(1 event, 1 type"),
        ("%events --limit 1", "the newest 1)"),
        ("%events account-* --where 'version = 1'", "EventsView(2 events, 1 type"),
        ("%fleet", "FleetView(0 sagas)"),
        ("%flow --event 1", "MessageFlow(correlation"),
        ("%flow --event 2 --tree", "MessageFlow(correlation"),
        ("%lineage 2", "Lineage(MoneyDeposited account-1 v2"),
        ("%replay account-1", "StreamPlayer(account-1 v1/2 AccountOpened"),
        ("%replay account-1 --at 2", "StreamPlayer(account-1 v2/2 MoneyDeposited"),
        ("%lag", "ProjectionLag(balances: caught up"),
        ("%lag balances --window '5 min'", "ProjectionLag(balances: caught up"),
        ("%saga", "SagasView"),
        ("%sql select count(*) as n from events", "3"),
        ("%%sql\nselect owner\nfrom account_opened\nwhere owner = 'Ann'", "Ann"),
    ],
)
def test_a_line_shows_what_the_lab_would(shell: InteractiveShell, cell: str, said: str) -> None:
    assert said in repr(run(shell, cell))


def test_a_query_takes_variables_as_values_and_keeps_its_rows(shell: InteractiveShell) -> None:
    shell.user_ns["who"] = "Ann' or 'a' = 'a"
    assert run(shell, "%sql select * from account_opened where owner = $who").fetchall() == []
    shell.user_ns["who"] = "Ann"
    query = "select owner, '$x' as text -- $nothing\nfrom account_opened\nwhere owner = $who"
    run(shell, f"%%sql --as found\n{query}")
    assert shell.user_ns["found"].to_dict("records") == [{"owner": "Ann", "text": "$x"}]


GIVEN = {
    "events": "%%given account\nAccountOpened(owner='Ann')\n"
    "when\nDeposit(account_id='1', amount=3)\n"
    "then\nMoneyDeposited(amount=3)\nbalance = 3\nowner = 'Ann'",
    "an error": "%%given account\nwhen\nDeposit(account_id='1', amount=3)\nthen\neslab.DomainError",
    "its words": "%%given account\nAccountOpened(owner='Ann')\n"
    "when:\nWithdraw(account_id='1', amount=3)\n"
    "then:\neslab.DomainError('would be -3')",
    "only a state": "%%given account\nAccountOpened(owner='Ann'), MoneyDeposited(amount=4)\n"
    "%%when\nDeposit(account_id='1', amount=3)\n%%then\nbalance = 7",
    "rows": "%%given Balances()\nAccountOpened(owner='Ann')\nAccountOpened(owner='Ann')\nthen\n"
    "Balance(owner='Ann', accounts=2)",
}


@pytest.mark.parametrize("cell", GIVEN.values(), ids=GIVEN)
def test_a_rule_that_holds_shows_itself(shell: InteractiveShell, cell: str) -> None:
    outcome = run(shell, cell)
    assert repr(outcome).startswith("Given")
    assert "<table" in outcome._repr_html_()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (GIVEN["events"].replace("amount=3)\nbal", "amount=4)\nbal"), "-     amount = 4"),
        (GIVEN["events"].replace("balance = 3", "balance = 4"), "-     balance = 4"),
        (GIVEN["only a state"].replace("balance = 7", "balance = 8"), "-     balance = 8"),
        (GIVEN["an error"].replace("eslab.DomainError", "ValueError"), "ValueError was expected"),
        (GIVEN["its words"].replace("-3')", "-4')"), "with 'would be"),
        (GIVEN["rows"].replace("accounts=2", "accounts=3"), "accounts"),
    ],
)
def test_a_rule_that_does_not_hold_fails_with_what_differs(
    shell: InteractiveShell, cell: str, said: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        run(shell, cell)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%replay account-9", "account-9"),
        ("%replay", "required"),
        ("%replay account-1 --lab shop", "no variable 'shop' holds a lab (these do: lab)"),
        ("%events --limit many", "invalid int value"),
        ("%events --limit 0", "limit must be"),
        ("%lag nothing", "there is no projection 'nothing'"),
        ("%saga nothing-1", "nothing-1"),
        ("%flow", "takes one of correlation_id="),
        ("%flow --event 99", "99"),
        ("%lineage 99", "99"),
        ("%events --where drop", "drop"),
        ("%sql drop table events", "SELECT or EXPLAIN"),
        ("%sql select $nobody", "there is no 'nobody'"),
        ("%sql --as 2x select 1", "name of a variable"),
        ("%sql", "found: nothing"),
        ("%%given account\nwhen\nDeposit(account_id='1', amount=3)", "no line 'then'"),
        ("%%given account\nthen\nwhen\n", "stand once each"),
        ("%%given account\nwhen\nthen\n", "one command; found: 0 values"),
        ("%%given account\nimport os\nwhen\nthen\n", "line 1: these are values"),
        ("%%given account\nAccountOpened(owner='A'\nwhen\nthen\n", "never closed"),
        ("%%given nothing\nwhen\nthen\n", "nothing"),
        ("%%given 3\nwhen\nthen\n", "of= takes the class"),
    ],
)
def test_what_cannot_be_meant_is_said(shell: InteractiveShell, cell: str, said: str) -> None:
    with pytest.raises((UsageError, eslab.EslabError, SyntaxError, NameError)) as caught:
        run(shell, cell)
    assert said in str(caught.value)


def test_the_lab_is_the_one_that_is_meant(shell: InteractiveShell) -> None:
    shell.run_cell("shop = eslab.Lab(seed=1)").raise_error()
    assert "3 events" in repr(run(shell, "%events"))
    assert "0 events" in repr(run(shell, "%events --lab shop"))
    shell.run_cell("mine = lab\ndel lab").raise_error()
    with pytest.raises(UsageError, match="which lab: --lab mine, --lab shop"):
        run(shell, "%events")
    shell.run_cell("shop.close(); del shop").raise_error()
    assert "3 events" in repr(run(shell, "%events"))
    shell.run_cell("mine.close(); del mine").raise_error()
    with pytest.raises(UsageError, match="no lab yet"):
        run(shell, "%events")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("%replay acc", {"account-1", "account-2"}),
        ("%replay account-2", {"account-2"}),
        ("%events ", {"account-1", "account-2"}),
        ("%events --type Mon", {"MoneyDeposited"}),
        ("%events --category a", {"account"}),
        ("%events --lab l", {"lab"}),
        ("%lag b", {"balances"}),
    ],
)
def test_tab_completes_names(shell: InteractiveShell, line: str, wanted: set[str]) -> None:
    with provisionalcompleter():
        found = {one.text for one in shell.Completer.completions(line, len(line))}
    assert wanted <= found


def test_tab_completes_sagas_and_is_silent_without_a_lab(shell: InteractiveShell) -> None:
    shell.run_cell(
        "trip = eslab.Saga('trip', [eslab.Step('hotel', print)])\n"
        "lab.start_saga(trip, '1')\nlab.run()"
    ).raise_error()
    with provisionalcompleter():
        assert "trip-1" in {one.text for one in shell.Completer.completions("%saga tr", 8)}
        assert "SagaTimeline" in repr(run(shell, "%saga trip-1"))
        assert "MessageFlow" in repr(run(shell, "%flow trip-1"))
        shell.run_cell("lab.close(); del lab").raise_error()
        assert "trip-1" not in {one.text for one in shell.Completer.completions("%saga tr", 8)}


@pytest.mark.parametrize(
    "name", ["events", "replay", "lag", "saga", "fleet", "flow", "lineage", "sql"]
)
def test_each_says_what_it_takes(shell: InteractiveShell, name: str) -> None:
    magic = shell.find_line_magic(name)
    assert f"%{name}" in magic.__doc__
    assert "--lab" in magic.__doc__
