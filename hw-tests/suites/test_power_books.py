"""The power suite's judge, judged: it must notice what is lost, and not take for lost what retention gave up. No box is needed."""

import pytest

from holdfast_hw.books import Books

SESSION = "20261129T120000Z-1"


def place(name):
    return name if isinstance(name, tuple) else ("cam0", name)


class Told:
    """What a box tells of its one session: its files' frames by the boot that recorded them, and what retention has given up."""

    def __init__(self):
        self.files, self.given_up = {}, {}

    def boot_id(self):
        return "b0-07"

    def holdfast(self, line, timeout=0):
        if line == "sessions":
            return [{"id": SESSION}]
        assert line == f"verify {SESSION}"
        files = [
            {"identity": dict(zip(("input", "sequence"), place(name)), boot_id=boot), "tracks": [{"frames": frames}, {"frames": 1000}]}
            for name, (boot, frames) in self.files.items()
        ]
        given_up = [dict(zip(("input", "sequence"), place(name)), frames=frames) for name, frames in self.given_up.items()]
        return {"ok": True, "findings": [], "report": {"inputs": [{"files": files}]}, "given_up": given_up}

    def note(self, sequence):
        self.given_up[sequence] = self.files[sequence][1]

    def give_up(self, sequence):
        self.note(sequence)
        del self.files[sequence]


@pytest.fixture
def told():
    told = Told()
    told.files = {1: ("b005", 100), 2: ("b006", 60), 3: ("b007", 7)}
    return told


@pytest.fixture
def books(told):
    books = Books(told)
    books.open(SESSION)
    books.gives_up = True
    return books


def test_only_what_came_before_this_boot_is_counted(books):
    assert books.found(SESSION) == 160
    assert books.promised(SESSION) == 160


def test_what_is_given_up_is_found_in_the_journal(told, books):
    books.found(SESSION)
    told.give_up(1)
    assert books.found(SESSION) == 160
    assert books.found(SESSION) == 160
    assert books.promised(SESSION) == 160


def test_what_is_noted_and_still_there_is_counted_once(told, books):
    told.note(1)
    assert books.found(SESSION) == 160


def test_a_file_that_came_and_went_between_two_looks_hides_no_loss(told, books):
    books.found(SESSION)
    told.files |= {3: ("b006", 40), 4: ("b006", 9), 5: ("b007", 7)}
    for sequence in (1, 2, 3):
        told.give_up(sequence)
    assert books.found(SESSION) == 209
    del told.given_up[3]
    with pytest.raises(AssertionError, match="retention tells nothing of them"):
        books.found(SESSION)


def test_a_file_of_this_boot_that_was_given_up_is_not_counted(told, books):
    books.found(SESSION)
    told.files |= {4: ("b007", 5)}
    for sequence in (1, 2, 3):
        told.give_up(sequence)
    assert books.found(SESSION) == 160


def test_what_one_input_has_left_says_nothing_of_another(told, books):
    told.files |= {("mic", 1): ("b006", 11)}
    books.found(SESSION)
    told.files |= {4: ("b007", 5)}
    for sequence in (1, 2, 3):
        told.give_up(sequence)
    assert books.found(SESSION) == 171


def test_a_file_that_is_gone_and_was_not_given_up_is_noticed(told, books):
    books.found(SESSION)
    del told.files[2]
    with pytest.raises(AssertionError, match="retention tells nothing of them: {[(]'cam0', 2[)]: 60}"):
        books.found(SESSION)


def test_a_file_that_had_shrunk_when_it_was_given_up_is_noticed(told, books):
    books.found(SESSION)
    told.files[1] = ("b005", 99)
    told.give_up(1)
    with pytest.raises(AssertionError, match="frames are gone"):
        books.found(SESSION)


def test_a_file_that_has_shrunk_is_noticed(told, books):
    books.found(SESSION)
    told.files[2] = ("b006", 59)
    with pytest.raises(AssertionError, match="frames are gone"):
        books.found(SESSION)


def test_nothing_is_given_up_without_need(told, books):
    books.gives_up = False
    told.give_up(1)
    with pytest.raises(AssertionError, match="nothing wanted room"):
        books.found(SESSION)


def test_all_that_was_ever_found_is_told_at_the_end(told, books):
    books.found(SESSION)
    told.give_up(1)
    books.found(SESSION)
    assert books.verify_all() == 167
