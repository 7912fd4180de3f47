//! `holdfast-simcam`: a camera to test against.
//!
//! A real RTSP server (gst-rtsp-server) behind an encoder that runs whether or not anyone watches, as a camera's does. Every
//! picture carries a number (`holdfast-framemark`) that follows the monotonic clock, so that a gap in a recording can be
//! counted from the pictures alone, over restarts of recorder and camera alike.
//!
//! Prints one JSON line `{"url", "urls", "pid"}` once it listens. Ends on SIGTERM or SIGINT, and with `--end-with-stdin`
//! when its standard input closes: a test that dies takes its camera with it. In that mode it obeys words on standard
//! input, one per line, so that a test can break it at a moment of its choice: `drop` (close all connections), `mute` and
//! `unmute` (stop sending, connections stay open), `switch` (change the picture's size in mid-stream).

mod args;
mod hub;
mod producer;
mod server;

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use gstreamer::glib;

use crate::args::Args;
use crate::hub::Hub;
use crate::producer::Producer;
use crate::server::Camera;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-simcam: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    gstreamer::init().context("GStreamer does not start")?;
    let hub = Arc::new(Hub::default());
    let producer = Arc::new(Producer::start(args, &hub)?);
    let camera = Arc::new(Camera::listen(args, &hub, &producer)?);
    let main_loop = glib::MainLoop::new(None, false);

    for signal in [SIGINT, SIGTERM] {
        let main_loop = main_loop.clone();
        glib::unix_signal_add(signal, move || {
            main_loop.quit();
            glib::ControlFlow::Break
        });
    }
    producer.quit_on_error(&main_loop);
    every(args.drop_after_s, {
        let camera = Arc::clone(&camera);
        move || camera.drop_connections()
    });
    every(args.sps_change_after_s, {
        let producer = Arc::clone(&producer);
        move || producer.switch_size()
    });
    if args.end_with_stdin {
        obey_stdin(main_loop.clone(), Arc::clone(&camera), Arc::clone(&producer), Arc::clone(&hub))?;
    }

    println!("{}", camera.announcement());
    main_loop.run();
    producer.stop()
}

/// Calls `action` on the main loop every `seconds`, or never.
fn every(seconds: Option<u32>, action: impl Fn() + Send + 'static) {
    if let Some(seconds) = seconds {
        glib::timeout_add(Duration::from_secs(seconds.into()), move || {
            action();
            glib::ControlFlow::Continue
        });
    }
}

/// Takes words from standard input on a thread of its own; its end is ours.
fn obey_stdin(
    main_loop: glib::MainLoop,
    camera: Arc<Camera>,
    producer: Arc<Producer>,
    hub: Arc<Hub>,
) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                match line.trim() {
                    "drop" => camera.drop_connections(),
                    "mute" => hub.mute(true),
                    "unmute" => hub.mute(false),
                    "switch" => producer.switch_size(),
                    "" => {}
                    word => eprintln!("holdfast-simcam: \"{word}\" is none of drop, mute, unmute, switch"),
                }
            }
            main_loop.quit();
        })
        .context("no thread for standard input")?;
    Ok(())
}
