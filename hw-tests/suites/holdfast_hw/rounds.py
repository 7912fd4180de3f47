"""When the power goes: the phases of a box's life that the power suite cuts, and a campaign's plan of them.

Each phase brings the box to its moment in two steps. Updates, first boots and factory resets cost minutes; the others a boot.
"""

import random
import re
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Callable

from holdfast_hw import update_rounds

ROTATION_SECONDS = 60
KEEP_FREE_PERCENT = 50
FILLER = "/data/power-filler"


@dataclass(frozen=True)
class Phase:
    name: str
    prepare: Callable
    moment: Callable
    """Waits for it; says in words when it was."""
    weight: int = 0
    """Of those that cost little. 0: its place in a campaign is fixed."""
    records: bool = True
    """A session is being recorded and must go on."""


@dataclass
class Round:
    """One cut."""

    number: int
    phase: Phase
    seed: int
    logged: bool = False

    def __str__(self):
        return f"{self.number:03}-{self.phase.name}" + ("-logged" if self.logged else "")


def nothing(campaign, chance):
    pass


# --- recording, rotation, retention, the boot loader's environment


def while_recording(campaign, chance):
    return f"{campaign.watch(chance.uniform(0.2, 6)):.1f} s on"


def around_rotation(campaign, chance):
    age = int(campaign.box.run(f"echo $(( $(date +%s) - $(stat -c %W $(find {campaign.footage()} -name '*.part' | head -n 1)) ))"))
    # At the first keyframe after its time.
    campaign.watch(max(0, ROTATION_SECONDS - age + chance.uniform(-0.5, 3)), every=2)
    files = campaign.box.run(f"ls {campaign.footage()}/*")
    return f"{len(re.findall('[.]mp4$', files, re.MULTILINE))} files closed, {files.count('.part')} open"


def fill(campaign, chance):
    """Makes the disk so full that a part of the closed files is too much."""
    closed = sum(int(size) for size in campaign.box.run(r"find /var/lib/holdfast/recordings -name '*.mp4' -printf '%s\n'").split())
    size, free = (int(word) for word in campaign.box.run("df -B1 --output=size,avail /data | tail -n 1").split())
    excess = int(closed * chance.uniform(0.3, 0.9))
    campaign.deleted_before = deleted(campaign)
    campaign.box.run(f"fallocate -l {free - size * KEEP_FREE_PERCENT // 100 + excess} {FILLER}")


def deleted(campaign):
    """Files that retention has given up since the recorder started."""
    return int(campaign.property("Recorder1.Storage", "DeletedFiles"))


def while_deleting(campaign, chance):
    before = campaign.deleted_before
    # It looks by itself each 30 s, and behind everything else. If nothing goes the cut comes all the same.
    campaign.watch(100, every=0.2, until=lambda: deleted(campaign) > before)
    if chance.random() < 0.5:
        campaign.watch(chance.uniform(0, 1))
    campaign.more["given_up"] = given_up = deleted(campaign) - before
    return f"{given_up} files given up"


def write_environment(campaign, chance):
    campaign.box.run("setsid sh -c 'while fw_setenv power_cut $(date +%s%N); do :; done' >/dev/null 2>&1 &")


def while_writing_environment(campaign, chance):
    return f"after {campaign.watch(chance.uniform(0.3, 4)):.1f} s of writing"


# --- first boot, factory reset


def from_factory(campaign, chance):
    campaign.forget()
    campaign.power_off()
    campaign.since = 0
    campaign.power_on(fresh=True)


def in_first_boot(campaign, chance):
    mark = chance.choice([r"U-Boot 20", r"Saving Environment", r"Starting kernel", r"systemd\[1\]"])
    campaign.appliance.wait_serial(mark)
    wait = chance.uniform(0, 10)
    campaign.pause(wait)
    return f"{wait:.1f} s after {mark}"


def order_reset(campaign, chance):
    campaign.stop_session()
    campaign.identity, campaign.since_order = campaign.box.identity(), len(campaign.appliance.serial())
    campaign.box.run("systemctl start --no-block holdfast-reset-request@settings")


def in_reset(campaign, chance):
    # It is done by the boot that follows the order.
    campaign.appliance.wait_serial(r"holdfast: slot [AB] of", campaign.since_order)
    wait = chance.uniform(0, 24)
    campaign.pause(wait)
    return f"{wait:.1f} s into the boot that resets"


def reset_is_done(campaign):
    """Only a box that has forgotten who it was is another one."""
    campaign.wait_shell()
    campaign.box.run("test ! -e /data/factory-reset && systemctl is-active holdfast-recorder")
    return campaign.box.identity() != campaign.identity


FIRST_BOOT = Phase("first-boot", from_factory, in_first_boot, records=False)
FACTORY_RESET = Phase("factory-reset", order_reset, in_reset, records=False)
CHEAP = [
    Phase("recording", nothing, while_recording, weight=4),
    Phase("environment", write_environment, while_writing_environment, weight=2),
    Phase("rotation", nothing, around_rotation, weight=2),
    Phase("retention", fill, while_deleting, weight=2),
]
UPDATE = [Phase(f"update-{name}", begin, moment, records=False) for name, begin, moment in update_rounds.MOMENTS]
# What can be done to a board; as root on its development image more of it.
BOARD, BOARD_ROOT = {"recording", "rotation"}, {"recording", "rotation", "retention", "environment"}
# Whose disk may be written down: its card is not.
LOGGED = {"recording", "rotation", "retention"}


def plan(cuts, seed, logged, only=None):
    """The rounds of a campaign. Three updates take two cuts each; small campaigns cut one once, or none. `only`: phases that can
    be cut, by their names; a board is not made anew, and its disk writes nothing down.
    """
    chance = random.Random(seed)
    firsts = [FIRST_BOOT] * min(2, (cuts + 5) // 15)
    updates = UPDATE * ((cuts + 25) // 50) or (chance.sample(UPDATE[:2], 1) if cuts >= 15 else [])
    resets = [FACTORY_RESET] if cuts >= 20 else []
    if only:
        firsts, updates, resets, logged = [], [], [], 0
    dealt = max(0, cuts - len(firsts) - len(updates) - len(resets))
    deck = [phase for turn in range(4) for phase in CHEAP if phase.weight > turn and (not only or phase.name in only)]
    cheap = list(islice(cycle(deck), dealt))
    chance.shuffle(cheap)
    # Retention needs something to give up: others come before it.
    others = [phase for phase in cheap if phase.name != "retention"]
    early, rest = others[:4], others[4:] + [phase for phase in cheap if phase.name == "retention"]
    chance.shuffle(rest)
    cheap = early + rest
    phases = (firsts + cheap + updates + resets)[:cuts]
    rounds = [Round(number, phase, chance.getrandbits(32)) for number, phase in enumerate(phases, 1)]
    able = [round_ for round_ in rounds if round_.phase.name in LOGGED]
    for round_ in chance.sample(able, min(logged, len(able))):
        round_.logged = True
    return rounds
