"""One box for all suites, switched on once; what it measured and said goes into the report."""

import json
import os
import time
from pathlib import Path

import pytest

from holdfast_hw import pictures
from holdfast_hw.board import Board
from holdfast_hw.box import Box
from holdfast_hw.updates import Bundles, Updates

FIGURES = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[FIGURES] = {}


@pytest.fixture(scope="session")
def figure(request):
    """Notes a figure for the report: figure("power_on_to_up_s", 41.2)."""

    def note(name, value):
        request.config.stash[FIGURES].setdefault(name, []).append(value)

    return note


def pytest_terminal_summary(terminalreporter, config):
    figures = config.stash[FIGURES]
    for name, values in figures.items():
        numbers = ", ".join(f"{value:.1f}" if isinstance(value, float) else str(value) for value in values)
        terminalreporter.write_line(f"{name}: {numbers}")
    if path := os.environ.get("HOLDFAST_FIGURES"):
        Path(path).write_text(json.dumps(figures, indent=1) + "\n")


def pytest_html_results_summary(prefix, summary, postfix, session):
    """The report begins with pictures of the boots and of the power cuts, where there were some, and with what was measured."""
    journal = Path(os.environ.get("HOLDFAST_FIGURES", "figures.json")).parent / "cuts.jsonl"
    if journal.exists():
        cuts = [json.loads(line) for line in journal.read_text().splitlines()]
        prefix.extend(picture for picture in (pictures.boots(cuts), pictures.cuts(cuts)) if picture)
    figures = {name: values for name, values in session.config.stash[FIGURES].items() if values}
    if figures:
        prefix.append(pictures.table(figures))


@pytest.fixture(scope="session")
def box(target):
    """The box, switched on, with all that it starts. A virtual one comes from the factory, a board is taken as it is."""
    if any(type(driver).__name__ == "SSHDriver" for driver in target.drivers):
        machine = Board(target)
    else:
        machine = target.get_driver("PowerProtocol")
    box = Box(machine, machine, switched_on=time.monotonic())
    machine.on(fresh=machine.is_made_anew)
    machine.wait_shell()
    box.wait_up()
    return box


@pytest.fixture(scope="session")
def machine(box):
    """What the box's power is cut by."""
    return box.power


@pytest.fixture(scope="session")
def appliance(box):
    """The box, where it is the virtual one: what only that can be done to."""
    if isinstance(box.power, Board):
        pytest.skip("this takes the virtual appliance: a disk from the factory, a directory that it shares, or moments that its serial line tells")
    return box.power


@pytest.fixture
def root(box):
    """Whoever looks is root there."""
    if box.run("id -u").strip() != "0":
        pytest.skip("this takes root on the board: a development image, and HOLDFAST_USER=root")


@pytest.fixture(scope="session")
def updates(box, appliance):
    """The box's updates; bundles reach it over a directory of this machine."""
    return Updates(box)


@pytest.fixture(scope="session")
def bundles(appliance):
    """Makes bundles on this machine."""
    return Bundles()


def pytest_runtest_makereport(item, call):
    """A failure shows the end of what the serial line said."""
    if call.excinfo is None or "box" not in getattr(item, "fixturenames", ()):
        return
    box = item.funcargs.get("box")
    if box is not None and hasattr(box.power, "serial"):
        item.add_report_section(call.when, "serial line", box.power.serial()[-4000:])
