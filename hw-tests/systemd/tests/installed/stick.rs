//! A stick's unit, in the sandbox that it has on a box: it reads a real file system, and may hand it over; others may not.

use std::process::Command;

use crate::appliance::{Appliance, Disk, OPERATOR, SOON};

const UPDATER: &str = "org.holdfast.Updater1";

/// A block device with an ext4 file system that has an empty directory `holdfast`; taken away when dropped.
struct Loop {
    device: String,
    _files: tempfile::TempDir,
}

impl Loop {
    fn make() -> Result<Self, String> {
        let files = tempfile::tempdir().unwrap();
        let (image, stick) = (files.path().join("image"), files.path().join("stick"));
        std::fs::create_dir_all(stick.join("holdfast")).unwrap();
        std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let run = |command: &mut Command| {
            let output = command.output().map_err(|error| error.to_string())?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
        };
        run(Command::new("mkfs.ext4").args(["-q", "-d"]).arg(&stick).arg(&image))?;
        let device = run(Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(&image))?;
        Ok(Self { device, _files: files })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        drop(Command::new("losetup").args(["--detach", &self.device]).output());
    }
}

#[test]
fn a_stick_is_read_in_its_sandbox_and_only_root_may_offer_one() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    let rig = &appliance.rig;
    let device = match Loop::make() {
        Ok(device) => device,
        Err(why) => return holdfast_aloud::skip(format_args!("no stick can be made here: {why}")),
    };
    let name = device.device.trim_start_matches("/dev/");
    // No udev is here: the same unit without the device's, and for what the test has. ext4, as every kernel of ours has that.
    let script = format!(
        "mknod /dev/{name} b 7 {number} && cd /usr/lib/systemd/system && sed -e '/^BindsTo=/d; /^After=/d; s/block-sd/block-loop/' \
         -e 's,^ExecStart=.*,ExecStart=/usr/bin/holdfast-updater stick --filesystem ext4 -- /dev/{name},' 'holdfast-stick@.service' \
         > /run/systemd/system/stick.service && systemctl daemon-reload && systemctl start --no-block stick.service holdfast-updater.service",
        number = name.trim_start_matches("loop"),
    );
    let said = rig.run(&["sh", "-c", &script]);
    assert!(said.ok(), "{said:?}");
    // Without RAUC the updater has its name for a moment at a time: enough for the stick to be looked at.
    rig.until("the stick is read", SOON, || {
        rig.log(400).contains("holdfast/ on the stick has no bundle").then_some(())
    })
    .unwrap();
    assert!(!rig.log(400).contains("can't be mounted"), "{}", rig.log(60));
    assert!(!rig.run(&["sh", "-c", &format!("grep -q {name} /proc/mounts")]).ok(), "it is mounted where others see it");

    for (user, is_denied) in [("nobody", true), (OPERATOR, true), ("root", false)] {
        let call = ["busctl", "call", UPDATER, "/org/holdfast/Updater1", UPDATER, "RefuseStick", "sa{sv}", "x", "0"];
        // Who may call is told so even where nobody is there to answer.
        let said = rig.until("the updater has its name", SOON, || {
            let said = rig.run_as(user, &call);
            (!said.err.contains("not provided by any") && !said.err.contains("was not found")).then_some(said)
        });
        let said = said.unwrap();
        assert_eq!(said.err.contains("Access denied"), is_denied, "{user}: {said:?}");
    }
}
