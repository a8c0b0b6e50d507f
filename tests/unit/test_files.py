"""Files are written whole, under names that cannot be guessed, and nothing is left behind."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from pathlib import Path

import pytest

from tn_contract.contract.errors import UsageError
from tn_contract.contract.files import ReadyFile, write_whole


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("private", "expected"), [(True, 0o600), (False, 0o644)])
def test_a_file_gets_the_mode_it_should_have_whatever_was_there(tmp_path: Path, private: bool, expected: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o777)
    before = os.umask(0o022)
    try:
        write_whole(path, "new", private=private)
    finally:
        os.umask(before)
    assert (path.read_text(), mode(path)) == ("new", expected)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_links_that_wait_where_a_half_file_might_be_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("file", f"file.{os.getpid()}", ".file.tmp"):
        (tmp_path / name).symlink_to(victim)
    write_whole(tmp_path / "file", "new")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "file").is_symlink()


def test_a_full_disk_leaves_the_old_file_and_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"cannot write .*file \(No space left on device\)"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("place", ["no/such/folder/file", "", "/proc/no-such-file"])
def test_where_nothing_can_be_written_one_sentence_says_so(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write_whole(tmp_path / place, "new")


def test_a_device_or_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    write_whole("/dev/null", "new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)


def test_only_the_mock_that_wrote_a_ready_file_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    first, second, failed = ReadyFile(path), ReadyFile(path), ReadyFile(path)
    first.write("1", private=False)
    failed.remove()
    assert path.read_text() == "1"
    second.write("2", private=False)
    first.remove()
    assert path.read_text() == "2"
    second.remove()
    assert not path.exists()
    second.remove()
    ReadyFile(None).remove()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "no JSON", '{"base_url": 5}', '{"base_url": "http://127.0.0.1:1"}']
)
def test_a_ready_file_that_was_left_behind_is_removed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ready"
    path.write_text(content)
    ReadyFile(path).remove_stale()
    assert not path.exists()


def test_the_ready_file_of_a_mock_that_answers_stays(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        path.write_text(json.dumps({"base_url": f"http://127.0.0.1:{listening.getsockname()[1]}"}))
        ReadyFile(path).remove_stale()
    assert path.exists()
