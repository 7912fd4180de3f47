//! What supervisors report: noted in the session's journal, told to whoever listens, fed to the machine.

use holdfast_dbus::{FileClosedInfo, GapSignalInfo};
use holdfast_link::GapCause;
use tracing::warn;

use super::Engine;
use crate::captures::{Report, cause_name};
use crate::facade::News;
use crate::session::Event;
use crate::{clock, ids};

impl Engine {
    pub(super) fn hear(&mut self, index: usize, report: Report) {
        let Some(input) = self.inputs.get(index).map(|input| input.name.clone()) else {
            return;
        };
        match report {
            // Only asked at start.
            Report::Found { .. } => (),
            Report::Safe { session } => {
                self.safe_again(&session);
                self.feed(Event::Safe { id: session });
            }
            Report::Ended { session } => self.feed(Event::InputEnded { id: session, input }),
            Report::Base { session, base } => {
                self.keeper.note(&session, holdfast_records::Record::Base { input, base })
            }
            Report::FileOpened { session, file } => {
                let record = holdfast_records::Record::FileOpened {
                    input,
                    sequence: file.sequence,
                    file_id: file.file_id,
                    file: file.file.as_str().to_owned(),
                };
                self.keeper.note(&session, record);
            }
            Report::FileClosed { session, file } => {
                let info = FileClosedInfo {
                    sequence: file.sequence,
                    frames: file.frames,
                    bytes: file.bytes,
                    duration_usec: file.duration_ms * 1000,
                    recovered: false,
                };
                self.file_closed(session, input, file.file.as_str(), info);
            }
            Report::FileRecovered { session, file } => {
                let info = FileClosedInfo {
                    sequence: file.sequence,
                    frames: file.frames,
                    bytes: file.bytes,
                    duration_usec: file.duration_ms * 1000,
                    recovered: true,
                };
                self.file_closed(session, input, &file.path, info);
            }
            Report::Gap { session, mut gap } => {
                let cause = cause_name(gap.cause);
                if gap.cause == GapCause::Reboot && gap.duration_ms == 0 {
                    gap.duration_ms = self.gap_over_reboot_ms(&session, &input);
                }
                warn!(session, input, cause, duration_ms = gap.duration_ms, frames_lost = gap.frames_lost, "gap");
                let record = holdfast_records::Record::Gap {
                    input: input.clone(),
                    cause: cause.to_owned(),
                    start_mono_ns: gap.start_mono_ns,
                    duration_ms: gap.duration_ms,
                    frames_lost: gap.frames_lost,
                    wall_ns: clock::wall_ns(),
                };
                self.keeper.note(&session, record);
                let info = GapSignalInfo {
                    start_usec: gap.start_mono_ns / 1000,
                    duration_usec: gap.duration_ms * 1000,
                    frames_lost: gap.frames_lost,
                };
                self.tell_news(News::Gap { session, input, cause, info });
            }
        }
    }

    fn file_closed(&mut self, session: String, input: String, file: &str, info: FileClosedInfo) {
        let record = holdfast_records::Record::FileClosed {
            input: input.clone(),
            sequence: info.sequence,
            file: file.to_owned(),
            frames: info.frames,
            bytes: info.bytes,
            duration_ms: info.duration_usec / 1000,
            recovered: info.recovered,
        };
        self.keeper.note(&session, record);
        let path = format!("{}/{input}/{file}", ids::session_dir(&session).unwrap_or_default());
        self.tell_news(News::FileClosed { session, input, path, info });
    }
}
