//! A microcontroller panel without the microcontroller, at the end of a pseudo-terminal: for trying things out, and to
//! see what firmware has to do. It tells its path and what it shows, and takes orders: `press 0`, `release 0`, `lose 0`
//! (a press whose frame is lost), `mute`, `speak`, `say TEXT`, `noise`.
#![allow(clippy::print_stdout, reason = "it is what it is for")]

mod firmware;

use std::io::BufRead as _;
use std::time::Duration;

use firmware::{Order, Panel, Traits};

fn main() -> anyhow::Result<()> {
    let sim = Panel::start(Traits::default())?;
    println!("a panel with 4 lights, 2 buttons and a display is on {}", sim.path.display());
    let Panel { orders, seen, .. } = sim;
    std::thread::spawn(move || {
        // Without end: it stops with the program.
        for (_, sight) in seen.iter() {
            println!("{sight:?}");
        }
    });
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let button = |text: &str| text.trim().parse::<u8>();
        let order = match line.split_once(' ').unwrap_or((line.as_str(), "0")) {
            ("press", index) => Order::Edge { button: button(index)?, pressed: true, ago: Duration::ZERO },
            ("release", index) => Order::Edge { button: button(index)?, pressed: false, ago: Duration::ZERO },
            ("lose", index) => Order::LostEdge { button: button(index)?, pressed: true },
            ("mute", _) => Order::Mute(true),
            ("speak", _) => Order::Mute(false),
            ("say", text) => Order::Bytes(text.as_bytes().to_vec()),
            ("noise", _) => Order::Noise,
            _ => {
                println!("press N, release N, lose N, mute, speak, say TEXT, noise");
                continue;
            }
        };
        orders.send(order)?;
    }
    Ok(())
}
