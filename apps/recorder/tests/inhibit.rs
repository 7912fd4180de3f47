//! The inhibitor against shutdown and sleep, with a small service on a private bus that speaks `Inhibit` as systemd-logind does:
//! over a real bus, with a real file descriptor. (hw-tests/systemd asks the real logind.)
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::PipeReader;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};

use common::{Box as Holdfast, test_input};
use holdfast_dbus::{LeaseOptions, LeasesProxy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zbus::zvariant::OwnedFd;

/// What, who, why, mode; and the end that tells when the other is closed.
type Inhibited = ([String; 4], PipeReader);

#[derive(Clone, Default)]
struct Logind {
    held: Arc<Mutex<Vec<Inhibited>>>,
    refuses: bool,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn inhibit(&self, what: String, who: String, why: String, mode: String) -> zbus::fdo::Result<OwnedFd> {
        let (reader, writer) = std::io::pipe().unwrap();
        self.held.lock().unwrap().push(([what, who, why, mode], reader));
        if self.refuses {
            return Err(zbus::fdo::Error::AccessDenied("not you".to_owned()));
        }
        Ok(std::os::fd::OwnedFd::from(writer).into())
    }
}

impl Logind {
    async fn serve(&self, holdfast: &Holdfast) -> zbus::Connection {
        zbus::connection::Builder::address(holdfast.bus.address.as_str())
            .unwrap()
            .name("org.freedesktop.login1")
            .unwrap()
            .serve_at("/org/freedesktop/login1", self.clone())
            .unwrap()
            .build()
            .await
            .unwrap()
    }

    fn asked(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    /// How many are held now.
    fn held(&self) -> usize {
        let held = self.held.lock().unwrap();
        let open = held.iter().filter(|(_, reader)| {
            let mut fds = [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
            !fds[0].revents().contains(PollFlags::HUP)
        });
        open.count()
    }
}

#[tokio::test]
async fn shutdown_is_held_back_while_something_is_recorded() {
    let mut holdfast = Holdfast::without_recorder("", &test_input("cam0", true)).await;
    holdfast.set_environment("HOLDFAST_LEASE_GRACE_SECONDS", "0");
    let logind = Logind::default();
    let _service = logind.serve(&holdfast).await;
    holdfast.start_recorder().await;
    assert_eq!(logind.asked(), 0);
    let path = holdfast.start("awake").await;
    holdfast.until("the inhibitor", || async { logind.held() == 1 }).await;
    {
        let held = logind.held.lock().unwrap();
        let [what, who, why, mode] = &held[0].0;
        assert_eq!((what.as_str(), who.as_str(), mode.as_str()), ("shutdown:sleep", "Holdfast", "block"));
        let id = holdfast_dbus::session_id_of(path.as_str()).unwrap();
        assert!(why.contains(&id), "{why}");
    }
    // It goes with the recorder, and the next one takes it up again for the session that goes on.
    holdfast.kill_recorder();
    holdfast.until("no inhibitor without a recorder", || async { logind.held() == 0 }).await;
    holdfast.start_recorder().await;
    holdfast.until("the inhibitor again", || async { logind.held() == 1 }).await;

    // Whoever may override a recording may take the box down.
    let leases = LeasesProxy::new(&holdfast.client).await.unwrap();
    let force = LeaseOptions { overrides: Some(true), ..LeaseOptions::default() };
    let (lease, granted) = leases.request_lease("reboot", "must be", force).await.unwrap();
    assert!(granted);
    holdfast.until("the way to be free", || async { logind.held() == 0 }).await;
    for _ in 0..2 {
        leases.revoke_lease(lease.as_str(), common::none()).await.unwrap();
    }
    holdfast.until("the inhibitor a third time", || async { logind.held() == 1 }).await;

    holdfast.stop().await;
    holdfast.until("its release", || async { logind.held() == 0 }).await;
    assert_eq!(logind.asked(), 3);
}

#[tokio::test]
async fn without_logind_or_its_leave_recording_is_as_ever_and_it_is_told_once() {
    let mut holdfast = Holdfast::without_recorder("", &test_input("cam0", true)).await;
    holdfast.start_recorder().await;
    for _ in 0..2 {
        holdfast.start("").await;
        holdfast.stop().await;
    }
    let told = |log: &str, words: &str| log.lines().filter(|line| line.contains(words)).count();
    let log = holdfast.log();
    assert_eq!(told(&log, "are not held back while recording"), 1, "{log}");
    assert!(log.lines().any(|line| line.contains(" INFO ") && line.contains("no logind")), "{log}");

    // It comes while something is recorded: asked at once, not with the next recording.
    let path = holdfast.start("").await;
    let late = Logind::default();
    let service = late.serve(&holdfast).await;
    holdfast.until("the inhibitor of a late logind", || async { late.held() == 1 }).await;
    assert_eq!(holdfast.stop().await.session, path);
    holdfast.until("its release", || async { late.held() == 0 }).await;
    service.close().await.unwrap();

    // It comes later, and refuses.
    let logind = Logind { refuses: true, ..Logind::default() };
    let _service = logind.serve(&holdfast).await;
    holdfast.start("").await;
    holdfast.until("it to be asked", || async { logind.asked() == 1 }).await;
    // Asked, and not again with every frame.
    holdfast.until_safe_frames("cam0", 30).await;
    assert_eq!(logind.asked(), 1);
    assert_eq!(holdfast.stop().await.lost_frames, 0);
}
