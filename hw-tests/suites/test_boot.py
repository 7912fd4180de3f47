"""A box that was switched on: what runs, what does not, and what nobody can do to it."""

import pytest


def test_it_is_a_running_system_without_failed_units(box, figure):
    box.until("the system is up", lambda: box.run("systemctl is-system-running || true").strip() in ("running", "degraded"))
    figure("uptime_when_up_s", box.uptime_s())
    failed = box.run("systemctl list-units --failed --no-legend --plain")
    assert not failed.strip(), failed


def test_the_root_can_not_be_written(box):
    assert "ro" in box.run("findmnt -n -o OPTIONS /").strip().split(",")


def test_not_even_by_root_and_each_block_of_it_is_checked(box, root):
    out, _, status = box.command.run("touch /usr/bin/intruder /etc/intruder 2>&1")
    assert status != 0 and "Read-only file system" in "\n".join(out)
    assert "verity" in box.run("dmsetup table root")


def test_the_data_partition_took_the_rest_of_the_disk(box):
    size_kib = int(box.run("df --output=size /data").split()[-1])
    assert size_kib > 14 * 1024 * 1024, f"{size_kib} KiB"


def test_the_box_has_an_identity_that_lies_with_its_data(box):
    identity = box.run("cat /etc/machine-id").strip()
    assert len(identity) == 32 and identity == box.run("cat /data/state/machine-id").strip()


def test_nothing_listens(box):
    listening = [
        line
        for line in box.run("ss --listening --tcp --udp --numeric --no-header --processes").splitlines()
        # The resolver of this box for this box; and where leases of addresses come in.
        if not any(own in line for own in ("127.0.0.53%lo:53", "127.0.0.53:53", "127.0.0.54:53", ":68 "))
    ]
    assert not listening, listening


def test_the_watchdog_is_armed(box):
    # By the one name or the other: the first that is there when systemd begins.
    assert box.run("systemctl show -P WatchdogDevice").strip() in ("/dev/watchdog", "/dev/watchdog0")
    assert "hardware timeout of 20s" in box.run("journalctl --boot --output cat --no-pager | grep -i watchdog")
    assert box.run("systemctl show -P RuntimeWatchdogUSec").strip() == "20s"


def test_modules_are_locked(box):
    box.until("modules are locked", lambda: box.run("cat /proc/sys/kernel/modules_disabled").strip() == "1")


def test_who_is_not_of_the_group_looks_and_does_not_touch(box, root):
    as_nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
    call = "busctl call org.holdfast.Recorder1 /org/holdfast/Recorder1"
    assert "Idle" in box.run(f"{as_nobody} busctl get-property org.holdfast.Recorder1 /org/holdfast/Recorder1 org.holdfast.Recorder1 State").title()
    for method, arguments in (("Start", "a{sv} 0"), ("Stop", "a{sv} 0")):
        out, _, status = box.command.run(f"{as_nobody} {call} org.holdfast.Recorder1 {method} {arguments} 2>&1")
        assert status != 0 and "denied" in "\n".join(out).lower(), out


@pytest.mark.parametrize("unit", ["holdfast-recorder", "holdfast-panel", "holdfast-updater"])
def test_units_run_and_are_shut_in(box, unit, figure):
    assert box.run(f"systemctl is-active {unit}").strip() == "active"
    told = box.run(f"systemd-analyze security --no-pager {unit}").splitlines()[-1]
    score = float(told.split(":")[1].split()[0])
    figure(f"exposure_{unit}", score)
    assert score < 3.0, told


def test_it_records_its_camera(box, figure):
    """A recording of the kernel's V4L2 camera: frames are safe, the files whole."""
    box.holdfast("start --label boot-suite", timeout=300)
    status = box.recording()
    first = status["safe_frames"]
    box.until("more is safe", lambda: box.status()["safe_frames"] > first + 20)
    stopped = box.holdfast("stop", timeout=300)
    session = box.holdfast("sessions")[0]
    assert session["safe_frames"] > 20 and session["lost_frames"] == 0, (stopped, session)
    report = box.holdfast(f"verify {session['id']}", timeout=600)
    assert report["ok"], report
    figure("recorded_frames", session["safe_frames"])
