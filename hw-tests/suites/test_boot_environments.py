"""Environments of boards can be loaded: what labgrid takes of them is not seen before somebody has such a bench. No box is needed."""

from pathlib import Path

import pytest
from labgrid import Environment

from holdfast_hw.board import Board

BENCH = {
    "LG_HOLDFAST_SERIAL": "/dev/ttyUSB0",
    "LG_HOLDFAST_BOARD": "192.0.2.1",
    "LG_HOLDFAST_USER": "root",
    "LG_HOLDFAST_SSH_KEY": "/dev/null",
    "LG_HOLDFAST_RELAY_MODEL": "gude",
    "LG_HOLDFAST_RELAY": "192.0.2.2",
    "LG_HOLDFAST_RELAY_INDEX": "3",
}


@pytest.mark.parametrize("name", ["rock-5b", "jetson-orin"])
def test_a_bench_has_all_that_the_suites_take(name, monkeypatch):
    for variable, value in BENCH.items():
        monkeypatch.setenv(variable, value)
    target = Environment(str(Path(__file__).parent / f"{name}.yaml")).get_target("main")
    board = Board(target)
    assert (board.ssh.networkservice.address, board.ssh.networkservice.username, board.ssh.keyfile) == ("192.0.2.1", "root", "/dev/null")
    assert (board.power.port.model, board.power.port.index) == ("gude", "3")
    assert target.get_driver("SerialDriver", activate=False).port.port == "/dev/ttyUSB0"
