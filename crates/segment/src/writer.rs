//! Writes segments: frames in, safe bytes out.

use crate::boxes::put_u32;
use crate::durable;
use crate::error::{Error, Result};
use crate::finish::Finish;
use crate::identity::{Counts, Gap, Identity, Mark};
use crate::ledger::{CloseReason, Ledger};
use crate::moof::put_moof;
use crate::moov::{put_ftyp, put_moov};
use crate::moov_read::MAX_TRACKS;
use crate::plan::{Plan, plan};
use crate::recycle::{Pool, is_no_help};
use crate::sample_entry;
use crate::seal::{Notes, Seal, chain_start};
use crate::tally::Tally;
use crate::types::{Digest, FileId, Frame, Track};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Room that is always allocated behind the last chunk, so that a full disk does not keep a file from being closed.
const CLOSE_RESERVE_BYTES: u64 = 64 * 1024;

/// How a file is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Blocks are allocated in steps of so many bytes ahead of the writing; 0 for not at all.
    pub preallocate_bytes: u64,
    /// Where to take blocks to overwrite from, if there are any.
    pub recycle: Option<Pool>,
    /// Sync every chunk. Without, nothing is safe before the file is closed: for measuring only.
    pub sync: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { preallocate_bytes: 64 * 1024 * 1024, recycle: None, sync: true }
    }
}

/// A chunk that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safe {
    /// Number of the chunk in its file, from 1.
    pub sequence: u64,
    /// Frames of the chunk, all tracks.
    pub frames: u64,
    /// Bytes of coded media in the chunk.
    pub bytes: u64,
    /// Length of the file now.
    pub file_bytes: u64,
    /// How long the write took.
    pub write_ns: u64,
    /// How long the sync took.
    pub sync_ns: u64,
}

/// A file that is closed and has its final name.
#[derive(Clone, Debug)]
pub struct Closed {
    /// Where it is.
    pub path: PathBuf,
    /// Its id, for the next one's [`crate::Previous`].
    pub file_id: FileId,
    /// Its digest, likewise.
    pub digest: Digest,
    /// Length of the file.
    pub file_bytes: u64,
    /// Its sums.
    pub ledger: Ledger,
}

/// A segment that is being written. Dropped without [`Writer::close`] it stays a `.part`, for recovery.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    part: PathBuf,
    file: File,
    identity: Identity,
    tracks: Vec<Track>,
    options: WriteOptions,
    recycled: bool,
    name_is_durable: bool,
    /// Chain value of the last safe chunk; `None` before the first.
    chain: Option<Digest>,
    /// Safe length of the file: where the next chunk goes.
    length: u64,
    allocated: u64,
    tally: Tally,
    /// Notes for the next seal.
    pending: Notes,
    last_dts_ns: Vec<Option<u64>>,
    poisoned: bool,
    /// What stands before the frames' bytes; kept for its capacity.
    front: Vec<u8>,
    /// `moof` and header of the `mdat`, likewise.
    payload: Vec<u8>,
}

impl Writer {
    /// Makes `<dir>/<name>.part`. Nothing is written yet: head and first chunk go to disk together.
    ///
    /// The directory must exist durably ([`durable::create_dir_all`]). A pool that cannot help is no error.
    ///
    /// # Errors
    /// A track cannot be written, a file of this name is there already (with or without `.part`), or the filesystem
    /// refuses.
    pub fn create(
        dir: &Path,
        name: &str,
        identity: Identity,
        tracks: Vec<Track>,
        options: &WriteOptions,
    ) -> Result<Self> {
        if tracks.is_empty() || tracks.len() > MAX_TRACKS {
            let what = format!("{} tracks; 1 to {MAX_TRACKS} can be written", tracks.len());
            return Err(Error::BadTrack { track: 0, what });
        }
        for (index, track) in tracks.iter().enumerate() {
            sample_entry::check(track).map_err(|what| Error::BadTrack { track: index, what })?;
        }
        let path = dir.join(name);
        let part = dir.join(format!("{name}{}", crate::PART_SUFFIX));
        if path.symlink_metadata().is_ok() {
            return Err(Error::Exists { path });
        }
        let (file, allocated, recycled) = open_part(&part, options)?;
        Ok(Self {
            tally: Tally::new(0, &tracks),
            last_dts_ns: vec![None; tracks.len()],
            chain: None,
            length: 0,
            pending: Notes::default(),
            poisoned: false,
            front: Vec::new(),
            payload: Vec::new(),
            options: options.clone(),
            path,
            part,
            file,
            identity,
            tracks,
            recycled,
            name_is_durable: recycled,
            allocated,
        })
    }

    /// What the file is. Its start is exact once the first chunk is safe.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The file as it is called now.
    #[must_use]
    pub fn part_path(&self) -> &Path {
        &self.part
    }

