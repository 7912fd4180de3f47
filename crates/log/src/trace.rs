//! A number that follows one call through all programs and their logs.

use std::fmt;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};

/// Follows one call from the bus through the recorder to the captures and back. Shown as 16 hexadecimal digits, in the journal as
/// `HOLDFAST_TRACE`. Zero stands for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Trace(pub u64);

/// Not a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTrace;

impl Trace {
    /// What has no call behind it.
    pub const NONE: Self = Self(0);

    /// A new one, at random.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 8];
        // Without randomness calls share a trace, which harms nobody.
        let _ = getrandom(&mut bytes, GetRandomFlags::empty());
        Self(u64::from_ne_bytes(bytes).max(1))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for NoTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trace is 1 to 16 hexadecimal digits, and not zero")
    }
}

impl std::error::Error for NoTrace {}

impl FromStr for Trace {
    type Err = NoTrace;

    fn from_str(text: &str) -> Result<Self, NoTrace> {
        // `from_str_radix` would take a sign.
        let digits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if digits { u64::from_str_radix(text, 16).unwrap_or_default() } else { 0 };
        if number == 0 { Err(NoTrace) } else { Ok(Self(number)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{NoTrace, Trace};

    #[test]
    fn a_trace_reads_as_it_is_written() {
        let trace = Trace::random();
        assert_eq!(trace.to_string().parse(), Ok(trace));
        assert_eq!("7f".parse(), Ok(Trace(0x7f)));
        assert_eq!(Trace(0x7f).to_string(), "000000000000007f");
        for bad in ["", "0", "000", "xyz", "+7", "-7", "12345678901234567", "é"] {
            assert_eq!(bad.parse::<Trace>(), Err(NoTrace), "{bad}");
        }
    }
}
