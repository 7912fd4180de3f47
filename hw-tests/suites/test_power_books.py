"""The power suite's judge, judged: it must notice what is lost, and not take for lost what retention gave up. No box is needed."""

import pytest

from holdfast_hw.books import Books

SESSION = "20261129T120000Z-1"


class Told:
    """What a box tells of its one session: its files' frames by the boot that recorded them, and how many retention has given up."""

    def __init__(self):
        self.files, self.deleted = {}, 0

    def boot_id(self):
        return "b0-07"

    def holdfast(self, line, timeout=0):
        if line == "sessions":
            return [{"id": SESSION}]
        if line == f"show {SESSION}":
            return {"deleted_files": self.deleted}
        assert line == f"verify {SESSION}"
        files = [{"identity": {"file_id": name, "boot_id": boot}, "tracks": [{"frames": frames}]} for name, (boot, frames) in self.files.items()]
        return {"ok": True, "findings": [], "report": {"inputs": [{"files": files}]}}

    def give_up(self, name):
        del self.files[name]
        self.deleted += 1


@pytest.fixture
def told():
    told = Told()
    told.files = {"first": ("b005", 100), "second": ("b006", 60), "now": ("b007", 7)}
    return told


@pytest.fixture
def books(told):
    books = Books(told)
    books.open(SESSION)
    return books


def test_only_what_came_before_this_boot_is_counted(books):
    assert books.found(SESSION) == 160
    assert books.promised(SESSION) == 160


def test_what_is_given_up_is_counted_once(told, books):
    books.found(SESSION)
    told.give_up("first")
    assert books.found(SESSION) == 160
    # It may have gone after this boot began: then the box still counts it.
    assert books.found(SESSION) == 160
    # Later it does not: frames that are missing elsewhere must not hide behind it.
    assert books.found(SESSION) == 60
    assert books.promised(SESSION) == 60


def test_a_file_that_nobody_has_counted_leaves_nothing_to_compare(told, books):
    books.found(SESSION)
    told.files["between"] = ("b006", 40)
    told.give_up("between")
    assert books.found(SESSION) is None
    # If it went after this boot began, the box counts it until the next.
    assert books.found(SESSION) is None
    assert books.found(SESSION) == 160


def test_a_file_that_is_gone_and_was_not_given_up_is_noticed(told, books):
    books.found(SESSION)
    del told.files["second"]
    with pytest.raises(AssertionError, match="1 files of .* are gone, and retention tells of 0"):
        books.found(SESSION)


def test_a_file_that_has_shrunk_is_noticed(told, books):
    books.found(SESSION)
    told.files["second"] = ("b006", 59)
    with pytest.raises(AssertionError, match="frames are gone"):
        books.found(SESSION)


def test_all_that_was_ever_found_is_told_at_the_end(told, books):
    books.found(SESSION)
    told.give_up("first")
    books.found(SESSION)
    assert books.verify_all() == 167
