"""The errors: one symbolic code each, the host's number for Python, and what stood in the way."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import re
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub import errors
from memhub.abi import Errno
from memhub.errors import DeviceError, Obstacle

LEAVES = sorted(
    (
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, DeviceError) and kind is not DeviceError
    ),
    key=lambda kind: kind.__name__,
)

every_leaf = pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)


def obstacles() -> st.SearchStrategy[Obstacle]:
    """Obstacles of which any field may be unknown, zero or empty."""
    number = st.none() | st.integers(0, 2**64 - 1)
    text = st.none() | st.text(max_size=8)

    return st.builds(
        Obstacle,
        kind=st.sampled_from(("claim", "commit", "overlap", "slot")),
        slot=number,
        base=number,
        length=number,
        type=text,
        owner=text,
        process=text,
        pid=number,
        since=st.none() | st.floats(0, 2e9),
    )


def failures() -> st.SearchStrategy[DeviceError]:
    """Any error of the tree, with any code and any obstacles."""
    return st.builds(
        lambda leaf, reason, code, found, moved: leaf(
            reason, code=code, obstacles=tuple(found), moved=moved
        ),
        st.sampled_from([*LEAVES, DeviceError]),
        st.text(max_size=20),
        st.none() | st.sampled_from(Errno),
        st.lists(obstacles(), max_size=3),
        st.integers(0, 2**64),
    )


def state(error: DeviceError) -> tuple[object, ...]:
    """Everything that a caller can read off an error."""
    return (
        type(error),
        str(error),
        error.args,
        error.errno,
        error.strerror,
        error.code,
        error.reason,
        error.obstacles,
        error.moved,
    )


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(E[A-Z]+)", errors.__doc__ or "")

    assert len(drawn) == len(dict(drawn))
    assert dict(drawn) == {leaf.__name__: leaf.default.name for leaf in LEAVES}


@every_leaf
def test_a_leaf_fixes_its_own_code(leaf: type[DeviceError]) -> None:
    assert isinstance(leaf.__dict__["default"], Errno)
    assert leaf("x").code is leaf.default


@every_leaf
def test_a_docstring_says_when_it_is_raised(leaf: type[DeviceError]) -> None:
    assert (leaf.__doc__ or "").startswith(("Raised when ", "Recorded, never raised"))


@every_leaf
def test_python_callers_see_an_oserror_with_the_hosts_number(leaf: type[DeviceError]) -> None:
    error = leaf("the reason")
    number = getattr(errno, leaf.default.name)

    assert isinstance(error, OSError)
    assert error.errno == number
    assert error.strerror == f"{os.strerror(number)}: the reason"
    assert error.filename is None


@every_leaf
def test_text_begins_with_the_symbolic_name(leaf: type[DeviceError]) -> None:
    assert str(leaf("slot 3 is claimed")) == f"{leaf.default.name}: slot 3 is claimed"


def test_every_code_has_a_number_on_this_host() -> None:
    assert {code.name: code.host for code in Errno} == {
        code.name: getattr(errno, code.name) for code in Errno
    }


def test_the_number_of_freebsd_is_beside_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """EOPNOTSUPP is 45 on FreeBSD and 95 on Linux."""
    monkeypatch.setattr(errno, "EOPNOTSUPP", 95)
    error = errors.NotSupported("no range operations")

    assert (error.code, error.errno) == (45, 95)


def test_a_name_that_the_host_lacks_keeps_freebsds_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(errno, "EPROTO")

    assert Errno.EPROTO.host == 92


def test_a_code_may_be_given_where_an_architecture_answers_another() -> None:
    error = errors.NotSupported("no range operations", code=Errno.ENODEV)

    assert error.errno == errno.ENODEV
    assert str(error) == "ENODEV: no range operations"


@given(failures())
def test_an_error_survives_pickling_with_every_field(error: DeviceError) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert state(pickle.loads(pickle.dumps(error, protocol))) == state(error)


@given(failures())
def test_a_copy_is_a_new_error_with_the_same_fields(error: DeviceError) -> None:
    assert copy.copy(error) is not error
    assert state(copy.copy(error)) == state(error)
    assert state(copy.deepcopy(error)) == state(error)


def test_notes_survive_pickling() -> None:
    error = errors.RangeBusy("slot 3 is claimed")
    error.add_note("while replaying step 7")

    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while replaying step 7"]


@given(obstacles())
def test_an_obstacle_lists_what_is_known_and_only_that(obstacle: Obstacle) -> None:
    known = obstacle.as_dict()

    assert None not in known.values()
    assert {field.name: known.get(field.name) for field in fields(obstacle)} == asdict(obstacle)
    assert Obstacle(**known) == obstacle


def test_zero_is_known() -> None:
    obstacle = Obstacle(kind="slot", slot=0, base=0, owner="")

    assert obstacle.as_dict() == {"kind": "slot", "slot": 0, "base": 0, "owner": ""}


def test_errors_of_two_kinds_with_one_code_are_told_apart() -> None:
    with pytest.raises(errors.InvalidRange):
        raise errors.InvalidRange("base 0x1 is not a multiple of 0x1000")

    assert not issubclass(errors.InvalidRange, errors.InvalidArgument)
    assert errors.InvalidRange.default is errors.InvalidArgument.default
