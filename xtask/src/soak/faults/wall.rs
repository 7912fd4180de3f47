//! A wall clock that can be set, for the recorder and its captures alone: libfaketime.

use std::path::{Path, PathBuf};

use anyhow::Context;

const MISSING: &str = "no libfaketime here (Debian: faketime)";

/// What it shows is off by what stands in a file.
#[derive(Debug)]
pub struct Wall {
    library: PathBuf,
    offset: PathBuf,
}

impl Wall {
    /// Why there can be none on this machine, if so.
    pub fn impossible() -> Option<&'static str> {
        library().is_none().then_some(MISSING)
    }

    /// One that is right, for now.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let wall = Self { library: library().context(MISSING)?, offset: directory.join("clock") };
        wall.set("+0")?;
        Ok(wall)
    }

    /// For those who are to live by it. Their monotonic clock stays what it is.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.clone()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// From now on it is off by so much: `+3h`.
    pub fn set(&self, by: &str) -> anyhow::Result<()> {
        // Never half of it: it is read at each look at the clock.
        let new = self.offset.with_extension("new");
        std::fs::write(&new, format!("{by}\n"))?;
        std::fs::rename(&new, &self.offset).context("the clock can't be set")
    }
}

fn library() -> Option<PathBuf> {
    let dirs = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    dirs.map(|dir| dir.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file())
}
