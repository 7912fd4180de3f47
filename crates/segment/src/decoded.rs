//! What decoding footage has found, as `holdfast-capture decode` says it, in JSON. The one definition for whoever has footage decoded:
//! here nothing is decoded.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is to be decoded lies in a file with this ending, if it is left for a process to find.
pub const REQUEST_SUFFIX: &str = "check";
/// What came of it lies beside that.
pub const ANSWER_SUFFIX: &str = "checked";

/// What is to be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Files, or directories of sessions and inputs: all closed files below.
    pub paths: Vec<PathBuf>,
    /// Of each directory of files only so much of its end, in seconds: of one that is being written, up to what is safe.
    pub last_seconds: Option<u64>,
    /// When to be done, in milliseconds.
    pub within_ms: u64,
    /// Inputs whose pictures must carry numbers. Of others they are read if the first picture of a file has one.
    pub numbered: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// All that was asked for was looked at.
    pub complete: bool,
    /// What was found in each file.
    pub files: Vec<DecodedFile>,
}

impl Answer {
    /// Nothing is wrong with what was looked at.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.complete && self.files.iter().all(|file| file.faults == 0)
    }
}

/// What decoding a file has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodedFile {
    /// The file.
    pub path: PathBuf,
    /// What was recorded.
    pub input: String,
    /// Its place in the sequence.
    pub sequence: u64,
    /// How far it went.
    pub extent: Extent,
    /// Video frames that its index names, as far as that.
    pub frames: u64,
    /// Those of them that decoding could start at.
    pub keyframes: u64,
    /// Pictures that came out of the decoder.
    pub pictures: u64,
    /// Those of them with a number in them.
    pub numbered: u64,
    /// Packets of sound that were decoded.
    pub packets: u64,
    /// What has decoded it: one name for each track.
    pub decoders: Vec<String>,
    /// Tracks that could not be decoded here, and why: for people. No fault of the file.
    pub undecoded: Vec<String>,
    /// How much is wrong.
    pub faults: u64,
    /// The first of the worst of it.
    pub fault: Option<Fault>,
}

/// How far decoding a file went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// All of it.
    Whole,
    /// As much of its end as was asked for; or, of one that is being written, what is safe.
    Part,
    /// The time was over, or the decoder gave up.
    #[default]
    Unfinished,
    /// Nothing: there is no decoder.
    Nothing,
}

impl Extent {
    /// As in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Part => "part",
            Self::Unfinished => "unfinished",
            Self::Nothing => "nothing",
        }
    }
}

/// The first thing of its kind that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The same for people, with the place in the file.
    pub text: String,
}

/// What is wrong with footage. The worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The decoder could not make of it what it should.
    Undecodable,
    /// What was decoded is not what was recorded.
    Differs,
}

impl FaultKind {
    /// As in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Differs => "differs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, FaultKind};

    #[test]
    fn names_are_those_of_the_json() {
        for extent in [Extent::Whole, Extent::Part, Extent::Unfinished, Extent::Nothing] {
            assert_eq!(serde_json::to_value(extent).unwrap(), extent.name());
        }
        for kind in [FaultKind::Undecodable, FaultKind::Differs] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
