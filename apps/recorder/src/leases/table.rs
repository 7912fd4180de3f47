//! What each kind of lease may do.

use super::types::Strain;

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
const HOUR_NS: u64 = 60 * MINUTE_NS;

/// What someone wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Much computing: analysis, transcoding, inference.
    HeavyCpu,
    /// Much reading or writing: archiving, exporting, checking a disk.
    HeavyIo,
    /// Fetching something over the network, at a modest rate.
    Download,
    /// Writing an update while nothing is recorded.
    Install,
    /// Writing an update beside a recording, by somebody who heeds the recording's own figures.
    InstallBeside,
    /// Restarting or shutting down the box.
    Reboot,
}

/// The rules for a kind.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The kind.
    pub kind: Kind,
    /// As on D-Bus.
    pub name: &'static str,
    /// It may run while something is being recorded.
    pub beside_recording: bool,
    /// The most pressure at which it may run.
    pub bears: Strain,
    /// Kinds that never run at the same time.
    pub excludes: &'static [Kind],
    /// How long it is held unless the request says otherwise.
    pub default_ns: u64,
    /// How long it may be held at most.
    pub longest_ns: u64,
    /// How long it may take to come to an end when it is revoked.
    pub wind_down_ns: u64,
}

/// All kinds. What two kinds exclude, they exclude both ways; a test holds that.
pub const KINDS: [Rule; 6] = [
    Rule {
        kind: Kind::HeavyCpu,
        name: "heavy-cpu",
        beside_recording: false,
        bears: Strain::None,
        excludes: &[Kind::HeavyCpu, Kind::Install, Kind::InstallBeside, Kind::Reboot],
        default_ns: 10 * MINUTE_NS,
        longest_ns: 12 * HOUR_NS,
        wind_down_ns: 2 * SECOND_NS,
    },
    Rule {
        kind: Kind::HeavyIo,
        name: "heavy-io",
        beside_recording: false,
        bears: Strain::None,
        excludes: &[Kind::HeavyIo, Kind::Install, Kind::InstallBeside, Kind::Reboot],
        default_ns: 10 * MINUTE_NS,
        longest_ns: 12 * HOUR_NS,
        wind_down_ns: 2 * SECOND_NS,
    },
    Rule {
        kind: Kind::Download,
        name: "download",
        beside_recording: true,
        bears: Strain::Some,
        excludes: &[Kind::Download, Kind::Reboot],
        default_ns: 30 * MINUTE_NS,
        longest_ns: 24 * HOUR_NS,
        wind_down_ns: 5 * SECOND_NS,
    },
    Rule {
        kind: Kind::Install,
        name: "install",
        beside_recording: false,
        bears: Strain::Some,
        excludes: &[Kind::HeavyCpu, Kind::HeavyIo, Kind::Install, Kind::InstallBeside, Kind::Reboot],
        default_ns: 30 * MINUTE_NS,
        longest_ns: 4 * HOUR_NS,
        // An installer can't always be stopped at once; until then its writes must be throttled.
        wind_down_ns: 10 * SECOND_NS,
    },
    Rule {
        kind: Kind::InstallBeside,
        name: "install-beside",
        beside_recording: true,
        bears: Strain::Some,
        excludes: &[Kind::HeavyCpu, Kind::HeavyIo, Kind::Install, Kind::InstallBeside, Kind::Reboot],
        // Throttled it takes longer.
        default_ns: 2 * HOUR_NS,
        longest_ns: 12 * HOUR_NS,
        wind_down_ns: 10 * SECOND_NS,
    },
    Rule {
        kind: Kind::Reboot,
        name: "reboot",
        beside_recording: false,
        // Restarting may be what relieves it.
        bears: Strain::Most,
        excludes: &[Kind::HeavyCpu, Kind::HeavyIo, Kind::Download, Kind::Install, Kind::InstallBeside, Kind::Reboot],
        default_ns: 5 * MINUTE_NS,
        longest_ns: 15 * MINUTE_NS,
        wind_down_ns: 2 * SECOND_NS,
    },
];

impl Kind {
    /// Its rules.
    #[must_use]
    pub fn rule(self) -> &'static Rule {
        match self {
            Self::HeavyCpu => &KINDS[0],
            Self::HeavyIo => &KINDS[1],
            Self::Download => &KINDS[2],
            Self::Install => &KINDS[3],
            Self::InstallBeside => &KINDS[4],
            Self::Reboot => &KINDS[5],
        }
    }

    /// As on D-Bus.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.rule().name
    }

    /// The kind of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        KINDS.iter().find(|rule| rule.name == name).map(|rule| rule.kind)
    }
}

impl Rule {
    /// Whether the two never run at the same time.
    #[must_use]
    pub fn excludes(&self, other: Kind) -> bool {
        self.excludes.contains(&other)
    }
}
