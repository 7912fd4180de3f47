"""Power that goes at any moment. After each cut: the box boots, what was safe is there, and the session goes on."""

import os

import pytest

from holdfast_hw.campaign import Campaign, journal_of
from holdfast_hw.rounds import BOARD, BOARD_ROOT, plan

CUTS = int(os.environ.get("HOLDFAST_CUTS", "3"))
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
# So many of them on a disk that writes everything down, and loses what it had not been made to keep.
LOGGED = int(os.environ.get("HOLDFAST_LOGGED_CUTS", str((CUTS + 2) // 3)))
# Set for boards alone.
USER = os.environ.get("LG_HOLDFAST_USER")
ROUNDS = plan(CUTS, SEED, LOGGED, USER and (BOARD_ROOT if USER == "root" else BOARD))


@pytest.fixture(scope="module")
def campaign(box, machine):
    return Campaign(box, machine, ROUNDS, journal_of(os.environ["HOLDFAST_FIGURES"]))


@pytest.mark.parametrize("round_", ROUNDS, ids=str)
def test_cut(campaign, round_):
    campaign.play(round_)


def test_everything_that_was_safe_is_there(campaign, figure):
    """All sessions of the last box, verified; and no cut of the campaign has cost anything."""
    figure("frames_found", campaign.finish())
    for boot in campaign.boots:
        if recording_s := boot.get("recording"):
            figure("power_on_to_recording_s", recording_s)
    for end in campaign.ends:
        figure("update_ended", end)
    campaign.tidy()
