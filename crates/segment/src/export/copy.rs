//! Writes a planned export, and goes on where an earlier run stopped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Export, ExportError, Exported, Progress, Run, Segment};
use crate::error::Error;
use crate::reader::Reader;
use crate::{PART_SUFFIX, durable};

/// The result is synced whenever this much is new. A later run trusts no more than what must have been synced: after a
/// power cut the bytes behind could be anything.
const SYNC_STEP_BYTES: u64 = 16 * 1024 * 1024;
/// Progress is told this often.
const PROGRESS_STEP_BYTES: u64 = 4 * 1024 * 1024;

pub(super) fn write(
    export: &Export,
    out: &Path,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Exported, ExportError> {
    if out.exists() {
        return Err(ExportError::Exists { path: out.to_owned() });
    }
    let mut part = out.as_os_str().to_owned();
    part.push(PART_SUFFIX);
    let part = PathBuf::from(part);
    let io = |what| {
        let part = &part;
        move |error: io::Error| ExportError::io(part, what, error)
    };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part).map_err(io("open"))?;
    if !durable::try_lock(&file).map_err(io("lock"))? {
        return Err(ExportError::Busy { path: part });
    }
    let total_bytes = export.summary.bytes;
    let (begun_bytes, resumed_bytes) = begin(export, &mut file).map_err(io("write"))?;
    let mut state =
        Copy { file: &file, part: &part, done_bytes: begun_bytes, synced_bytes: begun_bytes, told_bytes: 0 };
    state.tell(total_bytes, &mut progress)?;

    let mut place = export.head.len() as u64;
    let mut open: Option<(usize, File)> = None;
    for run in &export.runs {
        let skip = state.done_bytes.saturating_sub(place).min(run.bytes);
        place += run.bytes;
        if skip == run.bytes {
            continue;
        }
        let mut rest = Run { offset: run.offset + skip, bytes: run.bytes - skip, ..*run };
        if open.as_ref().is_none_or(|(segment, _)| *segment != run.segment) {
            open = Some((run.segment, open_segment(&export.segments[run.segment])?));
        }
        let Some((_, source)) = &mut open else { continue };
        let from = &export.segments[run.segment].path;
        while rest.bytes > 0 {
            let step = rest.bytes.min(PROGRESS_STEP_BYTES);
            state.copy(source, from, rest.offset, step)?;
            (rest.offset, rest.bytes) = (rest.offset + step, rest.bytes - step);
            if state.done_bytes - state.told_bytes >= PROGRESS_STEP_BYTES {
                state.tell(total_bytes, &mut progress)?;
            }
        }
    }
    file.set_len(total_bytes).map_err(io("truncate"))?;
    file.sync_all().map_err(io("sync"))?;
    drop(open);
    durable::rename_new(&part, out).map_err(|error| match error {
        Error::Exists { path } => ExportError::Exists { path },
        other => other.into(),
    })?;
    let _ = progress(Progress { done_bytes: total_bytes, total_bytes });
    Ok(Exported { bytes: total_bytes, resumed_bytes })
}

/// Puts the file behind its head, or behind what can be kept of an earlier run: where that is, and how much of it was
/// there already.
fn begin(export: &Export, file: &mut File) -> io::Result<(u64, u64)> {
    let head_bytes = export.head.len() as u64;
    let length = file.metadata()?.len();
    if length >= head_bytes {
        let mut found = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        (&*file).take(head_bytes).read_to_end(&mut found)?;
        if found == export.head {
            let kept =
                length.min(export.summary.bytes).saturating_sub(SYNC_STEP_BYTES + PROGRESS_STEP_BYTES).max(head_bytes);
            file.set_len(kept)?;
            file.seek(SeekFrom::Start(kept))?;
            return Ok((kept, kept));
        }
    }
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&export.head)?;
    file.sync_data()?;
    Ok((head_bytes, 0))
}

/// Opens a segment and makes sure that it is the one the plan was made for. A file that was being written may have been
/// closed since, and so lost its suffix.
fn open_segment(segment: &Segment) -> Result<File, ExportError> {
    let closed = segment.path.to_str().and_then(|path| path.strip_suffix(PART_SUFFIX)).map(PathBuf::from);
    let path =
        if segment.path.exists() { segment.path.clone() } else { closed.unwrap_or_else(|| segment.path.clone()) };
    let reader = Reader::open(&path)?;
    if reader.identity().file_id != segment.file_id {
        return Err(ExportError::Changed { path });
    }
    File::open(&path).map_err(|error| ExportError::io(&path, "open", error))
}

struct Copy<'a> {
    file: &'a File,
    part: &'a Path,
    done_bytes: u64,
    synced_bytes: u64,
    told_bytes: u64,
}

impl Copy<'_> {
    /// Appends these bytes of a segment; in the kernel where it can.
    fn copy(&mut self, source: &mut File, from: &Path, offset: u64, bytes: u64) -> Result<(), ExportError> {
        source.seek(SeekFrom::Start(offset)).map_err(|error| ExportError::io(from, "read", error))?;
        let copied = io::copy(&mut (&*source).take(bytes), &mut &*self.file);
        match copied {
            Ok(copied) if copied == bytes => {}
            Ok(_) => return Err(ExportError::Changed { path: from.to_owned() }),
            Err(error) => {
                // Which of the two files it was, the error does not say: a byte read by hand tells.
                let readable = source.read_exact_at(&mut [0], offset).is_ok();
                return Err(if readable {
                    ExportError::io(self.part, "write", error)
                } else {
                    ExportError::io(from, "read", error)
                });
            }
        }
        self.done_bytes += bytes;
        if self.done_bytes - self.synced_bytes >= SYNC_STEP_BYTES {
            self.file.sync_data().map_err(|error| ExportError::io(self.part, "sync", error))?;
            self.synced_bytes = self.done_bytes;
        }
        Ok(())
    }

    fn tell(
        &mut self,
        total_bytes: u64,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), ExportError> {
        self.told_bytes = self.done_bytes;
        match progress(Progress { done_bytes: self.done_bytes, total_bytes }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ExportError::Stopped { path: self.part.to_owned() }),
        }
    }
}
