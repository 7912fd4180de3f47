//! The panel in the terminal by itself: a light that blinks, one that is steady, and each press as a line on standard
//! error. For trying out a terminal: `cargo run -p holdfast-panel --example terminal 2>presses.log`. `x` panics, to see
//! what is left then.
#![allow(clippy::panic, reason = "it is asked to")]

use std::sync::Arc;
use std::time::Duration;

use holdfast_panel::devices::terminal::{Terminal, TerminalConfig};
use holdfast_panel::devices::{Device as _, Io};
use holdfast_panel::model::{Button, Colour, Frame, Light, RECORD, Shade};
use tokio::sync::{Notify, mpsc, watch};

fn frame(on: bool) -> Frame {
    let record = Shade { colour: Colour::Red, level: if on { 255 } else { 0 } };
    let status = Shade { colour: Colour::Green, level: 60 };
    let lights = [(Light::Record, record), (Light::Status, status)].into();
    Frame { lights, buzzer: false, text: ["A terminal".to_owned(), "tried out".to_owned()] }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // As the panel itself does: nothing is unwound, and what is dropped does not matter.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::abort();
    }));
    let quit = Arc::new(Notify::new());
    let (frames, shown) = watch::channel(frame(true));
    // Presses. Full: the terminal waits.
    let (edges, mut pressed) = mpsc::channel(64);
    let (works, mut working) = watch::channel(false);
    let buttons = vec![(Button(RECORD.to_owned()), 'r'), (Button("panic".to_owned()), 'x')];
    let lights = vec![Light::Record, Light::Status];
    let config = TerminalConfig { buttons, lights, hold_ms: 1500, debounce_ms: 20 };
    let terminal = Terminal::new(config, Arc::clone(&quit));
    let device = terminal.run_once(Io { frames: shown, edges, works });
    tokio::pin!(device);
    let mut blink = tokio::time::interval(Duration::from_millis(500));
    let mut on = true;
    loop {
        tokio::select! {
            Err(failed) = &mut device => {
                eprintln!("failed: {failed}");
                std::process::exit(1);
            }
            _ = blink.tick() => {
                on = !on;
                frames.send_replace(frame(on));
            }
            Ok(()) = working.changed() => eprintln!("works"),
            Some(edge) = pressed.recv() => {
                assert!(edge.button.0 != "panic", "asked to");
                eprintln!("{} {}", edge.button, if edge.pressed { "down" } else { "up" });
            }
            () = quit.notified() => {
                eprintln!("quit");
                return;
            }
        }
    }
}
