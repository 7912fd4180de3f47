//! The updater is killed at any moment of an update, RAUC and the recorder go on; and the box reboots at any moment, too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod site;

use std::path::Path;
use std::time::{Duration, Instant};

use site::Site;

/// Kills within one update.
const KILLS: u32 = 24;
/// Of these, so many take the whole box along. A trial may take three boots.
const REBOOTS: u32 = 2;

/// Numbers that look random, and are the same again for the same seed (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[tokio::test]
async fn whenever_it_is_killed_the_update_has_one_good_end() {
    // Each kill of an installation costs an attempt.
    let Some(mut site) = Site::start_with("attempts = 20\n").await else { return };
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let bundle = site.bundle("2.0");
    site.install(&bundle).await;
    let mut phases = std::collections::BTreeSet::new();
    for kill in 0..KILLS {
        // Any moment is a good one, and each run has others.
        let until = Instant::now() + Duration::from_millis(dice.up_to(250));
        while Instant::now() < until {
            if let Ok(state) = site.updater().await.state().await {
                phases.insert(state);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        match kill % (KILLS / REBOOTS) {
            0 => site.reboot().await,
            _ => site.restart_updater().await,
        }
    }
    println!("killed among: {phases:?}");
    // It is left alone, and comes to its end.
    while site.outcomes().await.is_empty() {
        let flag = site.path("rebooting");
        site.until("a reboot or the end", || async { Path::new(&flag).exists() || !site.outcomes().await.is_empty() })
            .await;
        if site.outcomes().await.is_empty() {
            site.reboot().await;
        }
    }
    let outcome = site.until_outcome("good").await;
    assert_eq!((outcome.version.as_str(), site.outcomes().await.len()), ("2.0", 1));
    assert_eq!((site.rig.boot("primary"), site.rig.boot("state.B")), ("B".to_owned(), "good".to_owned()));
    assert!(phases.len() >= 4, "killed among {phases:?} only");
}
