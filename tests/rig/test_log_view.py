"""Assertions on the log say what was expected and what came instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub.rig import LogView

if TYPE_CHECKING:
    from memhub.clock import ManualClock
    from memhub.rig import Clients

WINDOW = (0xD0000000, 1 << 24)


def record(seq: int, event: str, **fields: Any) -> dict[str, Any]:
    return {"seq": seq, "event": event, **fields}


RECORDS = [
    record(1, "request.open", process="Xorg", errno=None),
    record(2, "request.set", process="Xorg", errno=None, base=0xD0000000, slots=(89,)),
    record(3, "request.set", process="driver", errno="EBUSY", base=0xD0000000, slots=()),
    record(4, "request.set", process="driver", errno="EBUSY", base=0xE0000000, slots=()),
    record(5, "request.close", process="Xorg", errno=None),
]


@pytest.fixture
def log() -> LogView:
    return LogView(lambda: RECORDS)


def refusal(log: LogView, event: str, **fields: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        log.expect(event, **fields)

    return str(caught.value)


def test_a_record_that_came_is_found_with_its_fields(log: LogView) -> None:
    found = log.expect("request.set", errno="EBUSY", process="driver")

    assert (found.record["seq"], found["base"]) == (3, 0xD0000000)


def test_records_are_expected_in_order_counted_and_absent(log: LogView) -> None:
    first = log.expect("request.set", process="Xorg").then("request.set", errno="EBUSY", times=2)
    first.then("request.close").never("request.set")
    log.expect("request.set", times=3)
    log.expect_none("request.set", errno="ENOSPC")

    with pytest.raises(AssertionError, match=r"a record of request.open; there are none"):
        first.then("request.open")

    with pytest.raises(AssertionError, match=r"no record of request.set .*there are 2\nthese"):
        log.expect_none("request.set", errno="EBUSY")

    with pytest.raises(AssertionError, match=r"expected 3 records of request.set .*; there are 2"):
        log.expect("request.set", times=3, errno="EBUSY")


def test_values_are_equal_empty_items_or_judged_by_a_function(log: LogView) -> None:
    log.expect("request.set", slots=89)
    log.expect("request.set", slots=[89], errno=None)
    log.expect("request.set", base=lambda base: base > 0xD0000000, times=1)
    log.expect("request.set", slots=[], times=2)

    assert "base is 0xd0000000" in refusal(log, "request.set", base=lambda base: base < 9, slots=89)


def test_a_refusal_names_the_nearest_record_and_what_differs(log: LogView) -> None:
    assert refusal(log, "request.set", process="driver", errno="ENOSPC", base=0xE0000000) == (
        "expected a record of request.set with process 'driver', errno 'ENOSPC', "
        "base 0xe0000000; there are none\n"
        "nearest: #4 request.set driver EBUSY:\n"
        "  errno is 'EBUSY'\n"
        "all of request.set (3):\n"
        "  #2 request.set Xorg\n"
        "  #3 request.set driver EBUSY:\n"
        "  #4 request.set driver EBUSY:"
    )


def test_of_records_as_near_the_one_whose_fields_are_filled_is_named(log: LogView) -> None:
    rows = [
        record(1, "request.set", process="a", errno=None),
        record(2, "request.set", process="a", errno="ENOSPC"),
        record(3, "request.set", process="b", errno="ENOSPC"),
        record(4, "request.set", process="a", errno=None),
    ]
    view = LogView(lambda: rows)

    assert "nearest: #2 " in refusal(view, "request.set", process="a", errno="EBUSY")
    assert "nearest: #3 " in refusal(view, "request.set", errno="EBUSY")
    assert "nearest: #3 " in refusal(view, "request.set", process="c", errno="ENOSPC")


def test_what_is_expected_behind_a_record_says_behind_which(log: LogView) -> None:
    last = log.expect("request.close")
    with pytest.raises(AssertionError) as caught:
        last.then("request.set", errno=None)

    assert str(caught.value) == (
        "expected a record of request.set with errno None; "
        "there are none behind #5 request.close Xorg\n"
        "what came there: no record"
    )
    with pytest.raises(AssertionError, match=r"request.close; there is 1 behind #1 request.open X"):
        log.expect("request.open").never("request.close")

    with pytest.raises(AssertionError, match=r"there are none behind #5\nwhat came there: no rec"):
        log.from_now().expect("request.set")

    with pytest.raises(AssertionError, match=r"expected 1 record of request.set; there are 3\n"):
        log.expect("request.set", times=1)


def test_a_function_judges_empty_fields_too(log: LogView) -> None:
    assert log.expect("request.set", errno=lambda it: it is None)["seq"] == 2
    assert log.expect("request.set", errno=lambda it: "BUSY" in it)["seq"] == 3
    with pytest.raises(ZeroDivisionError):
        log.expect("request.set", process=lambda it: 1 / 0 if it else 0)


def test_a_field_is_read_by_its_name_alone(log: LogView) -> None:
    found = log.expect("request.set", errno="EBUSY")

    assert found["reason"] is None
    with pytest.raises(KeyError) as caught:
        found["ernno"]

    says = "a record of request.set has no field 'ernno'; did you mean 'errno'?"
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("event", "more", "says"),
    [
        (5, {}, "event 5 is not text"),
        ("request.set", {"times": "2"}, "times '2' is not an integer"),
        ("request.set", {"within": "x"}, "within 'x' is not a number of seconds"),
        ("request.set", {"within": -1}, "within: a wait of -1 seconds is not a time to come"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(
    log: LogView, event: Any, more: dict[str, Any], says: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        log.expect(event, **more)


def test_within_lets_the_time_of_an_embedded_hub_pass(
    memhub_client: Clients, memhub_log: LogView, memhub_clock: ManualClock
) -> None:
    mem = memhub_client("Xorg").open()
    mem.claim(*WINDOW, lease=5)
    mem.claim(WINDOW[0] + (1 << 28), 4096, lease=50)
    with pytest.raises(AssertionError, match="there are none"):
        memhub_log.expect("claim.expire", within=4)

    memhub_log.expect("claim.expire", within=10)
    assert memhub_clock.mono_ns() == 5 * 10**9
    memhub_log.expect("claim.expire", times=2, within=3600)
    assert memhub_clock.mono_ns() == 50 * 10**9


async def test_within_does_not_keep_the_loop_of_an_embedded_hub(
    memhub_client: Clients, memhub_log: LogView
) -> None:
    async with memhub_client("Xorg") as xorg:
        await (await xorg.open()).claim(*WINDOW, lease=5)
        with pytest.raises(AssertionError, match=r"(?s)there are none.*within= waits for nothing"):
            memhub_log.expect("claim.expire", within=3600)

        memhub_log.expect("claim.take", within=3600)


def test_a_refusal_without_a_record_of_the_event_shows_the_log(log: LogView) -> None:
    words = refusal(log, "claim.break")

    assert words.startswith("expected a record of claim.break; there are none\nthe log (5):\n  #1")


def test_a_long_log_is_cut_to_its_end() -> None:
    rows = [record(seq, "request.open", process="x") for seq in range(1, 100)]
    words = refusal(LogView(lambda: rows), "request.set")

    assert "the log (99):\n  … 87 before\n  #88 request.open x\n" in words


def test_what_the_log_cannot_hold_is_refused_also_where_it_is_to_be_absent(log: LogView) -> None:
    with pytest.raises(ValueError, match=r"no event 'request.sett' in the log; did you mean 'requ"):
        log.expect_none("request.sett")

    with pytest.raises(ValueError, match=r"request.set has no field 'proces'; did you mean 'proc"):
        log.expect_none("request.set", proces="x")

    with pytest.raises(ValueError, match="no errno 'EBUSSY': EPERM, ENOENT"):
        log.expect_none("request.set", errno="EBUSSY")

    with pytest.raises(TypeError, match=r"errno 16 of request.set is not text: FreeBSD's name"):
        log.expect_none("request.set", errno=16)

    with pytest.raises(TypeError, match=r"base '0xd0000000' .* is not an unsigned 64-bit integer"):
        log.expect_none("request.set", base="0xd0000000")

    with pytest.raises(TypeError, match=r"slots '89' of request.set is not an integer"):
        log.expect("request.set", slots="89")

    with pytest.raises(ValueError, match="times 0 is not at least 1: expect_none"):
        log.expect("request.set", times=0)


def test_foreign_text_in_the_log_cannot_move_the_cursor() -> None:
    rows = [record(1, "request.open", process="\x1b[2J")]

    assert "\x1b" not in refusal(LogView(lambda: rows), "request.open", process="\x1b[1A")


def test_a_view_from_now_on_has_what_follows(memhub_client: Clients, memhub_log: LogView) -> None:
    mem = memhub_client("Xorg").open()
    mem.set_range(*WINDOW, "write-combine")
    later = memhub_log.from_now()
    later.expect_none("request.set")
    mem.remove_range(*WINDOW)

    assert later.expect("request.set", op="remove")["process"] == "Xorg"
    assert len(memhub_log.find("request.set")) == 2
    assert next(it["event"] for it in later) == "request.set"
