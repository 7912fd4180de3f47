"""A box that was switched on: what runs, what does not, and what nobody can do to it."""

import time

# In the development image alone.
SHELLS = {"holdfast-agent.service", "holdfast-console.service"}
# systemd-analyze's, as the layer's own test has it for units that do not run here.
EXPOSURE = 2.0


def test_it_is_a_running_system_without_failed_units(box, figure):
    box.until("the system is up", lambda: box.run("systemctl is-system-running || true").strip() in ("running", "degraded"))
    figure("power_on_to_up_s", time.monotonic() - box.switched_on)
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


def test_nothing_listens(box, machine):
    # The resolver of this box for this box; where leases of addresses come in; and on a board what we came in by.
    own = ["127.0.0.53%lo:53", "127.0.0.53:53", "127.0.0.54:53", ":68 "] + ([] if machine.is_made_anew else [":22 "])
    told = box.run("ss --listening --tcp --udp --numeric --no-header --processes").splitlines()
    listening = [line for line in told if line.startswith(("tcp", "udp")) and not any(port in line for port in own)]
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
    assert "Idle" in box.run(f"{as_nobody} busctl get-property org.holdfast.Recorder1 /org/holdfast/Recorder1 org.holdfast.Recorder1 State").title()
    calls = [
        ("Recorder1", "Start", "a{sv} 0"),
        ("Recorder1", "Stop", "a{sv} 0"),
        ("Recorder1", "Arm", "asa{sv} 1 cam0 0"),
        ("Updater1", "Install", "sa{sv} /tmp/x.raucb 0"),
        ("Updater1", "Approve", "sa{sv} reboot 0"),
        ("Panel1", "PressButton", "sa{sv} record 0"),
    ]
    for service, method, arguments in calls:
        call = f"busctl call org.holdfast.{service} /org/holdfast/{service} org.holdfast.{service} {method} {arguments}"
        out, _, status = box.command.run(f"{as_nobody} {call} 2>&1")
        assert status != 0 and "denied" in "\n".join(out).lower(), (call, out)


def test_units_run_and_are_shut_in(box, figure):
    for unit in ("recorder", "panel", "updater"):
        assert box.run(f"systemctl is-active holdfast-{unit}").strip() == "active"
    listed = box.run("systemctl list-units --type service --state active --plain --no-legend 'holdfast-*'").splitlines()
    units = {line.split()[0] for line in listed} - SHELLS
    for unit in sorted(units):
        told = box.run(f"systemd-analyze security --no-pager {unit}").splitlines()[-1]
        score = float(told.split(":")[1].split()[0])
        figure(f"exposure_{unit.removesuffix('.service')}", score)
        assert score <= EXPOSURE, told


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
