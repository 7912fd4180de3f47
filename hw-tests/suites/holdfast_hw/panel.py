"""The front panel of the virtual appliance as a finger and an eye have it: lines that the kernel simulates (gpio-sim)."""

import json
from contextlib import contextmanager

CHIP = "/sys/kernel/config/gpio-sim/holdfast-panel"
# Longer than the longest pause of any rhythm, looked at often enough for its shortest flash (docs/panel.md). Time is this box's own,
# which is emulated: what is looked at is whether a lamp is lit without a break, not how long its flashes are.
LOOKS, PAUSE_S = 80, 0.05


class Panel:
    def __init__(self, box):
        self.box = box
        place = "/".join(box.run(f"cat {CHIP}/dev_name {CHIP}/bank0/chip_name").split())
        named = box.run(f"cd {CHIP}/bank0; grep -H . line*/name").splitlines()
        # Such as line3/name:STATUS_LED.
        self.files = {name: f"/sys/devices/platform/{place}/sim_gpio{where.split('/')[0].removeprefix('line')}" for where, name in (line.split(":") for line in named)}

    # --- a finger

    def press(self, button):
        """A short press. Its length is told to the panel by the kernel's time of both edges."""
        pull = f"{self.files[button]}/pull"
        self.box.run(f"echo pull-down >{pull}; sleep 0.1; echo pull-up >{pull}")

    @contextmanager
    def held(self, button):
        """Keeps a button down."""
        pull = f"{self.files[button]}/pull"
        self.box.run(f"echo pull-down >{pull}")
        try:
            yield
        finally:
            self.box.run(f"echo pull-up >{pull}")

    # --- an eye

    def looks(self, lamp):
        """How a lamp was for a while: a text of 0 and 1."""
        value = f"{self.files[lamp]}/value"
        return self.box.run(f"for i in $(seq {LOOKS}); do read lit <{value}; printf $lit; sleep {PAUSE_S}; done")

    def until_solid(self, lamp):
        return self.box.until(f"{lamp} is lit without a break", lambda: "0" not in self.looks(lamp))

    def until_dark(self, lamp):
        return self.box.until(f"{lamp} is dark", lambda: "1" not in self.looks(lamp))

    def until_blinks(self, lamp):
        """How it was seen to blink."""
        return self.box.until(f"{lamp} blinks", lambda: (seen := self.looks(lamp)) and len(set(seen)) == 2 and seen)

    # --- what the panel itself says

    def told(self, name):
        """A property of org.holdfast.Panel1, by the names of its parts."""
        answer = json.loads(self.box.run(f"busctl --json=short get-property org.holdfast.Panel1 /org/holdfast/Panel1 org.holdfast.Panel1 {name}"))
        return {part["name"]["data"]: {key: value["data"] for key, value in part.items()} for part in answer["data"]}

    def until_shows(self, light, condition):
        """Waits until a light tells something: a row of the table in docs/panel.md."""
        return self.box.until(f"the light {light} tells {condition}", lambda: self.told("Lights")[light]["condition"] == condition)