    /// The file as it will be called.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Safe length of the file in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.length
    }

    /// Sums of what is safe.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        self.tally.ledger()
    }

    /// True if blocks of an older file are being overwritten.
    #[must_use]
    pub fn is_recycled(&self) -> bool {
        self.recycled
    }

    /// Notes that footage is missing. It goes into the next chunk's seal, and into the ledger.
    pub fn note_gap(&mut self, gap: Gap) {
        self.pending.gaps.push(gap);
    }

    /// Notes a chapter mark, likewise.
    pub fn note_mark(&mut self, mut mark: Mark) {
        let end = mark.text.floor_char_boundary(Mark::MAX_TEXT_BYTES);
        mark.text.truncate(end);
        self.pending.marks.push(mark);
    }

    /// Notes the counters, likewise; the last ones noted count.
    pub fn note_counts(&mut self, counts: Counts) {
        self.pending.counts = Some(counts);
    }

    /// Writes one chunk and syncs it. When this returns `Ok`, the frames are safe.
    ///
    /// Frames of several tracks may be mixed; within a track they are in decode order. The first video frame of a
    /// file must be a sync frame. Frame data is not copied.
    ///
    /// # Errors
    /// [`Error::BadFrame`]: nothing was written. [`Error::Io`]: the disk refused; nothing of the chunk is safe, what
    /// was safe before still is. After a failed write (disk full) the same or another chunk may be appended again;
    /// after a failed sync only [`Writer::close`] makes sense ([`Error::Poisoned`]), because the kernel may have
    /// dropped what it could not write.
    pub fn append<D: AsRef<[u8]>>(&mut self, frames: &[Frame<D>]) -> Result<Safe> {
        if self.poisoned {
            return Err(Error::Poisoned { path: self.part.clone(), safe_bytes: self.length });
        }
        let base_ns = self.chain.map(|_| self.identity.start_mono_ns);
        let plan = plan(&self.part, &self.tracks, &self.last_dts_ns, base_ns, frames)?;
        let front = self.front(&plan);
        let (write_ns, sync_ns) = self.write(&plan)?;

        // Safe: only now does anything count.
        if self.chain.is_none() {
            self.identity = started(&self.identity, plan.base_ns);
            self.tally = Tally::new(plan.base_ns, &self.tracks);
        }
        let notes = Notes {
            gaps: self.pending.gaps.drain(..front.gaps).collect(),
            marks: self.pending.marks.drain(..front.marks).collect(),
            counts: self.pending.counts.take(),
        };
        self.tally.add(front.moof_offset, &plan.samples, notes);
        self.last_dts_ns = plan.last_dts_ns;
        self.chain = Some(front.chain);
        self.length += self.front.len() as u64 + plan.media_bytes;
        Ok(Safe {
            sequence: self.tally.ledger().chunks,
            frames: plan.samples.len() as u64,
            bytes: plan.media_bytes,
            file_bytes: self.length,
            write_ns,
            sync_ns,
        })
    }

    /// Puts all that stands before the frames' bytes into `self.front`: for the first chunk the head of the file,
    /// then seal, `moof` and the header of the `mdat`.
    fn front(&mut self, plan: &Plan<'_>) -> Front {
        self.payload.clear();
        let sequence = self.tally.ledger().chunks + 1;
        put_moof(&mut self.payload, sequence, &plan.samples);
        let mdat_bytes = plan.media_bytes + 8;
        put_u32(&mut self.payload, u32::try_from(mdat_bytes).expect("the plan is below 2 GiB"));
        self.payload.extend(b"mdat");
        let mut digest = blake3::Hasher::new();
        digest.update(&self.payload);
        plan.data.iter().for_each(|data| {
            digest.update(data);
        });

        self.front.clear();
        let previous_chain = self.chain.unwrap_or_else(|| {
            put_ftyp(&mut self.front);
            started(&self.identity, plan.base_ns).put(&mut self.front);
            put_moov(&mut self.front, &self.tracks);
            chain_start(&self.front)
        });
        let (notes, gaps, marks) = self.pending.to_json();
        let seal = Seal {
            file_id: self.identity.file_id,
            offset: self.length + self.front.len() as u64,
            sequence,
            previous_chain,
            payload_bytes: self.payload.len() as u64 + plan.media_bytes,
            payload_digest: Digest(*digest.finalize().as_bytes()),
            frames: plan.frames_per_track.clone(),
            notes,
        };
        let chain = seal.put(&mut self.front);
        let moof_offset = self.length + self.front.len() as u64;
        self.front.extend(&self.payload);
        Front { chain, moof_offset, gaps, marks }
    }

    /// Writes and syncs; nothing of the writer's books changes. Returns how long each took.
    fn write(&mut self, plan: &Plan<'_>) -> Result<(u64, u64)> {
        let begun = Instant::now();
        self.allocate(self.length + self.front.len() as u64 + plan.media_bytes + CLOSE_RESERVE_BYTES);
        let mut slices = Vec::with_capacity(plan.data.len() + 1);
        slices.push(IoSlice::new(&self.front));
        slices.extend(plan.data.iter().map(|data| IoSlice::new(data)));
        durable::write_all_at(&self.file, &self.part, self.length, &mut slices)?;
        let written = Instant::now();
        if self.options.sync {
            self.sync()?;
        }
        Ok((nanos(written - begun), nanos(written.elapsed())))
    }

    fn sync(&mut self) -> Result<()> {
        let synced = self.file.sync_data().map_err(|error| Error::io(&self.part, self.length, "sync", error));
        // The name must be as durable as the bytes before the first of them are called safe.
        let synced = match self.name_is_durable {
            true => synced,
            false => synced.and_then(|()| durable::sync_parent(&self.part)),
        };
        self.name_is_durable |= synced.is_ok();
        self.poisoned = synced.is_err();
        synced
    }

    /// Sees to it that blocks are allocated up to `end`, as far as the filesystem plays along: an optimisation and a
    /// reserve. If there is no room the write itself will say so.
    fn allocate(&mut self, end: u64) {
        let mut step = self.options.preallocate_bytes;
        while self.allocated < end && step > 0 {
            let wanted = step.max(end - self.allocated);
            match durable::allocate(&self.file, self.allocated, wanted) {
                Ok(true) => self.allocated += wanted,
                Ok(false) => self.options.preallocate_bytes = 0,
                // Nearly full: take less ahead.
                Err(_) if wanted > end - self.allocated => {
                    step /= 4;
                    continue;
                }
                Err(_) => (),
            }
            break;
        }
    }

    /// Completes the file: ledger, index, exact length, sync, final name, sync of the directory.
    ///
    /// # Errors
    /// [`Error::Empty`] if nothing was ever appended; the `.part` is gone then (its blocks are back in the pool if
    /// they came from there). Otherwise the disk refused, or its directory has gone; the `.part` stays, with all that is safe, for
    /// recovery.
    pub fn close(mut self, reason: CloseReason) -> Result<Closed> {
        let Some(chain) = self.chain else {
            return Err(self.discard());
        };
        let pending = std::mem::take(&mut self.pending);
        self.tally.note(pending);
        self.tally.ledger_mut().reason = reason;
        let finish = Finish { file: &self.file, part: &self.part, path: &self.path, offset: self.length };
        let (digest, file_bytes) = finish.run(self.identity.file_id, chain, &self.tally)?;
        Ok(Closed {
            file_id: self.identity.file_id,
            digest,
            file_bytes,
            ledger: self.tally.ledger().clone(),
            path: self.path,
        })
    }

    /// Nothing was recorded: what is to be closed is no file.
    fn discard(self) -> Error {
        let gone = match &self.options.recycle {
            Some(pool) if self.recycled => pool.retire_held(&self.part, &self.file),
            _ => std::fs::remove_file(&self.part).map_err(|error| Error::io(&self.part, 0, "remove", error)),
        };
        match gone {
            Ok(()) => Error::Empty { path: self.part },
            Err(error) => {
                // Its name can't be reached (the disk was unmounted under it), but its bytes can: a chunk that was never called
                // safe must not come back as footage in the place of the file that is written instead.
                let _ = self.file.set_len(0).and_then(|()| self.file.sync_data());
                error
            }
        }
    }
}

