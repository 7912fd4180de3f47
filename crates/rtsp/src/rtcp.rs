//! RTCP (RFC 3550): what a camera reports of its clocks, and what we report back.

/// Ties a camera's RTP clock to its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// Who sends.
    pub source: u32,
    /// Seconds since 1900 and their fraction, 32 bits each. Only to be compared with others of the same camera.
    pub ntp: u64,
    /// The same moment on the stream's clock.
    pub timestamp: u32,
}

impl SenderReport {
    /// The first in a compound packet.
    #[must_use]
    pub fn find(mut bytes: &[u8]) -> Option<Self> {
        loop {
            let ([flags, kind, high, low], _) = bytes.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([*high, *low])) * 4 + 4;
            if flags >> 6 != 2 {
                return None;
            }
            let packet = bytes.get(..length)?;
            if *kind == 200 {
                let word = |at: usize| Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?));
                return Some(Self {
                    source: word(4)?,
                    ntp: u64::from(word(8)?) << 32 | u64::from(word(12)?),
                    timestamp: word(16)?,
                });
            }
            bytes = bytes.get(length..)?;
        }
    }

    /// Nanoseconds since 1900.
    #[must_use]
    pub fn ntp_ns(&self) -> i64 {
        let ns = (u128::from(self.ntp) * 1_000_000_000) >> 32;
        i64::try_from(ns).unwrap_or(i64::MAX)
    }
}

/// What we have received of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reception {
    /// Us.
    pub reporter: u32,
    /// The camera.
    pub source: u32,
    /// Packets that never came.
    pub lost: u64,
    /// See [`crate::rtp::Sequence::highest`].
    pub highest: u32,
    /// The middle of the last sender report's `ntp`; 0 without one.
    pub last_report: u32,
    /// How long ago that was, in 1/65536 s.
    pub since_report: u32,
}

impl Reception {
    /// A receiver report with the name that RTCP wants beside it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x81, 201, 0, 7];
        bytes.extend(self.reporter.to_be_bytes());
        bytes.extend(self.source.to_be_bytes());
        let lost = u32::try_from(self.lost).unwrap_or(u32::MAX).min(0x007f_ffff);
        bytes.extend(lost.to_be_bytes());
        bytes.extend(self.highest.to_be_bytes());
        // No jitter: over TCP it says nothing about the network.
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(self.last_report.to_be_bytes());
        bytes.extend(self.since_report.to_be_bytes());
        bytes.extend([0x81, 202, 0, 4]);
        bytes.extend(self.reporter.to_be_bytes());
        bytes.extend([1, 8]);
        bytes.extend(b"holdfast");
        bytes.extend([0; 2]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Reception, SenderReport};
    use proptest::prelude::{any, prop, proptest};

    #[test]
    fn finds_the_sender_report_in_a_compound() {
        let mut bytes = Reception::default().to_bytes();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(SenderReport::find(&bytes), None);
        bytes.extend([0x80, 200, 0, 6, 0, 0, 0, 9, 0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 7]);
        bytes.extend([0; 8]);
        let report = SenderReport::find(&bytes).unwrap();
        assert_eq!((report.source, report.timestamp, report.ntp_ns()), (9, 7, 2_500_000_000));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = SenderReport::find(&bytes);
        }
    }
}
