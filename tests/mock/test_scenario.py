"""Scenarios: which command a rule hits, what befalls it, and what is said of a file that is wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.faults import Fault
from mock_server.scenario import Latency, Scenario, Turn, read_scenario, scenario_of
from tn_contract.contract.corpus import load_corpus
from tn_contract.contract.errors import UsageError

CORPUS = load_corpus()
SECOND = 10**9
CANCEL = "delTradeOrder"


def scenario(*rules: dict[str, object], seed: int = 0) -> Scenario:
    return scenario_of({"rule": list(rules), "seed": seed}, CORPUS)


def turns(played: Scenario, count: int, **asked: object) -> list[Turn | None]:
    at = {"session": "key", "command": CANCEL, "order_id": "7", "every": 0, **asked}
    return [
        played.turn(str(at["session"]), str(at["command"]), str(at["order_id"]), number * int(str(at["every"])))
        for number in range(count)
    ]


def hits(played: Scenario, count: int, **asked: object) -> list[bool]:
    return [turn is not None for turn in turns(played, count, **asked)]


# ---- which -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ({"order_id": 7}, {"order_id": "7"}),
        ({"order_id": "7"}, {"order_id": "7"}),
        ({"command": CANCEL}, {"command": CANCEL}),
        ({"session": "key"}, {"session": "key"}),
        ({}, {}),
    ],
)
def test_a_rule_hits_what_it_speaks_of(condition: dict[str, object], asked: dict[str, object]) -> None:
    assert hits(scenario({**condition, "fault": "drop"}), 2, **asked) == [True, True]


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ({"order_id": 7}, {"order_id": "8"}),
        ({"command": "putTradeOrder"}, {"command": CANCEL}),
        ({"session": "other"}, {"session": "key"}),
        ({"order_id": 7, "session": "other"}, {"order_id": "7", "session": "key"}),
    ],
)
def test_a_rule_leaves_alone_what_it_does_not_speak_of(condition: dict[str, object], asked: dict[str, object]) -> None:
    assert hits(scenario({**condition, "fault": "drop"}), 2, **asked) == [False, False]


def test_an_empty_order_id_speaks_of_commands_that_name_no_order() -> None:
    assert hits(scenario({"order_id": "", "fault": "drop"}), 1, order_id="") == [True]


def test_a_command_that_the_mock_does_not_know_may_be_hit() -> None:
    assert hits(scenario({"command": "getQuotes", "fault": "drop"}), 1, command="getQuotes") == [True]


@given(skip=st.integers(0, 5), times=st.none() | st.integers(1, 5), asked=st.integers(0, 12))
def test_the_first_pass_then_some_are_hit_then_all_pass_again(skip: int, times: int | None, asked: int) -> None:
    rule: dict[str, object] = {"fault": "drop", "skip": skip} | ({} if times is None else {"times": times})
    last = asked if times is None else skip + times
    assert hits(scenario(rule), asked) == [skip <= number < last for number in range(asked)]


def test_the_first_rule_with_turns_left_decides() -> None:
    played = scenario({"fault": "drop", "times": 1}, {"fault": "reset", "times": 1})
    assert [turn and turn.told for turn in turns(played, 3)] == ["rule 1", "rule 2", None]


def test_a_token_bucket_hits_what_is_too_much() -> None:
    played = scenario({"payload": "rate-limited", "rate": {"per_second": 2, "burst": 3}})
    assert hits(played, 8, every=SECOND // 4) == [False, False, False, False, False, True, False, True]


@given(st.floats(0.5, 50), st.integers(1, 9), st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=60))
def test_a_token_bucket_never_lets_more_through_than_it_says(rate: float, burst: int, pauses: list[int]) -> None:
    played = scenario({"payload": "rate-limited", "rate": {"per_second": rate, "burst": burst}})
    now, passed = 0, 0
    for pause in pauses:
        now += pause
        passed += played.turn("key", CANCEL, "7", now) is None
    assert passed <= burst + rate * now / SECOND + 1e-6


# ---- what --------------------------------------------------------------------------------------------------


def test_a_fault_has_its_parameters() -> None:
    rule = {"name": "cut", "fault": "cut-off", "after": 30, "seconds": 0.5, "when": "after-apply"}
    assert turns(scenario(rule), 1) == [Turn("cut", None, Fault("cut-off", 0.5, 30), True)]


@pytest.mark.parametrize(
    ("happens", "applied"),
    [
        ({"fault": "delay"}, True),
        ({"fault": "dribble"}, True),
        ({"latency": {"median": 0.1, "p99": 0.2}}, True),
        ({"twice": True}, True),
        ({"fault": "drop"}, False),
        ({"fault": "drop", "when": "after-apply"}, True),
        ({"fault": "delay", "payload": "http-502"}, False),
        ({"payload": "rate-limited"}, False),
        ({"payload": "rate-limited", "when": "after-apply"}, True),
    ],
)
def test_a_command_is_done_or_not(happens: dict[str, object], applied: bool) -> None:
    (turn,) = turns(scenario(happens), 1)
    assert turn is not None
    assert turn.applied is applied


@given(st.integers(0, 2**32), st.floats(0.001, 1), st.floats(1, 20))
def test_what_is_drawn_is_drawn_again_under_the_same_seed(seed: int, median: float, spread: float) -> None:
    rules = [
        {"fault": "drop", "chance": 0.3},
        {"latency": {"median": median, "p99": median * spread}, "chance": 0.5},
    ]
    assert turns(scenario(*rules, seed=seed), 30) == turns(scenario(*rules, seed=seed), 30)


def test_what_other_rules_draw_changes_nothing() -> None:
    other = {"order_id": 8, "fault": "reset", "chance": 0.5}
    quiet = scenario(other, {"order_id": 7, "fault": "drop", "chance": 0.5}, seed=3)
    busy = scenario(other, {"order_id": 7, "fault": "drop", "chance": 0.5}, seed=3)
    fates = []
    for _ in range(40):
        fates.append(busy.turn("key", CANCEL, "7", 0))
        busy.turn("key", CANCEL, "8", 0)
    assert turns(quiet, 40) == fates


def test_rules_that_are_alike_draw_apart() -> None:
    rule = {"fault": "drop", "chance": 0.5, "session": "a"}
    played = scenario(rule, {**rule, "session": "b"})
    assert hits(played, 40, session="a") != hits(played, 40, session="b")


def test_latencies_have_the_median_and_the_percentile_that_were_asked_for() -> None:
    played = scenario({"latency": {"median": 0.1, "p99": 0.8}}, seed=1)
    drawn = sorted(turn.fault.seconds or 0 for turn in turns(played, 4000) if turn and turn.fault)
    assert drawn[2000] == pytest.approx(0.1, rel=0.1)
    assert drawn[3960] == pytest.approx(0.8, rel=0.2)
    assert Latency(0.1, 0.1).draw(random.Random(1)) == pytest.approx(0.1)


def test_no_latency_passes_a_day() -> None:
    played = scenario({"latency": {"median": 1e-6, "p99": 86400}}, seed=1)
    drawn = [turn.fault.seconds or 0 for turn in turns(played, 4000) if turn and turn.fault]
    assert max(drawn) == 86400


def test_a_chance_hits_its_share() -> None:
    assert sum(hits(scenario({"fault": "drop", "chance": 0.2}, seed=3), 4000)) == pytest.approx(800, rel=0.1)


# ---- what came of it ---------------------------------------------------------------------------------------


def test_rules_that_hit_nothing_are_named() -> None:
    played = scenario(
        {"fault": "drop", "times": 1}, {"name": "never", "fault": "reset", "order_id": 8}, {"twice": True}
    )
    turns(played, 3)
    assert played.unused() == ["never"]
    assert played.played() == [
        {"rule": "rule 1", "matched": 3, "hit": 1},
        {"rule": "never", "matched": 0, "hit": 0},
        {"rule": "rule 3", "matched": 2, "hit": 2},
    ]


def test_a_rule_that_hit_before_the_scenario_began_afresh_is_not_idle() -> None:
    played = scenario({"fault": "drop", "order_id": 1}, {"name": "never", "fault": "reset", "order_id": 8})
    turns(played, 1, order_id="1")
    again = played.afresh()
    assert (again.unused(), again.idle()) == (["rule 1", "never"], ["never"])
    assert scenario({"fault": "drop"}).idle() == ["rule 1"]


# ---- files -------------------------------------------------------------------------------------------------

WRONG = [
    ('[[rule]]\nfault = "drop"\n\n[[rule]]\ntimes = 0\nfault = "drop"', "line 5: rule 2, times: Expected `int` >= 1"),
    ('[[rule]]\nfault = "explode"', "line 2: rule 1, fault: Invalid enum value 'explode': choose from delay, "),
    ('[[rule]]\nfault = "drop"\nwhen = "now"', "Invalid enum value 'now': choose from before-apply, after-apply"),
    ('[[rule]]\nfaults = "drop"', "line 2: rule 1: Object contains unknown field `faults`: choose from name, "),
    ('[[rule]]\nlatency = { p50 = 1 }', "rule 1, latency: Object contains unknown field `p50`: choose from median, "),
    ('[[rule]]\norder_id = 7', "line 1: rule 1: nothing happens by it"),
    ('[[rule]]\npayload = "nobody"', "line 1: rule 1: no payload is called 'nobody': `tn-contract list --replies`"),
    ('[[rule]]\npayload = "orders-listed"', "line 1: rule 1: the payload 'orders-listed' shows what the command came"),
    ('[[rule]]\nseconds = 1\npayload = "rate-limited"', "line 1: rule 1: seconds and after belong to a fault"),
    ('[[rule]]\nfault = "drop"\nlatency = { median = 1, p99 = 2 }', "line 1: rule 1: it has a fault and a latency"),
    ('[[rule]]\nlatency = { median = 1, p99 = 0.5 }', "the 99th percentile lies below the median"),
    ('[[rule]]\nlatency = { median = 0, p99 = 0.5 }', "line 2: rule 1, latency.median: Expected `float` >= 1e-06"),
    ('[[rule]]\nlatency = { median = 1, p99 = inf }', "line 2: rule 1, latency.p99: Expected `float` <= 86400.0"),
    ('[[rule]]\nfault = "delay"\nseconds = inf', "line 3: rule 1, seconds: Expected `float` <= 86400.0"),
    ('[[rule]]\nfault = "drop"\nrate = { per_second = inf }', "rule 1, rate.per_second: Expected `float` <= "),
    ('[[rule]]\ntwice = true\nwhen = "before-apply"', "leave everything else out"),
    ('[[rule]]\nfault = "delay"\nwhen = "before-apply"', "needs another answer"),
    ('[[rule]]\nrate = { burst = 1 }\nfault = "drop"', "line 2: rule 1, rate: Object missing required field"),
    ("[[rule]\n", "is no TOML: Expected ']]'"),
    ("rules = []", "line 1: Object contains unknown field `rules`: choose from rule, seed"),
    ('seed = 1\n[[rules]]\nfault = "drop"', "line 2: Object contains unknown field `rules`: choose from rule, seed"),
    ('\n[rule]\nfault = "drop"', "line 2: rule: Expected `array`, got `object`: each rule begins with "),
    ('seed = "x"\n[[rule]]\nfault = "drop"', "line 1: seed: Expected `int`, got `str`"),
    ('[[rule]]\ncommand = "delTradeorder"\nfault = "drop"', "no command is written 'delTradeorder': write delTrade"),
    ('[[rule]]\ncommand = ""\nfault = "drop"', "line 2: rule 1, command: Expected `str` of length >= 1"),
    ('[[rule]]\norder_id = -7\nfault = "drop"', "line 1: rule 1: no order has the id -7: choose one from 1 to 9223372"),
    ('[[rule]]\norder_id = "x1"\nfault = "drop"', "line 1: rule 1: no order has the id 'x1': choose one from 1 to 92"),
    ('[[rule]]\nfault = "drop"\nrate = { per_second = 1, burst = 1000000001 }', "line 3: rule 1, rate.burst: Expected"),
    ('[[rule]]\nfault = "drop"\n[rule.rate]\nper_second = 0', "line 4: rule 1, rate.per_second: Expected"),
    ('rule = [\n  { fault = "drop", times = 0 },\n]', "line 2: rule 1, times: Expected"),
    ('# a \u2028 b\n[[rule]]\ntimes = 0\nfault = "drop"', "line 3: rule 1, times: Expected"),
    ("", "missing required field `rule`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[text.replace("\n", " ") for text, _ in WRONG])
def test_a_wrong_file_is_refused_with_the_place_and_the_reason(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "storm.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_scenario(path, CORPUS)
    assert str(path) in str(refused.value)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [("rule=" + "[" * 3000, "nested too deep"), ("times=" + "9" * 5000, "integer")],
    ids=["nested", "digits"],
)
def test_a_file_that_no_reader_can_bear_is_a_usage_error(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "storm.toml").write_text(text)
    with pytest.raises(UsageError, match=f"storm.toml is no TOML: .*{told}"):
        read_scenario(tmp_path / "storm.toml", CORPUS)


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_scenario(tmp_path / "none.toml", CORPUS)
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not a text file in UTF-8"):
        read_scenario(tmp_path / "bytes.toml", CORPUS)
