//! A bench without a board: the virtual appliance as it is delivered, reached by SSH and switched by commands, as a board is by a relay.
//! What the suites do on boards is tried so before anybody has wired one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::image::{self, Built, ImageArgs, Variant};

/// Where the first key goes on the data partition: docs/appliance.md.
const KEYS: &str = "overlay/etc-holdfast/upper/ssh";
/// labgrid's form of a variable.
const USER: &str = "!template $LG_HOLDFAST_USER";
const SECTOR: u64 = 512;

/// Off when dropped.
#[derive(Debug)]
pub struct Rehearsal {
    place: tempfile::TempDir,
    _image: Built,
}

impl Rehearsal {
    /// Builds the image, gives it a key, and writes the commands. It is not switched on.
    ///
    /// # Errors
    /// Something of it can't be made.
    pub fn set_up() -> anyhow::Result<Self> {
        let built = image::build(&ImageArgs { variant: Variant::Release, ..ImageArgs::default() })?;
        let place = tempfile::Builder::new().prefix("holdfast-bench-").tempdir().context("no temporary directory")?;
        // Free now, and hardly anybody else's a moment later.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("no free port")?.port();
        let bench = Self { place, _image: built };
        run(Command::new("cp")
            .args(["-r", "--sparse=always", "--reflink=auto"])
            .arg(&bench._image.disk)
            .arg(bench.path("image")))?;
        let key = bench.path("key");
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"]).arg(&key))?;
        put_key(&bench.path("image/disk.img"), &key.with_extension("pub"))?;
        let on = format!(
            "kill -0 \"$(cat pid)\" 2>/dev/null && exit\n\
             setsid {:?} vm --headless --dir box --image image --forward {port}:22 >vm.log 2>&1 </dev/null &\n\
             echo $! >pid\n\
             # However this bench ends, its machine does not go on alone.\n\
             setsid sh -c 'while kill -0 {bench} && kill -0 '$!'; do sleep 1; done; kill -KILL '$! >/dev/null 2>&1 </dev/null &\n",
            crate::process::this_program(),
            bench = std::process::id(),
        );
        bench.script("on", &on)?;
        bench.script("off", "[ -e pid ] || exit 0\nkill -KILL \"$(cat pid)\"\nrm pid\n")?;
        let path = |name: &str| bench.path(name).display().to_string();
        let environment = serde_json::json!({"targets": {"main": {
            "resources": {"NetworkService": {"address": "127.0.0.1", "port": port, "username": USER}},
            "drivers": {
                "SSHDriver": {"keyfile": path("key")},
                "ExternalPowerDriver": {"cmd_on": path("on"), "cmd_off": path("off")},
            },
        }}});
        // JSON is YAML; but labgrid takes a tag for a variable, which JSON has not.
        let tagged = environment.to_string().replace(&format!("\"{USER}\""), USER);
        fs::write(bench.environment(), tagged).context("the environment can't be written")?;
        Ok(bench)
    }

    /// The environment for labgrid, as those of boards are in `hw-tests/suites`; who logs in is as variable as there.
    pub fn environment(&self) -> PathBuf {
        self.path("rehearsal.yaml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn script(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\nset -e\ncd {:?}\n{text}", self.place.path()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("a script can't be made one")
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        drop(Command::new(self.path("off")).status());
    }
}

/// As an owner does who mounts nothing: by debugfs.
fn put_key(disk: &Path, key: &Path) -> anyhow::Result<()> {
    let output = Command::new("sfdisk").arg("--json").arg(disk).output().context("sfdisk does not start")?;
    let table: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("sfdisk does not tell the disk's table")?;
    let parts = table["partitiontable"]["partitions"].as_array().context("the disk has no partitions")?;
    let data = parts.iter().find(|part| part["name"] == "data").and_then(|part| part["start"].as_u64());
    let data = data.context("the disk has no data partition")? * SECTOR;
    let (mut steps, mut directory) = (String::new(), String::new());
    for name in KEYS.split('/') {
        directory = format!("{directory}/{name}");
        steps += &format!("mkdir {directory}\n");
    }
    steps += &format!("write {} {directory}/authorized_keys\n", key.display());
    let script = key.with_extension("debugfs");
    fs::write(&script, steps)?;
    run(Command::new("debugfs")
        .arg("-w")
        .arg(format!("{}?offset={data}", disk.display()))
        .stdin(fs::File::open(script)?))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = format!("{command:?}").replace('"', "");
    let output = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("{line} does not start"))?;
    if !output.status.success() {
        bail!("{line} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
