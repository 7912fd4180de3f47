//! What people and programs ask for: made an event for the plan, or refused with a reason.

use std::path::Path;

use holdfast_dbus::{Error, ErrorCode};
use holdfast_update_plan::{Event, Offer, Origin, Phase};

use super::Engine;
use crate::bus::What;

impl Engine {
    pub(super) async fn asked(&mut self, what: &What) -> anyhow::Result<Result<(), Error>> {
        if let Err(error) = self.may(what) {
            return Ok(Err(error));
        }
        let event = match what.clone() {
            What::Check => Event::Check,
            What::Install { location, until, force } if location.starts_with("https://") => {
                // Behind a question mark there may be a token: that is for the server alone.
                let path = location.split(['?', '#']).next().unwrap_or_default();
                let version = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".raucb").to_owned();
                Event::Wanted(Offer { origin: Origin::Url(location), version, size_bytes: None, wish: until, force })
            }
            What::Install { location, until, force } => {
                let size_bytes = std::fs::metadata(&location).ok().map(|metadata| metadata.len());
                let version = Path::new(&location).file_stem().unwrap_or_default().to_string_lossy().into_owned();
                Event::Wanted(Offer { origin: Origin::File(location), version, size_bytes, wish: until, force })
            }
            What::Approve(until) => Event::Approved(until),
            What::Cancel => Event::Cancelled,
            What::Rollback => Event::GoBack,
        };
        self.handle(event).await?;
        Ok(Ok(()))
    }

    /// What the plan would pass over in silence is refused with a reason here.
    fn may(&self, what: &What) -> Result<(), Error> {
        let phase = &self.plan.record().phase;
        let busy = |text: String| Err(Error::new(ErrorCode::Busy, text));
        match what {
            What::Check if self.fleet.is_none() && self.channel.is_none() => {
                let text = "there is no server to be asked; name one in updater.toml ([update] fleet_url or channel_url), or install a file";
                Err(Error::new(ErrorCode::Configuration, text).with("key", "update.fleet_url"))
            }
            What::Install { location, .. } => {
                if !matches!(phase, Phase::Idle | Phase::Available) {
                    return busy(format!("an update is {} already; holdfast update status shows it", phase.name()));
                }
                if location.starts_with("https://") {
                    return Ok(());
                }
                match std::fs::metadata(location) {
                    Ok(metadata) if metadata.is_file() => Ok(()),
                    Ok(_) => Err(invalid(location, "is no file")),
                    // For its owner alone. RAUC, which reads it, is above permissions, and says so if there is nothing.
                    Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
                    Err(error) => Err(invalid(location, &format!("can't be read: {error}"))),
                }
            }
            What::Approve(_) if self.plan.record().offer.is_none() => {
                Err(Error::new(ErrorCode::InvalidArgument, "there is no update that could be approved"))
            }
            What::Cancel if matches!(phase, Phase::Trial { .. } | Phase::Reverting { .. }) => {
                busy("the new system runs already; to leave it: holdfast update rollback".to_owned())
            }
            What::Cancel if *phase == Phase::Idle => {
                Err(Error::new(ErrorCode::InvalidArgument, "there is no update that could be cancelled"))
            }
            What::Rollback if matches!(phase, Phase::Trial { .. }) => Ok(()),
            What::Rollback if !matches!(phase, Phase::Idle | Phase::Available) => {
                busy(format!("an update is {}; cancel it first", phase.name()))
            }
            What::Rollback if !self.other_good => {
                let text = "the other system has not proven itself, or is half written; there is nothing to go back to";
                Err(Error::new(ErrorCode::NotPermitted, text))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(location: &str, why: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("{location} {why}")).with("location", location)
}
