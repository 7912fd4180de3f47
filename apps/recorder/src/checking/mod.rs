//! Checking of footage by decoding it: asked for by the updater, when a new system has to prove itself, and by people.
//!
//! Decoders are foreign code that is fed with whatever is on the disk: they run in a process of their own (`holdfast-capture decode`),
//! at the lowest priority, one at a time, for no longer than was asked for. What is to be done lies in a file of the runtime
//! directory, and so does what came of it.

mod run;

pub use run::{Child, Decoder, Unit};

use std::path::PathBuf;
use std::time::Duration;

use holdfast_dbus::{CheckInfo, CheckedFile, Error, ErrorCode};
use holdfast_segment::decoded::{ANSWER_SUFFIX, Answer, DecodedFile, REQUEST_SUFFIX, Request};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

/// The name of the job: there is one at most.
pub const JOB: &str = "decode";
/// A decoder keeps to the time it is given. One that does not in that long beyond it hangs.
const GRACE: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The directory of a session.
    pub session: PathBuf,
    /// Only so much of each input's end.
    pub last_seconds: Option<u32>,
    /// How long it may take.
    pub within: Duration,
    /// Pictures of test sources must carry numbers.
    pub numbered: bool,
}

/// As on D-Bus.
fn checked(file: DecodedFile) -> CheckedFile {
    let (fault, text) = file.fault.map(|fault| (fault.kind.name().to_owned(), fault.text)).unwrap_or_default();
    CheckedFile {
        path: file.path.to_string_lossy().into_owned(),
        input: file.input,
        sequence: file.sequence,
        extent: file.extent.name().to_owned(),
        frames: file.frames,
        keyframes: file.keyframes,
        pictures: file.pictures,
        numbered: file.numbered,
        packets: file.packets,
        decoders: file.decoders,
        undecoded: file.undecoded,
        faults: file.faults,
        fault,
        text,
    }
}

/// See the module.
#[derive(Debug)]
pub struct Checker {
    decoder: Box<dyn Decoder>,
    directory: PathBuf,
    /// Inputs whose pictures are numbered.
    numbered: Vec<String>,
    one: Semaphore,
}

impl Checker {
    /// `directory`: where requests and answers lie. `numbered`: the inputs whose source is the test source.
    pub fn new(decoder: Box<dyn Decoder>, directory: PathBuf, numbered: Vec<String>) -> Self {
        Self { decoder, directory, numbered, one: Semaphore::new(1) }
    }

    /// Decodes, and says what was found.
    ///
    /// # Errors
    /// Another check is under way, or none can be begun.
    pub async fn check(&self, wanted: &Wanted) -> Result<CheckInfo, Error> {
        let busy = |_| Error::new(ErrorCode::Busy, "other footage is being checked; try again when that is done");
        let _only_one = self.one.try_acquire().map_err(busy)?;
        let request = Request {
            paths: vec![wanted.session.clone()],
            last_seconds: wanted.last_seconds.map(u64::from),
            within_ms: u64::try_from(wanted.within.as_millis()).unwrap_or(u64::MAX),
            numbered: if wanted.numbered { self.numbered.clone() } else { Vec::new() },
        };
        let [asked, answered] =
            [REQUEST_SUFFIX, ANSWER_SUFFIX].map(|suffix| self.directory.join(format!("{JOB}.{suffix}")));
        // What an earlier one has left is no answer to this one.
        let _ = std::fs::remove_file(&answered);
        let text = serde_json::to_vec(&request).map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        std::fs::write(&asked, text).map_err(|error| {
            Error::new(ErrorCode::CaptureFailed, format!("{} can't be written: {error}", asked.display()))
        })?;
        let mut decoding = self.decoder.begin()?;
        let how = timeout(wanted.within + GRACE, decoding.ended()).await;
        decoding.end().await;
        let how = match how {
            Ok(how) => how?,
            Err(_) => format!("it hung, and was ended {} s after its time", GRACE.as_secs()),
        };
        let answer = std::fs::read(&answered).ok().and_then(|answer| serde_json::from_slice::<Answer>(&answer).ok());
        let info = match answer {
            Some(answer) => {
                let files: Vec<CheckedFile> = answer.files.into_iter().map(checked).collect();
                let sum = |of: fn(&CheckedFile) -> u64| files.iter().map(of).fold(0, u64::saturating_add);
                let (frames, pictures) = (sum(|file| file.frames), sum(|file| file.pictures));
                CheckInfo { complete: answer.complete, failure: String::new(), frames, pictures, files }
            }
            None => {
                CheckInfo { failure: format!("the process that decodes gave no answer: {how}"), ..CheckInfo::default() }
            }
        };
        let _ = [asked, answered].map(std::fs::remove_file);
        let (session, CheckInfo { frames, pictures, complete, failure, .. }) = (wanted.session.display(), &info);
        match failure.is_empty() {
            true => info!(%session, frames, pictures, complete, "checked by decoding"),
            false => warn!(%session, "not checked: {failure}"),
        }
        Ok(info)
    }
}

#[cfg(test)]
mod tests;
