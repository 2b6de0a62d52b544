import os
import threading

import pytest

from actions.providers.files import put


@pytest.fixture
def path(tmp_path):
    return tmp_path / "page.html"


def names(path):
    return sorted(one.name for one in path.parent.iterdir())


def left_behind(path, name, seconds):
    """Leave something beside a file that was last written so many seconds ago."""
    left = path.with_name(name)
    left.write_text("half")
    written = left.stat().st_mtime - seconds
    os.utime(left, (written, written))


def test_a_file_is_put_in_place_and_nothing_else_is_left(path):
    assert put(path, b"one")
    assert put(path, b"two")
    assert (path.read_bytes(), names(path)) == (b"two", ["page.html"])


def test_no_reader_ever_sees_half_a_file(path):
    put(path, b"a" * 200_000)
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            data = path.read_bytes()
            seen.add((len(data), len(set(data))))

    reader = threading.Thread(target=watch)
    reader.start()
    for letter in b"bcdefghij" * 5:
        put(path, bytes([letter]) * 200_000)
    stop.set()
    reader.join()
    assert seen == {(200_000, 1)}


def test_two_who_write_at_once_leave_one_of_the_two(path):
    writers = [threading.Thread(target=lambda one=one: put(path, one * 200_000)) for one in (b"a", b"b", b"c", b"d")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    data = path.read_bytes()
    assert (len(data), len(set(data)), names(path)) == (200_000, 1, ["page.html"])


def test_what_is_no_longer_as_it_was_stays_so(path):
    put(path, b"theirs")
    assert not put(path, b"ours", still=lambda: path.read_bytes() == b"before")
    assert (path.read_bytes(), names(path)) == (b"theirs", ["page.html"])
    assert put(path, b"ours", still=lambda: path.read_bytes() == b"theirs")


def test_where_the_last_look_fails_nothing_is_left(path):
    with pytest.raises(FileNotFoundError):
        put(path, b"ours", still=path.read_bytes)
    assert names(path) == []


@pytest.mark.parametrize(("given", "mode"), [({}, 0o644), ({"mode": 0o666}, 0o644), ({"mode": 0o600}, 0o600)])
def test_a_new_file_has_the_permissions_asked_for_less_the_umask(path, given, mode):
    before = os.umask(0o022)
    try:
        put(path, b"one", **given)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_a_file_that_is_there_keeps_its_permissions(path):
    put(path, b"one")
    path.chmod(0o660)
    put(path, b"two")
    assert path.stat().st_mode & 0o777 == 0o660


def test_a_link_is_replaced_and_not_followed(path):
    other = path.with_name("other")
    other.write_bytes(b"theirs")
    path.symlink_to(other)
    put(path, b"ours")
    assert (path.is_symlink(), path.read_bytes(), other.read_bytes()) == (False, b"ours", b"theirs")
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_a_killed_attempt_left_is_removed_and_what_another_is_writing_is_not(path):
    left_behind(path, ".page.html.0badc0de.tmp", 4000)
    left_behind(path, ".page.html.5ca1ab1e.tmp", 30)
    left_behind(path, ".other.html.0badc0de.tmp", 4000)
    put(path, b"one")
    assert names(path) == [".other.html.0badc0de.tmp", ".page.html.5ca1ab1e.tmp", "page.html"]


def test_a_name_with_signs_of_a_pattern_sweeps_only_its_own(tmp_path):
    path = tmp_path / "[ab]*.md"
    left_behind(path, ".a.md.0badc0de.tmp", 4000)
    put(path, b"one")
    assert names(path) == [".a.md.0badc0de.tmp", "[ab]*.md"]
