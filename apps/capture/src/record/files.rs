//! The files of one recording: where they are, what they are called, how they are chained.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_config::Storage;
use holdfast_link as link;
use holdfast_segment::{
    BootId, CloseReason, Closed, Counts, Error as SegmentError, FileId, Frame, Gap, Identity, Mark, Pool, Previous,
    Safe, Track, WriteOptions, Writer, durable,
};

use crate::clock::{self, Wall};
use crate::codes;
use crate::packet::Packet;

/// Blocks are allocated ahead in steps of this size.
const PREALLOCATE_BYTES: u64 = 64 * 1024 * 1024;
/// Where recycled blocks are, below the storage root.
const POOL_DIRECTORY: &str = ".holdfast/recycle";
/// How many taken names are stepped over before giving up.
const MAX_NAME_ATTEMPTS: u64 = 1000;

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The root is not what the configuration says.
    #[error(transparent)]
    Root(#[from] holdfast_config::root::RootError),
    /// A file or directory could not be made or written.
    #[error("{source}. Remedy: {}", source.remedy())]
    Segment {
        /// Which, and why.
        #[from]
        source: SegmentError,
    },
    /// The request names a directory outside of the root.
    #[error("the directory {directory:?} is not a relative path below the storage root")]
    Directory {
        /// As it was given.
        directory: String,
    },
    /// The kernel does not even tell the boot id or random bytes.
    #[error("the kernel gives no {what}: {source}")]
    Kernel {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file is asked for that is not open.
    #[error("no file is open")]
    NotOpen,
}

impl StorageError {
    /// The numeric code of a refusal.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Root(_) => codes::STORAGE_UNAVAILABLE,
            Self::Segment { source } if source.is_disk_full() => codes::STORAGE_LOW,
            Self::Segment { source } if source.is_io() => codes::STORAGE_UNAVAILABLE,
            Self::Directory { .. } => codes::INVALID_ARGUMENT,
            Self::Segment { .. } | Self::Kernel { .. } | Self::NotOpen => codes::INTERNAL,
        }
    }
}

/// What does not change while the process lives.
#[derive(Debug, Clone)]
pub struct Station {
    /// Where recordings go.
    pub storage: Storage,
    /// The input's name.
    pub input: String,
    /// The box.
    pub device: String,
    /// Program and version.
    pub software: String,
    /// This boot.
    pub boot_id: BootId,
    /// For labels.
    pub wall: Wall,
}

/// The files of one recording of one input.
#[derive(Debug)]
pub struct Files {
    station: Station,
    session: String,
    directory: PathBuf,
    options: WriteOptions,
    /// Of the open file, or of the next.
    sequence: u64,
    previous: Option<Previous>,
    writer: Option<Writer>,
    closed: u64,
}

