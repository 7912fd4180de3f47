"""A box from the factory: who it is, what it lets in, and that what it is told stays."""

import pytest

DROP_IN = "/etc/holdfast/holdfast.toml.d/50-site.toml"
KEY = "/var/lib/holdfast-ssh/ssh_host_ed25519_key"
KEYS = "/etc/holdfast/ssh/authorized_keys"


@pytest.fixture(scope="module")
def first(box, appliance):
    """The box, as new as it can be; the identity that another one from the same factory has."""
    box.wait_up()
    other = identity(box)
    appliance.off()
    appliance.on(fresh=True)
    appliance.wait_shell()
    box.wait_up()
    return other


def identity(box):
    return box.run("cat /etc/machine-id").strip()


def reboot(box, appliance):
    """In good order; a box whose loader counts keeps its slot by having proven itself before."""
    box.wait_good()
    boot = box.boot_id()
    box.command.send("systemctl reboot")

    def another():
        appliance.wait_shell()
        return box.boot_id() != boot

    box.until("the box has rebooted", another, timeout=600)
    box.wait_up()


def test_no_two_boxes_are_one(box, first):
    assert identity(box) != first
    assert identity(box) == box.run("cat /data/state/machine-id").strip()


def test_the_data_partition_took_the_disk(box, first):
    disk = int(box.run("cat /sys/block/vda/size"))
    start, size = (int(box.run(f"cat /sys/block/vda/vda3/{name}")) for name in ("start", "size"))
    # Up to the table's second copy, and what alignment takes.
    assert disk - start - size < 16384, (disk, start, size)
    assert int(box.run("df --output=size --block-size=512 /data").split()[-1]) > 0.9 * size


def test_nobody_comes_in_by_ssh(box, first):
    assert box.run("systemctl show -P ActiveState holdfast-ssh").strip() == "inactive"
    assert box.command.run(f"test -e {KEYS}")[2] == 1
    assert ":22 " not in box.run("ss --listening --tcp --numeric --no-header")
    # Nor by what systemd makes of an sshd that it finds: sockets in the filesystem, and for whoever runs a virtual machine.
    assert "ssh" not in box.run("ss --listening --unix --no-header; find /run/systemd/generator* -name '*ssh*'")


def test_it_is_the_same_after_a_reboot_and_what_it_was_told_stays(box, appliance, first):
    before = identity(box)
    box.write(DROP_IN, "[storage]\nwarn_percent = 70\n")
    reboot(box, appliance)
    assert identity(box) == before
    assert box.status()["storage"]["warn_percent"] == 70
    assert box.run("cat /data/overlay/etc-holdfast/upper/holdfast.toml.d/50-site.toml").strip()
    # What nobody has changed follows the image.
    assert box.command.run("test -e /data/overlay/etc-holdfast/upper/holdfast.toml")[2] == 1


def test_a_mistake_is_told_with_its_place_and_costs_nothing(box, first):
    """Key, value and what is allowed; the footage is there, and the recorder comes back with the correction."""
    box.holdfast("start --label first-boot-suite", timeout=300)
    box.recording()
    box.holdfast("stop", timeout=300)
    session = box.holdfast("sessions")[0]["id"]
    box.write(DROP_IN, "[storage]\nwarn_percent = 170\n")
    told = box.holdfast("doctor", statuses=(1, 3))
    found = [check["message"] for check in told["checks"] if check["level"] == "fail"]
    assert any("warn_percent" in text and "170" in text and "50-site.toml" in text for text in found), told
    assert session in box.run("ls /data/recordings/*")
    box.run(f"rm {DROP_IN}; systemctl restart holdfast-recorder")
    assert box.holdfast("verify last", timeout=600)["ok"]
    box.until("the doctor finds nothing", lambda: box.holdfast("doctor")["ok"])


def test_ssh_is_for_who_has_a_key(box, first):
    if box.command.run("test -x /usr/bin/ssh")[2]:
        pytest.skip("the image has no ssh to try it with")
    box.run("ssh-keygen -q -t ed25519 -N '' -f /run/key")
    box.run(f"mkdir -p $(dirname {KEYS}); cp /run/key.pub {KEYS}; systemctl start holdfast-ssh")
    ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/run/known"
    box.until("who has the key comes in", lambda: "holdfast-admin" in box.run(f"{ssh} -i /run/key holdfast-admin@127.0.0.1 id"))
    box.run("ssh-keygen -q -t ed25519 -N '' -f /run/other")
    for who in ("-i /run/other holdfast-admin", "-i /run/key root"):
        out, _, status = box.command.run(f"{ssh} -o IdentitiesOnly=yes {who}@127.0.0.1 id 2>&1")
        assert status == 255 and "Permission denied" in "\n".join(out), (who, out)
    assert box.run(f"findmnt -n -o SOURCE -T {KEY}").startswith("/dev/vda3")
