"""An update that the fleet's operator gives to the box: fetched over HTTPS from a hawkBit, held to its window, and its end told once."""

import time
from datetime import datetime, timedelta, timezone

import pytest

from holdfast_hw import fleet

NAME = "virtual-1"
TOKEN = "/etc/holdfast/fleet.token"
AUTHORITY = "/etc/holdfast/fleet-ca.pem"
ENDS = ("finished", "error", "canceled")


@pytest.fixture
def operator(box, updates, tmp_path):
    """The fleet, with this box in it."""
    box.wait_good()
    with fleet.server(tmp_path) as operator:
        box.write(TOKEN, operator.target(NAME), mode="640", group="holdfast")
        box.write(AUTHORITY, operator.authority)
        updates.configure(
            'automatic = "reboot"',
            f'fleet_url = "{operator.url}"',
            f'fleet_id = "{NAME}"',
            f'fleet_token_file = "{TOKEN}"',
            f'server_ca = "{AUTHORITY}"',
            "keep_free_mib = 16",
        )
        yield operator
        # Others have no fleet to talk to.
        updates.configure()


def closed_window():
    """Once a day, and not within the next hours."""
    opens = datetime.now(timezone.utc) + timedelta(hours=12)
    return {"schedule": f"0 {opens.minute} {opens.hour} * * ? *", "duration": "00:10:00", "timezone": "+00:00"}


def test_the_operators_update_waits_for_its_window_and_is_told_good_when_it_is(box, updates, bundles, operator, figure):
    slot = box.slot()
    bundle = bundles.place / bundles.make("fleet", "0.9.5")
    software = operator.software("holdfast", "0.9.5", bundle)
    # In a window that is shut: it is fetched, and not written.
    action = operator.assign(software, NAME, closed_window())
    written = updates.sectors_written()
    box.holdfast("update check")
    box.until("the bundle is here, and waits", lambda: updates.status()["state"] == "verified", timeout=900)
    assert updates.status()["waits_for"], updates.status()
    operator.cancel(NAME, action)
    box.holdfast("update check")
    before = box.until("it was taken back", lambda: (last := updates.last()) and last["result"] == "cancelled" and last)
    box.until("the fleet knows", lambda: operator.history(NAME, action)[-1][0] == "canceled")
    assert updates.sectors_written() == written
    # Now.
    began, boot = time.monotonic(), box.boot_id()
    action = operator.assign(software, NAME)
    box.holdfast("update check")
    updates.wait_reboot(boot, before)
    told = updates.outcome(before)
    figure("update_by_fleet_s", time.monotonic() - began)
    assert (told["version"], told["result"]) == ("0.9.5", "good"), told
    assert box.slot() != slot
    box.until("the fleet knows", lambda: any(kind == "finished" for kind, _ in operator.history(NAME, action)))
    history = operator.history(NAME, action)
    assert [kind for kind, _ in history if kind in ENDS] == ["finished"], history
    # After its trial, and not before.
    assert history.index(("running", "trial")) < next(at for at, (kind, _) in enumerate(history) if kind == "finished"), history
    assert any("made a recording" in text for _, text in history), history