/// What [`Writer::front`] made.
struct Front {
    chain: Digest,
    moof_offset: u64,
    /// How many of the pending gaps and marks are in the seal.
    gaps: usize,
    marks: usize,
}

/// The identity with the start of the first chunk; the wall time moves along.
fn started(identity: &Identity, base_ns: u64) -> Identity {
    let moved = i128::from(base_ns) - i128::from(identity.start_mono_ns);
    let wall = i128::from(identity.start_wall_ns) + moved;
    Identity {
        start_mono_ns: base_ns,
        start_wall_ns: i64::try_from(wall).unwrap_or(identity.start_wall_ns),
        ..identity.clone()
    }
}

/// Opens `<name>.part`, new or over blocks of the pool; with what is allocated in it and whether it is recycled.
fn open_part(part: &Path, options: &WriteOptions) -> Result<(File, u64, bool)> {
    if let Some(pool) = &options.recycle {
        match pool.take(part) {
            Ok(Some((file, bytes))) => return Ok((file, bytes, true)),
            Ok(None) => (),
            Err(error) if is_no_help(&error) => (),
            Err(error) => return Err(error),
        }
    }
    let file = match OpenOptions::new().read(true).write(true).create_new(true).open(part) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(Error::Exists { path: part.to_owned() }),
        Err(error) => return Err(Error::io(part, 0, "create", error)),
    };
    match durable::try_lock(&file) {
        Ok(true) => Ok((file, 0, false)),
        Ok(false) => Err(Error::Busy { path: part.to_owned() }),
        Err(error) => Err(Error::io(part, 0, "lock", error)),
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
