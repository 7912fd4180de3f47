//! Before the plan goes on: RAUC may still be at an installation that an updater before this one began, and may be held still. While it
//! works it tells nothing of its slots, and while it is held still nothing at all, so its end is waited for: under the recorder's leave.

use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::{Error, ErrorCode};
use holdfast_rauc::{Rauc, Status};
use holdfast_update_plan::{Event, LeaseNews, Permit};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use zbus::Connection;

use crate::beside::{self, Watch};
use crate::brake::Brake;
use crate::bus::{Ask, Shown};
use crate::leave::{self, Leases};
use crate::valve::Valve;
use crate::{engine, freeze};

/// How often RAUC is asked whether it has come to its end.
const LOOK: Duration = Duration::from_secs(1);

/// RAUC at rest, and what it says then. `beside`: it may go on beside a recording, under the brake.
///
/// # Errors
/// There is no RAUC.
pub async fn settle(
    connection: &Connection,
    beside: bool,
    valve: &Arc<Valve>,
    asks: &mut mpsc::Receiver<Ask>,
    shown: &watch::Sender<Shown>,
) -> anyhow::Result<(Rauc, Status)> {
    if !freeze::is_frozen(connection).await {
        let rauc = Rauc::connect(connection).await?;
        let status = rauc.status().await?;
        if is_at_rest(&status) {
            return Ok((rauc, status));
        }
        freeze::set(connection, true).await?;
    }
    info!("RAUC is at an installation; it goes on when the recorder gives leave");
    // Full: the lease's task waits; one lease has few news.
    let (sender, mut events) = mpsc::channel(16);
    let mut leases = Leases::new(connection.clone(), beside, sender);
    leases.ask(Permit::Install, "the installation that goes on".to_owned(), false);
    let mut is_frozen = true;
    let mut brake: Option<(Watch, Brake)> = None;
    let mut paces = valve.paces();
    // Not begun anew by each change of the pace.
    let mut look = std::pin::pin!(sleep(LOOK));
    loop {
        shown.send_modify(|shown| {
            shown.state = "installing".to_owned();
            shown.frozen = is_frozen;
            let waits_for = if is_frozen { "leave to install: nothing may be recorded" } else { "" };
            shown.waits_for = leave::words(waits_for, beside).to_owned();
            shown.throttled = if is_frozen { String::new() } else { beside::words(valve.pace()) };
        });
        tokio::select! {
            Some(event) = events.recv() => {
                let Event::Lease(_, news) = event else { continue };
                is_frozen = news != LeaseNews::Granted;
                if !is_frozen && beside && brake.is_none() {
                    let (watch, ticket) = (Watch::start(connection, valve), valve.begin());
                    brake = Some((watch, Brake::put_on(connection, valve, ticket).await?));
                }
                engine::hold(valve, is_frozen).await;
                if !is_frozen && brake.is_some() {
                    continue;
                }
                if let Err(error) = freeze::set(connection, is_frozen).await {
                    // It has died meanwhile: then it is at rest when it comes again.
                    warn!("RAUC was not held still, or not let go on: {error:#}");
                }
                if is_frozen {
                    leases.release(Permit::Install);
                    leases.ask(Permit::Install, "the installation that goes on".to_owned(), false);
                }
            }
            Some(ask) = asks.recv() => {
                let text = "an installation goes on that was begun before; ask again when State is no longer installing";
                let _ = ask.answer.send(Err(Error::new(ErrorCode::Busy, text)));
            }
            Ok(()) = paces.changed() => {}
            () = &mut look => {
                look.set(sleep(LOOK));
                if is_frozen {
                    continue;
                }
                // Under the brake it may take its time to answer.
                let asked = async {
                    let rauc = Rauc::connect(connection).await?;
                    rauc.status().await.map(|status| (rauc, status))
                };
                let Ok(answered) = timeout(LOOK, asked).await else { continue };
                let (rauc, status) = answered?;
                if is_at_rest(&status) {
                    if let Some((_watch, brake)) = brake.take() {
                        brake.take_off().await;
                    }
                    leases.release(Permit::Install);
                    shown.send_modify(|shown| shown.throttled.clear());
                    return Ok((rauc, status));
                }
                shown.send_modify(|shown| {
                    shown.percent = status.progress.percent.into();
                    shown.message.clone_from(&status.progress.message);
                });
            }
        }
    }
}

/// It tells its slots only then.
fn is_at_rest(status: &Status) -> bool {
    !status.slots.is_empty()
}
