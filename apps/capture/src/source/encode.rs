//! Choice of an encoder for a raw source, and what becomes of the choice when one fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use holdfast_config::{Codec, Encoding};

use super::memory::Memory;
use super::{Failure, FailureKind, Trouble, chain, explain_plainly};
use crate::clock::{self, NS_PER_S};
use crate::encoders::{self, Job, Row};
use crate::intake::Feed;
use crate::ladder::{Remedy, Slate};
use crate::packet::Medium;
use crate::probe::Probe;
use crate::state::Shared;

/// While nothing is recorded, an encoder that was given up is looked at again this often.
const RECONSIDER_NS: u64 = 600 * NS_PER_S;

/// Which encoder to use.
#[derive(Debug)]
pub struct Encoders {
    encoding: Encoding,
    probe: Probe,
    slate: Slate,
    memory: Memory,
    in_use: Option<InUse>,
    /// Share of the bit rate in use.
    percent: u8,
    /// Recordings that had ended when last looked at.
    ended: u64,
    /// A look at the encoder that was given up is under way.
    look: Option<Receiver<bool>>,
    look_due_ns: u64,
    /// It works again.
    may_return: bool,
}

#[derive(Debug)]
struct InUse {
    row: &'static Row,
    job: Job,
    bin: gst::Bin,
}

impl Encoders {
    /// `memory`: the file that carries over to the next process of the same recording what has failed in it.
    #[must_use]
    pub fn new(encoding: Encoding, probe: Probe, memory: PathBuf) -> Self {
        let memory = Memory::new(memory);
        Self {
            slate: memory.recall(),
            memory,
            encoding,
            probe,
            in_use: None,
            percent: 100,
            ended: 0,
            look: None,
            look_due_ns: 0,
            may_return: false,
        }
    }

    /// Target bit rate in kbit/s, as configured.
    #[must_use]
    pub fn bitrate_kbps(&self) -> u32 {
        self.encoding.bitrate_kbps
    }