impl Files {
    /// Checks the root and makes the directory, durably.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub fn prepare(station: &Station, start: &link::Start) -> Result<Self, StorageError> {
        let relative = std::path::Path::new(start.directory.as_str());
        let ordinary = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !ordinary || start.directory.is_empty() {
            return Err(StorageError::Directory { directory: start.directory.as_str().to_owned() });
        }
        holdfast_config::root::check(&station.storage)?;
        let directory = station.storage.root.join(relative);
        durable::create_dir_all(&directory)?;
        let previous = start.resume.as_ref().and_then(|resume| {
            let file_id = FileId(resume.previous_file_id?);
            Some(Previous { sequence: resume.previous_sequence, file_id, digest: None })
        });
        // Without a pool the files are as good, only the flash wears a little more.
        let recycle = Pool::open(&station.storage.root.join(POOL_DIRECTORY)).ok();
        Ok(Self {
            station: station.clone(),
            session: start.session.as_str().to_owned(),
            directory,
            options: WriteOptions { preallocate_bytes: PREALLOCATE_BYTES, recycle, sync: true },
            sequence: start.sequence.max(1),
            previous,
            writer: None,
            closed: 0,
        })
    }

    /// Begins a file whose first picture has this time. Its name is durable once its first chunk is.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub fn open(
        &mut self,
        video: &Arc<Track>,
        audio: Option<&Arc<Track>>,
        start_ns: u64,
        gap_before: Option<Gap>,
    ) -> Result<(), StorageError> {
        // A mount that has gone since the last file leaves its directory behind, on the root disk.
        holdfast_config::root::check(&self.station.storage)?;
        durable::create_dir_all(&self.directory)?;
        let (mono_ns, wall_ns) = (clock::mono_ns(), self.station.wall.now_ns());
        let age_ns = i64::try_from(mono_ns.saturating_sub(start_ns)).unwrap_or(0);
        let stamp = clock::utc_stamp(wall_ns.saturating_sub(age_ns));
        let tracks: Vec<Track> = std::iter::once(video).chain(audio).map(|track| Track::clone(track)).collect();
        let first = self.sequence;
        loop {
            let identity = Identity {
                session: self.session.clone(),
                input: self.station.input.clone(),
                sequence: self.sequence,
                file_id: FileId::random().map_err(|source| StorageError::Kernel { what: "random bytes", source })?,
                boot_id: self.station.boot_id,
                start_mono_ns: mono_ns,
                start_wall_ns: wall_ns,
                device: self.station.device.clone(),
                software: self.station.software.clone(),
                previous: self.previous.clone(),
                gap_before: gap_before.clone(),
            };
            let name = format!("{:06}_{stamp}.mp4", self.sequence);
            match Writer::create(&self.directory, &name, identity, tracks.clone(), &self.options) {
                Ok(writer) => {
                    self.writer = Some(writer);
                    return Ok(());
                }
                Err(SegmentError::Exists { .. }) if self.sequence < first + MAX_NAME_ATTEMPTS => self.sequence += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Unix time at which this boot's monotonic clock began, by the wall clock of now.
    pub fn mono_zero_wall_ns(&self) -> i64 {
        let mono_ns = i64::try_from(clock::mono_ns()).unwrap_or(i64::MAX);
        self.station.wall.now_ns().saturating_sub(mono_ns)
    }

    /// True while a file is open.
    pub fn is_open(&self) -> bool {
        self.writer.is_some()
    }

    /// Of the open file, or of the next.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Sequence number, id and final name of the open file.
    pub fn current(&self) -> Option<link::FileOpened> {
        let writer = self.writer.as_ref()?;
        let name = writer.path().file_name()?.to_str()?;
        let identity = writer.identity();
        Some(link::FileOpened { sequence: identity.sequence, file_id: identity.file_id.0, file: link::clip(name) })
    }

    /// Writes one chunk; when this returns, it is safe.
    ///
    /// # Errors
    /// See [`StorageError`]; the file can't be written to any more then.
    pub fn append<D: AsRef<[u8]>>(&mut self, packets: &[Arc<Packet<D>>]) -> Result<Safe, StorageError> {
        let frames: Vec<Frame<&[u8]>> = packets
            .iter()
            .map(|packet| Frame {
                track: usize::from(!packet.is_video()),
                dts_ns: packet.dts_ns,
                pts_ns: packet.pts_ns,
                duration_ns: packet.duration_ns,
                sync: packet.sync,
                data: packet.data.as_ref(),
            })
            .collect();
        let writer = self.writer.as_mut().ok_or(StorageError::NotOpen)?;
        Ok(writer.append(&frames)?)
    }

    /// For the next chunk's seal.
    pub fn note_gap(&mut self, gap: Gap) {
        if let Some(writer) = &mut self.writer {
            writer.note_gap(gap);
        }
    }

    /// For the next chunk's seal.
    pub fn note_mark(&mut self, mark: Mark) {
        if let Some(writer) = &mut self.writer {
            writer.note_mark(mark);
        }
    }

    /// For the next chunk's seal.
    pub fn note_counts(&mut self, counts: Counts) {
        if let Some(writer) = &mut self.writer {
            writer.note_counts(counts);
        }
    }

    /// Completes the open file and gives it its final name, durably.
    ///
    /// # Errors
    /// See [`StorageError`]; the file stays a `.part` for recovery then, and the next one names it as its predecessor.
    pub fn close(&mut self, reason: CloseReason) -> Result<Closed, StorageError> {
        let writer = self.writer.take().ok_or(StorageError::NotOpen)?;
        let (sequence, file_id) = (writer.identity().sequence, writer.identity().file_id);
        let was_written = writer.file_bytes() > 0;
        // A file that never came to be leaves no hole in the sequence; if its name is taken all the same, the next steps over it.
        self.sequence = sequence + u64::from(was_written);
        let closed = writer.close(reason);
        if was_written {
            let digest = closed.as_ref().ok().map(|closed| closed.digest);
            self.previous = Some(Previous { sequence, file_id, digest });
        }
        self.closed += u64::from(closed.is_ok());
        Ok(closed?)
    }

    /// How many files have been completed.
    pub fn closed(&self) -> u64 {
        self.closed
    }
}
