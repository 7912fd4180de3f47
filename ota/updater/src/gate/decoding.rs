//! Footage is decoded and compared with its index, frame for frame: by a process that the recorder starts (`Session.Check`). Here is
//! only what is made of it.

use std::time::Duration;

use holdfast_dbus::{CheckInfo, CheckOptions, Error, ErrorCode, SessionProxy};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::{LOOK, Proof, wrong};

/// What a recorder takes beyond the time it is given: to end a decoder that hangs, and to say so.
const GRACE: Duration = Duration::from_secs(15);
/// The longest and the shortest time that is asked for.
const MOST: Duration = Duration::from_secs(600);
const LEAST: Duration = Duration::from_secs(1);

/// How a session is decoded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent {
    /// All of its closed files. It was made now, by this system: pictures of test sources carry numbers.
    All,
    /// So much of the end of each input, of files that are being written too.
    Last(Duration),
}

/// Has it decoded, until then at the latest. That decoding was possible says nothing yet: see [`judge`].
pub(super) async fn decode(session: &SessionProxy<'_>, extent: Extent, until: Instant) -> Proof<CheckInfo> {
    loop {
        let within = until.saturating_duration_since(Instant::now()).clamp(LEAST, MOST);
        let options = CheckOptions {
            last_seconds: match extent {
                Extent::All => None,
                Extent::Last(last) => Some(u32::try_from(last.as_secs()).unwrap_or(u32::MAX).max(1)),
            },
            within_ms: u32::try_from(within.as_millis()).ok(),
            numbered: Some(matches!(extent, Extent::All)),
        };
        let error = match timeout(within + GRACE, session.check(options)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_) => return Err(wrong("recorder-silent", "a check by decoding: no answer in time")),
        };
        // Somebody else has something checked: that ends.
        let is_busy = Error::from_zbus(&error).is_some_and(|error| error.code == ErrorCode::Busy);
        if !is_busy || Instant::now() >= until {
            return Err(wrong("recorder-refuses", format!("a check by decoding: {error}")));
        }
        sleep(LOOK).await;
    }
}

/// What decoding has found, as proof or as the reason against it. What has no decoder here is no reason, and is told.
pub(super) fn judge(found: &CheckInfo) -> Proof<()> {
    if !found.failure.is_empty() {
        return Err(wrong("footage-undecodable", found.failure.clone()));
    }
    // The worst of all files.
    for (fault, code) in [("undecodable", "footage-undecodable"), ("differs", "footage-differs")] {
        if let Some(file) = found.files.iter().find(|file| file.fault == fault) {
            return Err(wrong(code, format!("{}: {}", file.path, file.text)));
        }
    }
    for file in &found.files {
        for why in &file.undecoded {
            warn!(
                path = file.path.as_str(),
                "its structure and digests are right, but not all of it could be decoded: {why}"
            );
        }
    }
    if !found.complete {
        let file = found.files.last().map_or("", |file| file.path.as_str());
        let text = format!("decoding was not done in time: {} pictures, and came to {file:?}", found.pictures);
        return Err(wrong("footage-undecodable", text));
    }
    let FileSums { files, numbered } = FileSums::of(found);
    info!(frames = found.frames, pictures = found.pictures, numbered, files, "decoded, and compared frame for frame");
    Ok(())
}

/// That of a recording that was made as a proof nothing was left out: neither a file nor a frame that the recorder has called safe.
pub(super) fn covers(found: &CheckInfo, files: usize, safe_frames: u64) -> Proof<()> {
    if found.files.len() < files {
        let text = format!("of {files} files {} were decoded", found.files.len());
        return Err(wrong("footage-undecodable", text));
    }
    let is_all = found.files.iter().all(|file| file.undecoded.is_empty());
    if is_all && found.frames < safe_frames {
        let text = format!("{safe_frames} frames were told as safe, and {} are in the files", found.frames);
        return Err(wrong("footage-differs", text));
    }
    Ok(())
}

struct FileSums {
    files: usize,
    numbered: u64,
}

impl FileSums {
    fn of(found: &CheckInfo) -> Self {
        let decoded = || found.files.iter().filter(|file| file.extent != "nothing");
        Self { files: decoded().count(), numbered: decoded().map(|file| file.numbered).sum() }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_dbus::{CheckInfo, CheckedFile};

    use super::{covers, judge};

    fn code(found: &CheckInfo) -> String {
        judge(found).err().map(|reason| reason.code).unwrap_or_default()
    }

    fn file(fault: &str) -> CheckedFile {
        CheckedFile { fault: fault.to_owned(), extent: "whole".to_owned(), ..CheckedFile::default() }
    }

    #[test]
    fn what_was_found_has_a_code_and_the_worst_is_told() {
        let of = |files: &[&str]| CheckInfo {
            complete: true,
            files: files.iter().map(|fault| file(fault)).collect(),
            ..CheckInfo::default()
        };
        assert_eq!(code(&of(&["", ""])), "");
        assert_eq!(code(&of(&["", "differs"])), "footage-differs");
        assert_eq!(code(&of(&["differs", "undecodable"])), "footage-undecodable");
        assert_eq!(code(&CheckInfo { complete: false, ..of(&[""]) }), "footage-undecodable");
        assert_eq!(code(&CheckInfo { failure: "signal 11".to_owned(), ..of(&[]) }), "footage-undecodable");
    }

    #[test]
    fn a_proof_leaves_nothing_out() {
        let found = CheckInfo { frames: 60, files: vec![file(""), file("")], ..CheckInfo::default() };
        let code = |files, safe| covers(&found, files, safe).err().map(|reason| reason.code).unwrap_or_default();
        assert_eq!((code(2, 60), code(2, 59)), (String::new(), String::new()));
        assert_eq!((code(3, 60).as_str(), code(2, 61).as_str()), ("footage-undecodable", "footage-differs"));
    }

    #[test]
    fn what_has_no_decoder_here_is_no_reason() {
        let undecoded = vec!["no decoder for H.265 is installed".to_owned()];
        let file = CheckedFile { undecoded, extent: "nothing".to_owned(), ..CheckedFile::default() };
        assert_eq!(code(&CheckInfo { complete: true, files: vec![file], ..CheckInfo::default() }), "");
    }
}
