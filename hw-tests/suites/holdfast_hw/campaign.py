"""A box whose power is cut again and again: before each cut what it called safe is noted, and after it looked for."""

import json
import random
import re
import time
from pathlib import Path

from holdfast_hw.books import Books
from holdfast_hw.disklog import DiskLog
from holdfast_hw.rounds import FILLER, KEEP_FREE_PERCENT, reset_is_done
from labgrid.driver.exception import ExecutionError

SETTINGS = "/etc/holdfast/holdfast.toml.d/50-power.toml"
ROTATION = "[recording]\\nrotation_minutes = 1\\n"
# Only where retention is cut: it takes away what others have recorded.
RETENTION = f"[storage]\\nkeep_free_percent = {KEEP_FREE_PERCENT}\\n"
# Emulated, these two of the doctor's looks take a quarter of a minute. That the encoder works is seen by what is recorded: they are taken after one
# cut of ten.
SLOW_LOOKS = {"elements", "encoders"}
SLOW_LOOKS_EACH = 10


class Campaign:
    def __init__(self, box, appliance, rounds, journal):
        self.box, self.appliance, self.rounds = box, appliance, rounds
        self.wanted = ROTATION + (RETENTION if any(round_.phase.name == "retention" for round_ in rounds) else "")
        self.journal = journal
        self.books = Books(box)
        self.update, self.updates = None, 0
        # What a phase has to tell of its round beside its moment.
        self.more = {}
        # How each update ended.
        self.ends = []
        self.session = self.disk_log = None
        self.spoilt = False
        self.readings = []
        self.since = self.since_shell = 0
        self.boots = []

    # --- for phases

    def property(self, interface, name):
        service = interface.split(".")[0]
        told = self.box.run(f"busctl get-property org.holdfast.{service} /org/holdfast/{service} org.holdfast.{interface} {name}")
        return told.split(maxsplit=1)[1].strip('"')

    def footage(self):
        """Where the files of the present session are."""
        return f"/var/lib/holdfast/recordings/*/{self.session}/cam0"

    def pause(self, seconds):
        """Lets the box run. The moment is to be anywhere: there is nothing to wait for."""
        time.sleep(seconds)

    def watch(self, seconds, every=0.3, until=lambda: False):
        """Lets it record for so long, hearing what is safe; returns how long it was."""
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0 and not until():
            self.read()
            self.pause(min(every, max(0, left)))
        self.read()
        return time.monotonic() - began

    def read(self):
        safe = int(self.property("Recorder1", "SafeFrames"))
        # In this order: what is safe now was in the log before.
        self.readings.append((safe, self.disk_log.position() if self.disk_log else None))

    def stop_session(self):
        if self.session:
            self.box.holdfast("stop", timeout=300)
            self.books.close(self.session)
            self.session = None

    def settle_update(self):
        if self.update:
            update, self.update = self.update, None
            self.ends.append(update.settle(self))

    def forget(self):
        """The box is replaced by one from the factory: before that, all that is on it is looked through."""
        self.finish()
        self.books = Books(self.box)

    def finish(self):
        """Ends what is under way; everything that was ever safe must be there."""
        self.settle_update()
        self.stop_session()
        return self.books.verify_all()

    def ends_whatever_runs(self):
        self.box.command.run("holdfast stop", timeout=300)
        return self.property("Recorder1", "State") == "idle"

    def tidy(self):
        """A board goes on to be one."""
        if not self.appliance.is_made_anew:
            self.box.run(f"rm -f {SETTINGS}; sync; systemctl restart holdfast-recorder")

    # --- power

    def power_on(self, fresh=False, logged=False):
        self.since = 0 if fresh else len(self.appliance.serial())
        self.disk_log = DiskLog(self.appliance) if logged else None
        self.switched_on = time.monotonic()
        self.appliance.on(fresh=fresh, disk_log=self.disk_log and self.disk_log.log)

    def power_off(self):
        self.appliance.off()
        if self.disk_log:
            self.disk_log.drop()
            self.disk_log = None

    def wait_shell(self):
        self.appliance.wait_shell()
        self.since_shell = len(self.appliance.serial())

    # --- one cut

    def play(self, round_):
        """Cuts once and judges; what was seen goes into the journal, also where it failed."""
        began, seen = time.monotonic(), {"cut": round_.number, "phase": round_.phase.name, "logged": round_.logged, "boots": False}
        seen["began_at"] = time.time()
        try:
            self.ready(round_)
            self.cut(round_, seen)
            self.judge(round_, seen)
        except Exception as error:
            self.spoilt = True
            seen["problem"] = str(error)[:2000] or type(error).__name__
            self.keep_evidence(round_)
            self.note(seen, began)
            raise
        # One that was interrupted is not written down: nobody has judged it.
        self.note(seen, began)

    def note(self, seen, began):
        seen["seconds"] = time.monotonic() - began
        seen["updates_ended"], self.ends = self.ends, []
        with open(self.journal, "a") as file:
            file.write(json.dumps(seen) + "\n")

    def keep_evidence(self, round_):
        """What the box has to say, beside the journal: the next round takes another box."""
        wanted = [
            f"holdfast --json show {self.session}",
            f"holdfast --json verify {self.session}",
            "busctl introspect org.holdfast.Recorder1 /org/holdfast/Recorder1",
            r"find /data/recordings -type f -printf '%T+ %s %i %p\n'",
            "journalctl --boot -1 --no-pager -o short-monotonic --unit 'holdfast-*' | tail -n 400",
            "journalctl --boot 0 --no-pager -o short-monotonic --unit 'holdfast-*' | tail -n 400",
        ]
        told = [f"known: {self.books.sessions.get(self.session)}", f"given up: {self.books.given_up.get(self.session)}"]
        for line in wanted:
            try:
                told += [f"\n$ {line}", *self.box.command.run(line, timeout=300)[0]]
            except (ExecutionError, OSError, TimeoutError) as error:
                told += [f"\n$ {line}", f"no answer: {error}"]
        Path(self.journal).with_name(f"failed-{round_.number:03}.txt").write_text("\n".join(told) + "\n")

    def ready(self, round_):
        """A box as the phase wants it; after a failed round another one."""
        if self.spoilt:
            self.power_off()
            self.books, self.session, self.update, self.spoilt = Books(self.box), None, None, False
            self.power_on(fresh=self.appliance.is_made_anew)
            self.wait_shell()
            if not self.appliance.is_made_anew:
                self.box.run(f"rm -f {FILLER}")
                self.box.until("nothing is recorded", self.ends_whatever_runs, timeout=600)
        if not round_.phase.name.startswith("update-"):
            self.settle_update()
        if round_.phase.records and self.session is None:
            self.begin_session()
        if round_.logged and self.disk_log is None:
            # Only where the round before could not know: its disk has to be written down from power-on.
            self.box.run("sync")
            self.power_off()
            self.power_on(logged=True)
            self.wait_shell()
            self.again(self.books.promised(self.session))

    def begin_session(self):
        if self.box.command.run(f"test -e {SETTINGS}")[2]:
            self.box.run(f"printf '{self.wanted}' >{SETTINGS}; sync; systemctl restart holdfast-recorder")
        self.box.until("the recorder answers", lambda: self.property("Recorder1", "State"), timeout=600)
        self.box.until("a recording begins", lambda: self.box.holdfast("start --label power-suite", timeout=300), timeout=600)
        self.session = self.box.recording()["session"]
        self.books.gives_up = RETENTION in self.wanted
        self.books.open(self.session)

    def cut(self, round_, seen):
        chance = random.Random(round_.seed)
        self.readings, self.more = [], {}
        round_.phase.prepare(self, chance)
        if round_.phase.records:
            self.read()
        seen["moment"] = round_.phase.moment(self, chance)
        seen |= self.more
        seen["cpu_s"] = self.appliance.cpu_s()
        self.appliance.off()
        seen["off_at"] = time.time()
        safe = max((safe for safe, _ in self.readings), default=0)
        if round_.logged:
            replayed = self.disk_log.cut(self.readings[0][1], round_.seed)
            safe = max(safe for safe, position in self.readings if position <= replayed["at"])
            seen |= {"log": replayed}
            self.disk_log = None
        elif self.disk_log:
            self.power_off()
        if round_.phase.records:
            seen["safe_before"] = safe

    def judge(self, round_, seen):
        following = next((other for other in self.rounds if other.number == round_.number + 1), None)
        self.power_on(logged=bool(following and following.logged))
        self.wait_shell()
        self.shell_after_s = time.monotonic() - self.switched_on
        seen["boots"] = True
        if round_.phase.records:
            self.again(0)
            seen["recording_s"] = time.monotonic() - self.switched_on
            told = int(self.property("Recorder1", "SafeFrames"))
            seen["safe_after"] = self.books.found(self.session)
            seen["lost"] = max(0, seen["safe_before"] - seen["safe_after"])
        else:
            self.box.until("the recorder answers", lambda: self.property("Recorder1", "State"), timeout=600)
            if round_.phase.name == "factory-reset":
                self.box.until("the reset is done", lambda: reset_is_done(self), timeout=900)
                # Its settings went, and no footage.
                self.books.verify_all()
        self.boots.append(self.boot_stages(seen.get("recording_s")))
        seen["boot"] = self.boots[-1]
        # For good: back after the next cut it would make retention give up what nobody has looked at.
        self.box.run(f"rm -f {FILLER} && sync /data")
        said = self.appliance.serial()[self.since :]
        if round_.phase.name not in ("first-boot", "factory-reset"):
            assert "bad CRC" not in said, "the boot loader's environment is gone:\n" + said[-1500:]
        self.doctor(with_slow=round_.number % SLOW_LOOKS_EACH == 0)
        assert not seen.get("lost"), f"{seen['lost']} of {seen['safe_before']} safe frames are lost"
        if round_.phase.records:
            assert told >= seen["safe_before"], f"the box told of {seen['safe_before']} safe frames before, and tells of {told} now"

    def again(self, more_than):
        """Waits until the session goes on after a boot."""

        def goes_on():
            state, frames = self.property("Recorder1", "State"), int(self.property("Recorder1", "SafeFrames"))
            # D-Bus takes no "-" in an object's name.
            here = self.property("Recorder1", "CurrentSession").endswith("/" + self.session.replace("-", "_2d"))
            return state == "recording" and here and frames > more_than

        self.box.until(f"session {self.session} goes on", goes_on, timeout=600)

    def doctor(self, with_slow):
        skipped, without = (set(), "") if with_slow else (SLOW_LOOKS, "HOLDFAST_CAPTURE_PROGRAM=/bin/false ")

        def clean():
            told = self.box.command.run(f"{without}holdfast --json doctor")[0]
            failed = [look for look in json.loads("\n".join(told))["checks"] if look["level"] == "fail"]
            assert not [look for look in failed if look["name"] not in skipped], failed
            return True

        self.box.until("the doctor finds nothing", clean)

    def boot_stages(self, recording_s):
        """Seconds since power-on at which each stage of this boot had ended."""
        try:
            stages = {"U-Boot": self.appliance.said_after("Starting kernel")}
            told = self.box.run("dmesg | grep -o '[0-9.]*[]] Run /init'; systemctl show -P UserspaceTimestampMonotonic")
            initrd, userspace = re.findall(r"[\d.]+", told)[:2]
            begin = stages["U-Boot"]
            stages |= {"kernel": begin + float(initrd), "initrd": begin + float(userspace) / 1e6}
        except (ExecutionError, KeyError, ValueError):
            # A picture less; nothing is judged by it.
            return {}
        stages["userspace"] = self.shell_after_s
        if recording_s:
            stages["recording"] = recording_s
        return stages


def journal_of(figures):
    """Where a run's cuts are written down, beside its figures."""
    path = Path(figures).parent / "cuts.jsonl"
    path.unlink(missing_ok=True)
    return path
