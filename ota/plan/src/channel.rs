//! The file of a release channel: which release boxes of the channel are to run, and whose turn it is when.

use std::fmt;
use std::str::FromStr as _;

use toml::{Table, Value};

use crate::rollout::Campaign;

/// What a channel says. Written by its publisher, read by any box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its name: a box that is of another one does not take it.
    pub channel: String,
    /// The release.
    pub release: String,
    /// Where its bundle is: an `https://` address, or a name beside this file.
    pub bundle: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// What deals the boxes: the release, unless the publisher says otherwise.
    pub campaign: String,
    /// Who may when. Empty: everybody at once.
    pub waves: Vec<Wave>,
}

/// From some time on, some of all boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wave {
    /// Unix time in seconds.
    pub from_unix_s: i64,
    /// Thousandths of all boxes.
    pub permille: u16,
}

/// All that is wrong with such a file; each says the key, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelError(pub Vec<String>);

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for ChannelError {}

/// No bundle is larger; what a cache takes at most.
const MAX_BYTES: u64 = 16 << 30;
/// No word in it is longer.
const MAX_WORD: usize = 100;
/// Nor an address.
const MAX_ADDRESS: usize = 1000;

impl Channel {
    /// Reads such a file. What it does not know it passes over: boxes of today read the files of tomorrow.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse(text: &str) -> Result<Self, ChannelError> {
        let table: Table = match text.parse() {
            Ok(table) => table,
            // Its first line; what follows draws the file.
            Err(error) => return Err(ChannelError(vec![format!("it is no TOML: {}", error.message())])),
        };
        let mut reader = Reader { table: &table, mistakes: Vec::new() };
        let channel = reader.word("channel", "\"stable\"");
        let release = reader.word("release", "\"2026.12.0\"");
        let bundle = reader.bundle();
        let size_bytes = reader.size();
        let sha256 = reader.sha256();
        let campaign = if table.contains_key("campaign") { reader.word("campaign", "\"2026.12.0\"") } else { None };
        let waves = reader.waves();
        let mistakes = reader.mistakes;
        match (channel, release, bundle, size_bytes, sha256, waves) {
            (Some(channel), Some(release), Some(bundle), Some(size_bytes), Some(sha256), Some(waves))
                if mistakes.is_empty() =>
            {
                let campaign = campaign.unwrap_or_else(|| release.clone());
                Ok(Self { channel, release, bundle, size_bytes, sha256, campaign, waves })
            }
            _ => Err(ChannelError(mistakes)),
        }
    }

    /// As such a file. What was rendered is read again as the same.
    #[must_use]
    pub fn render(&self) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let sha256: String = self.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut lines = vec![
            format!("channel = {}", text(&self.channel)),
            format!("release = {}", text(&self.release)),
            format!("bundle = {}", text(&self.bundle)),
            format!("size = {}", self.size_bytes),
            format!("sha256 = {}", text(&sha256)),
        ];
        if self.campaign != self.release {
            lines.push(format!("campaign = {}", text(&self.campaign)));
        }
        for wave in &self.waves {
            let from = jiff::Timestamp::from_second(wave.from_unix_s).unwrap_or(jiff::Timestamp::MIN);
            let percent = match wave.permille % 10 {
                0 => (wave.permille / 10).to_string(),
                tenth => format!("{}.{tenth}", wave.permille / 10),
            };
            lines.push(format!("\n[[wave]]\nfrom = {from}\npercent = {percent}"));
        }
        lines.join("\n") + "\n"
    }

    /// Whose turn it is.
    #[must_use]
    pub fn campaign(&self) -> Campaign {
        let waves = match &self.waves[..] {
            [] => vec![(i64::MIN, 1000)],
            waves => waves.iter().map(|wave| (wave.from_unix_s, wave.permille)).collect(),
        };
        Campaign { name: self.campaign.clone(), channel: self.channel.clone(), waves }
    }
}

impl Wave {
    /// As in `2026-12-01T02:00:00Z` and `2.5`.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn read(from: &str, percent: &str) -> Result<Self, String> {
        let remedy = "write the time with its zone, as in 2026-12-01T02:00:00Z";
        let from = jiff::Timestamp::from_str(from).map_err(|_| format!("wave.from = {from}; {remedy}"))?;
        let wrong =
            || format!("wave.percent = {percent}; write a number from 0.1 to 100, with one digit behind its point");
        let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(tenth) || tenth.len() > 1 || whole.len() > 3 {
            return Err(wrong());
        }
        let permille = format!("{whole}{tenth}").parse().map_err(|_| wrong())?;
        if !(1..=1000).contains(&permille) {
            return Err(wrong());
        }
        Ok(Self { from_unix_s: from.as_second(), permille })
    }
}

