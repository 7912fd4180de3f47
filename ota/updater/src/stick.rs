//! `holdfast-updater stick DEVICE`: looks for a bundle on a stick that was plugged in, and hands it to the updater.
//!
//! A process of its own, which systemd starts with the stick and ends with it, and the only one that may mount. What it mounts is
//! attached nowhere: nobody else on the box can reach it, and it is gone when the last open file is. The updater gets the open bundle
//! and one end of a socket, by which each of the two hears of the other's end (decision 0018).

mod files;
mod mount;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use holdfast_dbus::updater::{StickOptions, UPDATER_BUS_NAME, UpdaterProxy};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tracing::{info, warn};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::proxy::CacheProperties;
use zbus::zvariant::Fd;

use crate::config::Config;
pub use files::version_of;
use files::{Bundle, Found};

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct StickArgs {
    /// The stick's block device.
    #[arg(required_unless_present = "directory")]
    device: Option<PathBuf>,
    /// What it may be formatted as.
    #[arg(long, default_values_t = ["vfat".to_owned(), "exfat".to_owned()], value_name = "TYPE")]
    filesystem: Vec<String>,
    /// Look at this directory instead, as if it were a mounted stick.
    #[arg(long, hide = true, conflicts_with = "device")]
    directory: Option<PathBuf>,
}

/// What the bus says of an updater that ended before it answered.
const GONE: [&str; 3] = [".ServiceUnknown", ".NameHasNoOwner", ".NoReply"];
/// The updater's word that it is done with the stick.
pub const DONE: u8 = b'd';

/// Looks, and stays until the stick is no longer needed.
///
/// # Errors
/// There is no bus. A stick that is no good is no error of ours.
pub async fn run(config: &Config, connection: &Connection, args: &StickArgs) -> anyhow::Result<()> {
    if config.usb.is_none() {
        info!("sticks are not looked at: [update] usb = \"off\"");
        return Ok(());
    }
    // Only now: a stick that nobody will look at is not held.
    until_there(connection).await?;
    let found = look(args);
    // The files are open: nothing of what root may do is needed any more.
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).context("what root may do can't be given up")?;
    let updater = UpdaterProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let bundle = match found {
        Found::Nothing => return Ok(()),
        Found::Refused(why) => {
            warn!("{why}");
            // One that ends just now hears of it no more.
            drop(updater.refuse_stick(&why, std::collections::HashMap::new()).await);
            return Ok(());
        }
        Found::Bundle(bundle) => bundle,
    };
    loop {
        until_there(connection).await?;
        if hand_over(&updater, &bundle).await {
            return Ok(());
        }
    }
}

fn look(args: &StickArgs) -> Found {
    let root = match (&args.device, &args.directory) {
        (Some(device), _) => mount::mount(device, &args.filesystem),
        (None, Some(directory)) => mount::open(directory),
        (None, None) => return Found::Nothing,
    };
    match root {
        Ok(root) => files::find(&root),
        Err(error) => {
            info!("not looked at: {error:#}");
            Found::Nothing
        }
    }
}

/// Waits until there is an updater.
async fn until_there(connection: &Connection) -> zbus::Result<()> {
    let bus = DBusProxy::new(connection).await?;
    let mut owners = bus.receive_name_owner_changed_with_args(&[(0, UPDATER_BUS_NAME)]).await?;
    while !bus.name_has_owner(UPDATER_BUS_NAME.try_into()?).await? {
        owners.next().await.ok_or(zbus::Error::InterfaceNotFound)?;
    }
    Ok(())
}

/// Offers the bundle, and waits for what becomes of it. False: the updater has gone, and another one is to be offered it.
async fn hand_over(updater: &UpdaterProxy<'_>, bundle: &Bundle) -> bool {
    let Ok((ours, theirs)) = UnixStream::pair() else { return true };
    let options = StickOptions { name: Some(bundle.name.clone()), channel: bundle.channel.clone() };
    let offered = updater.offer_stick(Fd::from(&bundle.file), Fd::from(OwnedFd::from(theirs)), options).await;
    if let Err(error) = offered {
        let is_gone = match &error {
            zbus::Error::MethodError(name, ..) => GONE.iter().any(|end| name.ends_with(end)),
            zbus::Error::InputOutput(_) => true,
            _ => false,
        };
        if is_gone {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        } else {
            warn!("the updater does not take it: {error}");
        }
        return !is_gone;
    }
    info!(bundle = bundle.name, "offered to the updater");
    let said = tokio::task::spawn_blocking(move || {
        let mut byte = [0];
        let count = (&ours).read(&mut byte).unwrap_or(0);
        count == 1 && byte[0] == DONE
    });
    said.await.unwrap_or(true)
}
