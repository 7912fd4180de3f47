"""The front panel, through the kernel: a button that is pressed records, and lamps say what is so."""

import pytest

from holdfast_hw.modbus import Module
from holdfast_hw.panel import Panel

DROP_IN = "/etc/holdfast/panel.toml.d/50-suite.toml"


@pytest.fixture(scope="module")
def panel(box, appliance):
    panel = Panel(box)
    box.until("the panel has its lines", lambda: panel.told("Devices")["front"]["works"])
    yield panel
    # Other suites find the box as this one did, whatever has failed here.
    if box.status()["state"] == "recording":
        box.holdfast("stop", timeout=300)


@pytest.fixture
def idle(box, panel):
    """Nothing is recorded, and a press would."""
    if box.status()["state"] != "idle":
        box.holdfast("stop", timeout=300)
    box.until("nothing is recorded", lambda: box.status()["state"] == "idle")
    panel.until_shows("record", "armed")


def test_a_press_records_and_a_hold_stops(box, panel, idle):
    assert "0" in panel.looks("REC_LED"), "a record light that is solid means a recording"
    panel.press("REC_BUTTON")
    session = box.recording()["session"]
    panel.until_solid("REC_LED")
    # A bump is no stop: it sets a mark.
    panel.press("REC_BUTTON")
    box.until("the press is counted", lambda: panel.told("Buttons")["record"]["presses"] >= 2)
    panel.until_solid("REC_LED")
    assert (status := box.status())["state"] == "recording" and status["session"] == session, status
    with panel.held("REC_BUTTON"):
        box.until("it has stopped", lambda: box.status()["state"] == "idle")
    assert "0" in panel.looks("REC_LED")
    told = box.holdfast("sessions")[0]
    assert told["id"] == session and told["safe_frames"] > 0, told


def test_it_shows_which_box_it_is(panel, idle):
    assert panel.told("Lights")["status"]["condition"] != "identify"
    panel.press("IDENTIFY_BUTTON")
    panel.until_shows("status", "identify")
    panel.until_blinks("STATUS_LED")


def test_it_shows_that_nobody_answers_for_what_is_recorded(box, panel, idle):
    panel.press("REC_BUTTON")
    box.recording()
    panel.until_solid("REC_LED")
    box.run("systemctl stop holdfast-recorder")
    try:
        for light, lamp in (("record", "REC_LED"), ("status", "STATUS_LED")):
            panel.until_shows(light, "fault")
            panel.until_blinks(lamp)
    finally:
        box.run("systemctl start holdfast-recorder", timeout=300)
    box.until("the recorder answers", box.status)
    box.until("the lights are of the recorder again", lambda: all(light["condition"] != "fault" for light in panel.told("Lights").values()))


@pytest.fixture
def module(box, panel):
    """A remote module of inputs and outputs, to which the panel is wired beside its own lines."""
    with Module() as module:
        wired = (
            f'[[device]]\nname = "cabinet"\nkind = "modbus-tcp"\nhost = "10.0.2.2"\nport = {module.port}\ntimeout_ms = 2000\n'
            '[[device.button]]\nbutton = "record"\ndiscrete = 0\n[[device.light]]\nlight = "record"\ncoil = 0\n'
        )
        box.write(DROP_IN, wired)
        box.run("systemctl restart holdfast-panel", timeout=300)
        try:
            box.until("the panel has its module", lambda: panel.told("Devices")["cabinet"]["works"])
            yield module
        finally:
            box.run(f"rm {DROP_IN} && systemctl restart holdfast-panel", timeout=300)


def test_a_button_of_a_remote_module_records_and_its_lamp_follows(box, panel, idle, module):
    with module.pressed(0):
        box.until("the press has arrived", lambda: panel.told("Buttons")["record"]["pressed"])
    box.recording()
    panel.until_shows("record", "recording")
    box.until("its lamp is lit", lambda: module.lamp(0) and "0" not in panel.looks("REC_LED"))
    with module.pressed(0):
        box.until("it has stopped", lambda: box.status()["state"] == "idle")
    box.until("its lamp is dark", lambda: not module.lamp(0))
