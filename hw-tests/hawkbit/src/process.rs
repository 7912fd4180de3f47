//! The server's process.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::{GATEWAY_TOKEN, ISSUER_HASH, Manage, POLLING_SECONDS, parts};

/// Longest start, on a machine that has other things to do.
const START_DEADLINE: Duration = Duration::from_secs(240);

/// Why there is no server on this machine: a test says so aloud and ends.
#[derive(Debug)]
pub struct Unavailable(pub String);

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Server {
    /// Starts a server, and waits until it answers.
    ///
    /// # Errors
    /// [`Unavailable`] when this machine has no Java or Maven, the parts can't be fetched, or don't run with a Java other
    /// than 17.
    ///
    /// # Panics
    /// When it has all of it, and the server does not start all the same.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with(&[])
    }

    /// The same behind somebody's proxy: what is to be downloaded has HTTPS addresses.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_behind_tls() -> Result<Self, Unavailable> {
        Self::start_with(&["--hawkbit.artifact.url.protocols.download-http.protocol=https"])
    }

    #[allow(clippy::panic, reason = "a rig of tests: what is there must run")]
    fn start_with(more: &[&str]) -> Result<Self, Unavailable> {
        let unavailable = |error: anyhow::Error| Unavailable(format!("no hawkBit server: {error:#}"));
        let java = Command::new("java")
            .arg("-version")
            .output()
            .context("java can't be run; install the package openjdk-17-jdk-headless")
            .map_err(unavailable)?;
        let java = String::from_utf8_lossy(&java.stderr).lines().next().unwrap_or_default().to_owned();
        let parts = parts::fetched().map_err(unavailable)?;
        match Self::run(&parts, more) {
            Ok(server) => Ok(server),
            // Its libraries are older than newer Javas, and their fault is not ours.
            Err(error) if !java.contains("\"17.") => Err(unavailable(error.context(format!("{java} is not Java 17")))),
            Err(error) => panic!("the hawkBit server does not start: {error:#}"),
        }
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The operator's side. One for each test: it must not outlive the runtime that it is used in.
    pub fn manage(&self) -> Manage {
        Manage::new(self.url())
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn run(parts: &std::path::Path, more: &[&str]) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("holdfast-hawkbit").tempdir()?;
        let at = directory.path();
        fs::write(at.join("Server.java"), include_str!("Server.java"))?;
        let log = File::create(at.join("log"))?;
        let child = Command::new("java")
            // Quick to start rather than quick for ever.
            .args([
                "-Xmx400m",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "--add-opens=java.base/java.lang=ALL-UNNAMED",
            ])
            .arg(format!("-Djava.io.tmpdir={}", at.display()))
            .arg("-cp")
            .arg(parts.join("*"))
            // Class files as old as the libraries that read them.
            .args(["--source", "11", "Server.java"])
            .args([
                "--server.address=127.0.0.1",
                "--server.port=0",
                "--spring.main.allow-bean-definition-overriding=true",
            ])
            .args(["--spring.security.user.name=admin", "--spring.security.user.password={noop}admin"])
            .arg("--hawkbit.server.security.dos.filter.enabled=false")
            .arg("--hawkbit.controller.minPollingTime=00:00:01")
            .arg(format!("--org.eclipse.hawkbit.repository.file.path={}", at.join("artifacts").display()))
            .args(more)
            .current_dir(at)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self { child, port: 0, directory };
        server.port = server.wait_for_port()?;
        server.set_up()?;
        Ok(server)
    }

    fn wait_for_port(&mut self) -> anyhow::Result<u16> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let log = self.log();
            let last = || log.chars().rev().take(2000).collect::<Vec<_>>().into_iter().rev().collect::<String>();
            // Told behind the port, when all is ready.
            if log.contains("Started application in") || log.contains("Started Server in") {
                let port = log.split("Jetty started on port(s) ").nth(1).and_then(|rest| rest.split(' ').next());
                return port.context("the log names no port")?.parse().context("the log's port is no number");
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", last());
            }
            if Instant::now() > deadline {
                bail!("it is not ready after {START_DEADLINE:?}: {}", last());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// All ways to say who one is are on, and the tenant's polling time is not the default.
    fn set_up(&self) -> anyhow::Result<()> {
        let settings = [
            ("authentication.targettoken.enabled", json!(true)),
            ("authentication.gatewaytoken.enabled", json!(true)),
            ("authentication.gatewaytoken.key", json!(GATEWAY_TOKEN)),
            ("authentication.header.enabled", json!(true)),
            ("authentication.header.authority", json!(ISSUER_HASH)),
            ("pollingTime", json!(format!("00:00:{POLLING_SECONDS}"))),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Tests start it from inside a runtime too, which another one does not fit into.
        let url = self.url();
        let set = move || {
            runtime.block_on(async {
                let manage = Manage::new(url);
                for (key, value) in settings {
                    manage.configure(key, value).await?;
                }
                anyhow::Ok(())
            })
        };
        std::thread::spawn(set).join().map_err(|_| anyhow::anyhow!("the set-up panicked"))?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already: as wished.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
