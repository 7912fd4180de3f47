//! The recorder on D-Bus. `dbus/org.holdfast.Recorder1.xml` is the contract; a test holds this code against it.
//!
//! Reading answers from what is in memory; commands go into the engine's mailbox. A client that is slow, wedged or gone holds up
//! nobody: signals are sent by a task of their own, and nobody waits for it.

mod alerts;
mod call;
mod input;
mod leases;
mod load;
mod manager;
mod owners;
mod publish;
mod recording;
mod recovery;
mod storage;

use std::sync::Arc;

use anyhow::Context;
use holdfast_config::Bus;
use holdfast_dbus::{BUS_NAME, ROOT_PATH, input_path, options};
use tokio::sync::mpsc;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::fdo::{ObjectManager, RequestNameFlags, RequestNameReply};

use crate::facade::{Facade, News};
use crate::lessor::LeaseNews;
use crate::tasks::Tasks;

/// Connects to the configured bus, without a name yet.
///
/// # Errors
/// It is not there.
pub async fn connect(bus: &Bus) -> anyhow::Result<Connection> {
    let (builder, which) = match bus {
        Bus::System => (Builder::system(), "the system bus".to_owned()),
        Bus::Session => (Builder::session(), "the session bus".to_owned()),
        Bus::Address(address) => (Builder::address(address.as_str()), format!("the bus at {address}")),
    };
    let remedy = || format!("no connection to {which}; is it running, and is recorder.bus right?");
    builder.with_context(remedy)?.build().await.with_context(remedy)
}

/// What is told on the bus as it happens.
pub struct AllNews {
    /// Of sessions.
    pub sessions: mpsc::Receiver<News>,
    /// Of leases.
    pub leases: mpsc::Receiver<LeaseNews>,
}

/// Offers everything, then takes the name: whoever sees the name finds the objects. Signals are sent from now on.
///
/// # Errors
/// Someone else has the name, or the bus policy denies it.
pub async fn serve(
    connection: &Connection,
    facade: Arc<Facade>,
    news: AllNews,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let server = connection.object_server();
    server.at(ROOT_PATH, manager::Manager::new(Arc::clone(&facade))).await?;
    server.at(ROOT_PATH, alerts::Alerts::new(Arc::clone(&facade), connection.clone())).await?;
    server.at(ROOT_PATH, leases::Leases::new(Arc::clone(&facade), connection.clone())).await?;
    server.at(ROOT_PATH, storage::Storage::new(Arc::clone(&facade))).await?;
    server.at(ROOT_PATH, load::Pressure::new(Arc::clone(&facade))).await?;
    server.at(ROOT_PATH, recovery::Recovery::new(Arc::clone(&facade))).await?;
    for (index, input) in facade.inputs.iter().enumerate() {
        server.at(input_path(&input.name), input::Input::new(Arc::clone(&facade), index)).await?;
    }
    let departures = owners::departures(connection).await.context("the bus does not tell who leaves it")?;
    let mut publisher = publish::Publisher::new(connection.clone(), Arc::clone(&facade));
    publisher.export_sessions().await;
    // Last, so that what is there already is not announced piece by piece.
    server.at(ROOT_PATH, ObjectManager).await?;
    let reply =
        connection.request_name_with_flags(BUS_NAME, RequestNameFlags::DoNotQueue.into()).await.with_context(|| {
            format!("cannot take the name {BUS_NAME}; does another recorder run, or does the bus policy deny it?")
        })?;
    anyhow::ensure!(
        matches!(reply, RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner),
        "another recorder has the name {BUS_NAME}"
    );
    tasks.spawn("publisher", publisher.run(news.sessions));
    tasks.spawn("owners", owners::watch(Arc::clone(&facade), departures));
    tasks.spawn("lease news", leases::tell(connection.clone(), facade, news.leases));
    Ok(())
}

/// Returns when the bus is gone.
pub async fn lost(connection: &Connection) {
    connection.closed().await;
}
