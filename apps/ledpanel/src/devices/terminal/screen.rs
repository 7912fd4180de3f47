//! The terminal's screen: taken, drawn on by a thread of its own, and given back on every way out.

use std::io::{self, Write as _, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use crossterm::event::{
    DisableFocusChange, EnableFocusChange, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
    PushKeyboardEnhancementFlags,
};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    supports_keyboard_enhancement,
};
use crossterm::{cursor, execute, queue};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::fs::{Mode, OFlags};
use tokio::sync::oneshot;

use super::view::View;
use crate::devices::DeviceError;

/// A terminal that takes nothing any more is left alone after this.
const LEAVE_DEADLINE: Duration = Duration::from_millis(500);

/// The screen is ours, and has to be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// So has the keyboard.
static ENHANCED: AtomicBool = AtomicBool::new(false);

/// Given back when dropped.
pub(super) struct Screen {
    views: Option<SyncSender<View>>,
    done: Receiver<()>,
    failed: Arc<Mutex<String>>,
}

impl Screen {
    /// Takes the terminal. Also tells whether it tells when a key is let go.
    pub(super) async fn open() -> Result<(Self, bool), DeviceError> {
        give_back_on_panic();
        // One view. Full: the terminal is slow; the newest is offered again with the next.
        let (views, to_draw) = sync_channel(1);
        // One word. Full: never, it is said once.
        let (say_done, done) = sync_channel(1);
        let (say_taken, taken) = oneshot::channel();
        let failed = Arc::new(Mutex::new(String::new()));
        let why = Arc::clone(&failed);
        let draw = move || {
            match take() {
                Ok(releases) => {
                    // Nobody waits any more: it is given back at once.
                    if say_taken.send(Ok(releases)).is_ok()
                        && let Err(error) = draw(&to_draw)
                    {
                        *why.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
                    }
                }
                Err(error) => drop(say_taken.send(Err(error))),
            }
            give_back();
            // Nobody may be waiting for it.
            let _ = say_done.try_send(());
        };
        let started = std::thread::Builder::new().name("terminal".to_owned()).spawn(draw);
        started.map_err(|error| broken(&error.to_string()))?;
        let screen = Self { views: Some(views), done, failed };
        match taken.await {
            Ok(Ok(releases)) => Ok((screen, releases)),
            Ok(Err(error)) => Err(broken(&error.to_string())),
            Err(_) => Err(broken("its thread is gone")),
        }
    }

    /// Has this drawn. `false`: not yet, the terminal is slow; offer the newest again.
    pub(super) fn show(&mut self, view: View) -> Result<bool, DeviceError> {
        let Some(views) = &self.views else { return Ok(false) };
        match views.try_send(view) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Disconnected(_)) => {
                Err(broken(&self.failed.lock().unwrap_or_else(PoisonError::into_inner)))
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.views = None;
        if self.done.recv_timeout(LEAVE_DEADLINE).is_err() {
            // It still writes to a terminal that takes nothing.
            give_back();
        }
    }
}

fn broken(why: &str) -> DeviceError {
    DeviceError::new(format!("the panel can't be drawn in the terminal: {why}"), "run it in another terminal")
}

/// Takes the screen and the keyboard. `true`: the terminal tells when a key is let go.
fn take() -> io::Result<bool> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    // Not ratatui's way of clearing it, which asks where the cursor is and fails where nobody answers.
    execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All), cursor::Hide, EnableFocusChange)?;
    // A terminal that does not even answer the question does not know the protocol.
    if !supports_keyboard_enhancement().unwrap_or(false) {
        return Ok(false);
    }
    ENHANCED.store(true, Ordering::SeqCst);
    execute!(
        stdout(),
        PushKeyboardEnhancementFlags(
            KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES
                | KeyboardEnhancementFlags::REPORT_EVENT_TYPES
                | KeyboardEnhancementFlags::REPORT_ALL_KEYS_AS_ESCAPE_CODES
        )
    )?;
    Ok(true)
}

fn draw(views: &Receiver<View>) -> io::Result<()> {
    let mut terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
    for view in views {
        if !TAKEN.load(Ordering::SeqCst) {
            return Ok(());
        }
        terminal.draw(|frame| view.draw(frame))?;
    }
    Ok(())
}

/// Gives the terminal back, once; from any thread, and without waiting for a terminal that takes nothing.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut bytes = Vec::new();
    // Into memory: can't fail.
    if ENHANCED.swap(false, Ordering::SeqCst) {
        let _ = queue!(bytes, PopKeyboardEnhancementFlags);
    }
    let _ = queue!(bytes, DisableFocusChange, LeaveAlternateScreen, cursor::Show);
    // A way of its own to the same terminal: standard output may be locked, and not waiting would be for all who share
    // it.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(terminal) = rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()) {
        let _ = std::fs::File::from(terminal).write_all(&bytes);
    }
    let _ = disable_raw_mode();
}

/// Before the panic is told: told on our screen it would be gone with it.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}
