//! How a panel is to look, whatever it shows.

use std::collections::BTreeSet;

use crate::model::Light;

/// Below this a light that calls for attention is never dimmed, percent.
pub const ATTENTION_PERCENT: u8 = 40;

/// What a panel has, and how bright it is at this time of day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// Every light that some device has.
    pub lights: BTreeSet<Light>,
    /// 1 to 100 percent; anything else is taken for the nearest.
    pub brightness: u8,
    /// While it is night: no brighter than so many percent.
    pub night: Option<u8>,
    /// Some device has a buzzer, and it is wanted.
    pub buzzer: bool,
    /// Some device has a character display. Its clock wakes the panel once a second while something is recorded.
    pub text: bool,
}

impl Look {
    /// How bright a light is that is on: never 0, so that lights that are only on or off are on.
    pub(super) fn level(&self, attention: bool) -> u8 {
        let percent = self.brightness.min(self.night.unwrap_or(100)).clamp(1, 100);
        let level = (u32::from(percent) * 255).div_ceil(100);
        let floor = if attention { u32::from(ATTENTION_PERCENT) * 255 / 100 } else { 1 };
        u8::try_from(level.max(floor)).unwrap_or(u8::MAX)
    }
}