struct Reader<'a> {
    table: &'a Table,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    /// Notes what is wrong with a key.
    fn wrong<T>(&mut self, key: &str, remedy: &str) -> Option<T> {
        let told = match self.table.get(key) {
            None => format!("{key} is missing; {remedy}"),
            Some(Value::String(text)) => {
                format!("{key} = {:?}; {remedy}", text.chars().take(MAX_WORD).collect::<String>())
            }
            Some(value) => {
                format!("{key} = {}; {remedy}", value.to_string().chars().take(MAX_WORD).collect::<String>())
            }
        };
        self.mistakes.push(told);
        None
    }

    fn word(&mut self, key: &str, example: &str) -> Option<String> {
        let is_word = |text: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
            !text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(allowed)
        };
        match self.table.get(key).and_then(Value::as_str).filter(is_word) {
            Some(text) => Some(text.to_owned()),
            None => self.wrong(key, &format!("write letters, digits and . _ + -, as in {key} = {example}")),
        }
    }

    fn bundle(&mut self) -> Option<String> {
        let is_address = |text: &&str| {
            let is_name = !text.contains("://") && !text.starts_with('/') && !text.split('/').any(|part| part == "..");
            !text.is_empty()
                && text.len() <= MAX_ADDRESS
                && !text.chars().any(|letter| letter.is_control() || letter.is_whitespace())
                && (text.starts_with("https://") || is_name)
        };
        match self.table.get("bundle").and_then(Value::as_str).filter(is_address) {
            Some(text) => Some(text.to_owned()),
            None => self
                .wrong("bundle", "write an https:// address, or a name beside this file: bundle = \"box-1.2.0.raucb\""),
        }
    }

    fn size(&mut self) -> Option<u64> {
        let size = self.table.get("size").and_then(Value::as_integer).and_then(|size| u64::try_from(size).ok());
        match size.filter(|size| (1..=MAX_BYTES).contains(size)) {
            Some(size) => Some(size),
            None => self.wrong("size", &format!("write the bundle's size in bytes, 1 to {MAX_BYTES}, without quotes")),
        }
    }

    fn sha256(&mut self) -> Option<[u8; 32]> {
        let hex = self.table.get("sha256").and_then(Value::as_str).filter(|text| text.len() == 64 && text.is_ascii());
        let digest = hex.and_then(|hex| {
            let mut digest = [0; 32];
            for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            }
            Some(digest)
        });
        match digest {
            Some(digest) => Some(digest),
            None => {
                self.wrong("sha256", "write the bundle's SHA-256, 64 hexadecimal digits in quotes: sha256sum prints it")
            }
        }
    }

    fn waves(&mut self) -> Option<Vec<Wave>> {
        let Some(value) = self.table.get("wave") else { return Some(Vec::new()) };
        let tables = value.as_array().and_then(|array| array.iter().map(Value::as_table).collect::<Option<Vec<_>>>());
        let Some(tables) = tables.filter(|tables| !tables.is_empty()) else {
            return self.wrong(
                "wave",
                "write each wave under [[wave]], with from = and percent =; without any everybody may at once",
            );
        };
        let mut waves: Vec<Wave> = Vec::new();
        for table in tables {
            let text = |key: &str| table.get(key).map(ToString::to_string).unwrap_or_default();
            match Wave::read(&text("from"), &text("percent")) {
                Ok(wave) => waves.push(wave),
                Err(mistake) => self.mistakes.push(mistake),
            }
        }
        let grow = |pair: &[Wave]| pair[0].from_unix_s < pair[1].from_unix_s && pair[0].permille <= pair[1].permille;
        if !waves.windows(2).all(grow) {
            let remedy = "write the waves in order of time, each with at least as many per cent as the one before";
            self.mistakes.push(format!("wave: they don't follow each other; {remedy}"));
        }
        Some(waves)
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Wave};

    const FILE: &str = "
channel = \"stable\"
release = \"2026.12.0\"
bundle = \"holdfast-2026.12.0.raucb\"
size = 734003200
sha256 = \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF\"
something = [\"of\", \"tomorrow\"]

[[wave]]
from = 2026-12-01T02:00:00Z
percent = 1

[[wave]]
from = 2026-12-02T04:00:00+02:00
percent = 12.5
why = \"so\"
";

    #[test]
    fn a_file_is_read_and_what_is_written_is_read_as_the_same() {
        let channel = Channel::parse(FILE).unwrap();
        assert_eq!((channel.release.as_str(), channel.campaign.as_str()), ("2026.12.0", "2026.12.0"));
        assert_eq!((channel.size_bytes, channel.sha256[0], channel.sha256[31]), (734_003_200, 0x01, 0xef));
        let days = 1_796_090_400; // date -u -d 2026-12-01T02:00:00Z +%s
        let waves = [Wave { from_unix_s: days, permille: 10 }, Wave { from_unix_s: days + 86_400, permille: 125 }];
        assert_eq!(channel.waves, waves);
        for known in [channel.clone(), Channel { waves: vec![], campaign: "again".into(), ..channel.clone() }] {
            assert_eq!(Channel::parse(&known.render()).unwrap(), known, "{}", known.render());
        }
        let campaign = channel.campaign();
        assert_eq!(campaign.waves, [(days, 10), (days + 86_400, 125)]);
        let all = Channel { waves: vec![], ..channel }.campaign();
        assert!(all.includes("stable", "any", 0) && all.includes("stable", "box", -5));
    }

    #[test]
    fn every_mistake_names_its_key_and_a_remedy() {
        let told =
            Channel::parse("channel = 7\nbundle = \"http://a/b\"\nsize = -1\nsha256 = \"zz\"\nwave = 3\n").unwrap_err();
        for part in ["channel = 7", "release is missing", "\"http://a/b\"", "size = -1", "sha256sum", "[[wave]]"] {
            assert!(told.to_string().contains(part), "no {part} in {told}");
        }
        let bad = |from: &str, to: &str| Channel::parse(&FILE.replace(from, to)).unwrap_err().to_string();
        assert!(bad("percent = 12.5", "percent = 0.5").contains("in order of time"));
        assert!(bad("percent = 12.5", "percent = 12.55").contains("wave.percent = 12.55"));
        assert!(bad("percent = 12.5", "percent = \"all\"").contains("wave.percent"));
        assert!(bad("02:00:00Z", "02:00:00").contains("zone"));
        assert!(bad("holdfast-2026", "../holdfast-2026").contains("beside this file"));
        assert!(bad("channel = ", "channel ").contains("no TOML"));
        assert!(bad("\"stable\"", "\"a\\u001b[31mb\"").contains("channel ="), "no escape sequences get through");
        assert!(Channel::parse("").is_err() && Channel::parse("\u{0}\u{1}").is_err());
    }
}
