"""Files that appear whole or not at all, and what they never replace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from memhub.whole_file import NotRegular, check_creatable, write_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_new_or_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, b"one", special="refuse", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    write_whole(path, b"two", special="refuse")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)
    assert [it.name for it in tmp_path.iterdir()] == ["a"]


def test_a_file_that_is_there_is_replaced_only_where_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, b"one", special="refuse", replace=False)
    with pytest.raises(FileExistsError) as caught:
        write_whole(path, b"two", special="refuse", replace=False)

    assert (path.read_bytes(), caught.value.filename) == (b"one", str(path))


def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync = tmp_path / "a", os.fsync

    def late(number: int) -> None:
        sync(number)
        path.write_bytes(b"another")

    monkeypatch.setattr(os, "fsync", late)
    with pytest.raises(FileExistsError):
        write_whole(path, b"mine", special="refuse", replace=False)

    assert path.read_bytes() == b"another"
    assert [it.name for it in tmp_path.iterdir()] == ["a"]


def test_a_link_is_followed_or_refused(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_whole(link, b"new", special="refuse")
    assert (link.is_symlink(), target.read_bytes()) == (True, b"new")
    with pytest.raises(NotRegular, match="symbolic link"):
        write_whole(link, b"x", special="refuse", follow=False)

    assert target.read_bytes() == b"new"


def test_a_pipe_is_written_to_or_refused_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(NotRegular, match="no regular file") as caught:
        write_whole(pipe, b"x", special="refuse")

    assert caught.value.filename == str(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"x", special="write")
    assert (os.read(reading, 9), pipe.is_fifo()) == (b"x", True)
    os.close(reading)


@pytest.mark.parametrize("special", ["write", "refuse"])
def test_an_error_names_the_file_that_was_meant(tmp_path: Path, special: str) -> None:
    for path in (tmp_path / "nowhere" / "a", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(OSError, match=r".") as caught:
            write_whole(path, b"x", special=special)  # type: ignore[arg-type]

        assert caught.value.filename == str(path)

    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(path, b"new", special="refuse")

    assert (path.read_bytes(), caught.value.filename) == (b"old", str(path))
    assert [it.name for it in tmp_path.iterdir()] == ["a"]


def test_a_name_is_longer_by_nothing_than_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, b"new", special="refuse")
    assert path.read_bytes() == b"new"


def test_whether_a_file_could_be_made_is_found_without_making_it(tmp_path: Path) -> None:
    check_creatable(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").write_bytes(b"old")
    check_creatable(tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"old"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        check_creatable(tmp_path / "nowhere" / "a")