    /// Puts the best encoder and the sink behind `raw`, whose source pad gives pictures as `job` says. Returns its name.
    ///
    /// # Errors
    /// There is none, or an element is missing.
    pub fn attach(
        &mut self,
        pipeline: &gst::Pipeline,
        raw: &gst::Element,
        job: &Job,
        feed: &Arc<Feed>,
    ) -> Result<&'static str, Failure> {
        let shared = feed.shared();
        let row = self.choose(job, shared.recordings().1)?;
        self.percent = shared.asked_bitrate();
        let job_now = self.scaled(job);
        let bin = row.bin(&job_now).map_err(|error| Failure::configuration(error.to_string()))?;
        let sink = feed.sink(Medium::Video);
        chain(pipeline, &[raw, bin.upcast_ref(), sink.upcast_ref()])?;
        if let Some(pad) = raw.static_pad("src") {
            feed.watch_encoder_input(&pad);
        }
        self.in_use = Some(InUse { row, job: *job, bin });
        shared.set_bitrate(self.percent);
        shared.set_ladder(self.slate.failures(), self.slate.gave_up());
        Ok(row.element)
    }

    /// The configured encoder, or the first of the table that has shown that it works; not one that was given up.
    fn choose(&mut self, job: &Job, recording: bool) -> Result<&'static Row, Failure> {
        let named = match &self.encoding.encoder {
            Some(name) => Some(encoders::row(name).map_err(|error| Failure::configuration(error.to_string()))?),
            None => None,
        };
        // A recording that has lost its encoder does not wait for evidence as long as there is one that needs none.
        let hurry = recording && !self.slate.is_clean();
        let mut evidence = Vec::new();
        loop {
            // A missing element says so when the chain is built, with its package.
            if let Some(row) = named.filter(|row| !self.slate.is_given_up(row.element)) {
                return Ok(row);
            }
            let left = |row: &&'static Row| {
                row.is_installed()
                    && !self.slate.is_given_up(row.element)
                    && named.is_none_or(|named| named.element != row.element)
            };
            let table: Vec<&'static Row> = encoders::rows(self.encoding.codec).filter(left).collect();
            let at_hand = |row: &&&'static Row| self.probe.known(row, job).unwrap_or(row.is_software());
            if let Some(row) = table.iter().find(|row| hurry && at_hand(row)) {
                return Ok(row);
            }
            for row in table {
                match self.probe.works(row, job) {
                    Ok(()) => return Ok(row),
                    Err(reason) => evidence.push(format!("{}: {reason}", row.element)),
                }
            }
            if !self.slate.gave_up() {
                break;
            }
            // All have failed: begin at the top again, one of them has to do.
            self.slate.forgive();
            evidence.clear();
        }
        let packages = match self.encoding.codec {
            Codec::H264 => "gstreamer1.0-plugins-ugly (x264enc)",
            Codec::H265 => "gstreamer1.0-plugins-bad (x265enc)",
        };
        let tried = if evidence.is_empty() { "none is installed".to_owned() } else { evidence.join("; ") };
        Err(Failure::configuration(format!(
            "no encoder for {:?} works on this box ({tried}). Install {packages}, or the board's own encoder",
            self.encoding.codec
        )))
    }

    /// The encoder in use failed after it had delivered for `ran`. `stuck`: so badly that its pipeline does not even end.
    pub fn failed(&mut self, ran: Duration, stuck: bool, shared: &Shared) -> Remedy {
        let Some(in_use) = &self.in_use else { return Remedy::Reset };
        let can_restart = shared.has_peers();
        let mut remedy = self.slate.failed(in_use.row.element, ran, can_restart);
        if remedy == Remedy::Reset && stuck {
            // No other pipeline can be had from it in this process.
            remedy = self.slate.failed(in_use.row.element, Duration::ZERO, can_restart);
        }
        shared.set_ladder(self.slate.failures(), self.slate.gave_up());
        self.memory.keep(&self.slate);
        remedy
    }

    /// How often encoders have failed in this recording.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.slate.failures()
    }

    /// The encoder in use is not the first choice.
    #[must_use]
    pub fn is_fallback(&self) -> bool {
        self.slate.gave_up()
    }

    /// The source rests: with nothing to be recorded, all begin anew.
    pub fn rest(&mut self, shared: &Shared) {
        if let (Some(row), Some(in_use)) = (self.lost_choice(), &self.in_use) {
            self.probe.forget(row, &in_use.job);
        }
        self.clean(shared);
    }

    /// Follows what others wish, while a pipeline runs. True: the first choice works again and nothing is recorded, so another
    /// pipeline should be built.
    pub fn follow(&mut self, shared: &Shared) -> bool {
        self.follow_bitrate(shared);
        let (ended, recording) = shared.recordings();
        let has_ended = std::mem::replace(&mut self.ended, ended) != ended;
        if has_ended && !self.slate.gave_up() {
            self.clean(shared);
        }
        if let Some(works) = self.look.as_ref().and_then(|look| look.try_recv().ok()) {
            self.look = None;
            self.may_return = works;
        }
        if !self.slate.gave_up() || recording {
            return false;
        }
        let now_ns = clock::mono_ns();
        if has_ended {
            // What failed in that recording is not counted in the next.
            self.slate.begin_again();
            shared.set_ladder(0, true);
        }
        if has_ended || now_ns >= self.look_due_ns && self.look.is_none() {
            self.look_due_ns = now_ns + RECONSIDER_NS;
            self.look_again();
        }
        let returns = std::mem::take(&mut self.may_return);
        if returns {
            self.clean(shared);
        }
        returns
    }

    fn follow_bitrate(&mut self, shared: &Shared) {
        let percent = shared.asked_bitrate();
        if percent == self.percent {
            return;
        }
        self.percent = percent;
        if let Some(in_use) = &self.in_use {
            let at_once = in_use.row.set_bitrate(&in_use.bin, &self.scaled(&in_use.job));
            tracing::info!(percent, at_once, encoder = in_use.row.element, "another bit rate");
            shared.set_bitrate(percent);
        }
    }

    fn scaled(&self, job: &Job) -> Job {
        let share = u64::from(job.bitrate_kbps) * u64::from(self.percent) / 100;
        Job { bitrate_kbps: u32::try_from(share).unwrap_or(job.bitrate_kbps).max(1), ..*job }
    }

    /// Asks a child process, beside the pipeline that runs, whether the encoder that was given up works again.
    fn look_again(&mut self) {
        let (Some(row), Some(in_use)) = (self.lost_choice(), &self.in_use) else { return };
        let (probe, job) = (self.probe.clone(), in_use.job);
        // Never full: one word is all that is ever said in it.
        let (tell, told) = sync_channel(1);
        let looking = std::thread::Builder::new().name("probe".to_owned()).spawn(move || {
            probe.forget(row, &job);
            let _ = tell.try_send(probe.works(row, &job).is_ok());
        });
        self.look = looking.is_ok().then_some(told);
    }

    /// The best of those that were given up.
    fn lost_choice(&self) -> Option<&'static Row> {
        let named = self.encoding.encoder.as_ref().and_then(|name| encoders::row(name).ok());
        let mut all = named.into_iter().chain(encoders::rows(self.encoding.codec));
        all.find(|row| self.slate.is_given_up(row.element))
    }

    fn clean(&mut self, shared: &Shared) {
        self.slate = Slate::default();
        self.may_return = false;
        self.memory.forget();
        shared.set_ladder(0, false);
    }

    /// What an error of the pipeline means where the source has no better words.
    #[must_use]
    pub fn explain(&self, what: &str, trouble: &Trouble) -> Failure {
        let failure = explain_plainly(what, trouble);
        match self.is_from_encoder(trouble) {
            true => Failure { kind: FailureKind::Encoder, ..failure },
            false => failure,
        }
    }

    /// Whether an error came from the encoder.
    #[must_use]
    pub fn is_from_encoder(&self, trouble: &Trouble) -> bool {
        self.in_use.as_ref().is_some_and(|in_use| trouble.factory == in_use.row.factory())
    }
}
