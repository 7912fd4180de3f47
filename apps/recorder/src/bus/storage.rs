//! `org.holdfast.Recorder1.Storage`, on the recorder's main object.

use std::sync::Arc;

use holdfast_dbus::FileDeletedInfo;
use zbus::interface;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::ObjectPath;

use crate::facade::Facade;

/// Retention and ballast on the bus.
pub struct Storage {
    facade: Arc<Facade>,
}

impl Storage {
    pub fn new(facade: Arc<Facade>) -> Self {
        Self { facade }
    }
}

#[interface(name = "org.holdfast.Recorder1.Storage", introspection_docs = false)]
impl Storage {
    #[zbus(property)]
    fn retention(&self) -> &'static str {
        self.facade.cleaning.borrow().state
    }

    #[zbus(property)]
    fn deleted_files(&self) -> u64 {
        self.facade.cleaning.borrow().files
    }

    #[zbus(property)]
    fn deleted_bytes(&self) -> u64 {
        self.facade.cleaning.borrow().bytes
    }

    #[zbus(property)]
    fn ballast(&self) -> &'static str {
        self.facade.ballast.borrow().name()
    }

    #[zbus(signal)]
    pub async fn file_deleted(
        emitter: &SignalEmitter<'_>,
        session: ObjectPath<'_>,
        input: &str,
        path: &str,
        info: FileDeletedInfo,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub async fn session_deleted(emitter: &SignalEmitter<'_>, session: ObjectPath<'_>) -> zbus::Result<()>;
}
