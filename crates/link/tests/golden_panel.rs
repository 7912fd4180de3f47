//! The bytes between panel and microcontroller, written down. A change here is a change of the protocol: raise
//! `PANEL_VERSION`, then bless the new bytes. `docs/mcu-panel.md` shows the same bytes; a test here holds it to that.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use heapless::Vec;
use holdfast_link::clip;
use holdfast_link::panel::{
    About, Board, Decoder, Do, FromPanel, HEARTBEAT_EVERY_MS, LightLevel, Lines, MAX_BODY_BYTES, MAX_FRAME_BYTES,
    MAX_LIGHTS, PANEL_VERSION, SHOW_EVERY_MS, SILENCE_MS, Show, Thrown, ToPanel, WireError, crc, encode, refusal,
};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn light(index: u8, [red, green, blue]: [u8; 3]) -> LightLevel {
    LightLevel { index, red, green, blue }
}

fn about() -> About {
    About { name: clip("rp2040 1.0"), lights: 3, buttons: 2, display: true, buzzer: false }
}

fn host() -> [(&'static str, ToPanel, &'static str); 5] {
    let lights = Vec::from_slice(&[light(0, [255, 0, 0]), light(2, [255, 110, 0])]).unwrap();
    let lines = Lines { upper: clip("REC 00:01:07"), lower: clip("7 h left") };
    [
        ("Hello", ToPanel::Hello, "00 02 01 05 be 23 c2 58 00"),
        (
            "Show",
            ToPanel::Show(Show { lights, buzzer: true }),
            "00 04 01 01 02 02 ff 01 04 02 ff 6e 03 01 36 03 cb 92 00",
        ),
        (
            "Text",
            ToPanel::Text(lines),
            "00 1d 01 02 0c 52 45 43 20 30 30 3a 30 31 3a 30 37 08 37 20 68 20 6c 65 66 74 14 20 33 17 00",
        ),
        ("Heartbeat", ToPanel::Heartbeat, "00 07 01 03 04 72 cb c1 00"),
        ("Fault", ToPanel::Fault, "00 07 01 04 a7 e7 af 5f 00"),
    ]
}

fn panel() -> [(&'static str, FromPanel, &'static str); 3] {
    [
        (
            "Hello",
            FromPanel::Hello { about: about(), down: 1 },
            "00 02 01 0f 0a 72 70 32 30 34 30 20 31 2e 30 03 02 01 06 01 e8 b3 01 70 00",
        ),
        ("Edge", FromPanel::Edge { button: 1, pressed: true, age_us: 1500 }, "00 0b 01 01 01 01 dc 0b 7f 05 df 44 00"),
        ("Heartbeat", FromPanel::Heartbeat { errors: 300, down: 0x8001 }, "00 0c 01 02 ac 02 81 80 02 0d 47 77 5c 00"),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{}{byte:02x}", if text.is_empty() { "" } else { " " }).unwrap();
    }
    text
}

fn bytes<T: Serialize>(message: &T) -> std::vec::Vec<u8> {
    encode(message).unwrap().to_vec()
}

/// What a decoder says to bytes, and what it threw away.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> (std::vec::Vec<Result<T, WireError>>, Thrown) {
    let mut decoder = Decoder::default();
    let said = bytes.iter().filter_map(|byte| decoder.feed(*byte)).collect();
    (said, decoder.thrown())
}

#[test]
fn golden_frames() {
    assert_eq!(PANEL_VERSION, 1, "the golden bytes below are those of version 1");
    let document = include_str!("../../../docs/mcu-panel.md");
    let mut all = std::vec![("Refused", hex(&refusal()), "00 01 06 01 69 22 de 36 00".to_owned())];
    all.extend(host().map(|(name, message, golden)| (name, hex(&bytes(&message)), golden.to_owned())));
    all.extend(panel().map(|(name, message, golden)| (name, hex(&bytes(&message)), golden.to_owned())));
    for (name, real, golden) in &all {
        assert_eq!(real, golden, "{name}");
        assert!(document.contains(golden), "docs/mcu-panel.md shows other bytes for {name}: {golden}");
    }
}

#[test]
fn the_document_gives_the_times_of_the_code() {
    let document = include_str!("../../../docs/mcu-panel.md");
    for (what, ms) in [("`Show`", SHOW_EVERY_MS), ("`Heartbeat`", HEARTBEAT_EVERY_MS), ("silence", SILENCE_MS)] {
        let told =
            document.lines().any(|line| line.starts_with(&format!("| {what}")) && line.contains(&format!("{ms} ms")));
        assert!(told, "docs/mcu-panel.md does not say {ms} ms of {what}");
    }
}

#[test]
fn the_crc_is_that_of_ethernet_and_zip() {
    assert_eq!(crc(b"123456789"), 0xcbf4_3926);
}

/// Every field at its longest: what `MAX_BODY_BYTES` must hold.
#[test]
fn the_longest_messages_fit() {
    let full = light(u8::MAX, [u8::MAX; 3]);
    let show = Show { lights: Vec::from_slice(&[full; MAX_LIGHTS]).unwrap(), buzzer: true };
    let long = "x".repeat(99);
    let name = clip(&long);
    let about = About { name, lights: u8::MAX, buttons: u8::MAX, display: true, buzzer: true };
    let lengths = [
        bytes(&ToPanel::Show(show)).len(),
        bytes(&ToPanel::Text(Lines { upper: clip(&long), lower: clip(&long) })).len(),
        bytes(&FromPanel::Hello { about, down: u16::MAX }).len(),
        bytes(&FromPanel::Edge { button: u8::MAX, pressed: true, age_us: u32::MAX }).len(),
        bytes(&FromPanel::Heartbeat { errors: u32::MAX, down: u16::MAX }).len(),
    ];
    assert!(lengths.iter().all(|length| *length <= MAX_FRAME_BYTES), "{lengths:?}");
}

#[test]
fn a_peer_of_another_version_gets_a_clear_refusal() {
    let theirs = frame(&[9, 0]);
    let (said, thrown) = decode::<ToPanel>(&theirs);
    assert_eq!((said, thrown.total()), (std::vec![Err(WireError::Version { theirs: 9 })], 0));
    assert!(WireError::Version { theirs: 9 }.to_string().contains("version 9"));
    // And what we answer is understood, in every version to come, as this.
    assert_eq!(decode::<FromPanel>(&refusal()).0, [Err(WireError::RefusedByPeer { theirs: PANEL_VERSION })]);
    assert_eq!(decode::<FromPanel>(&frame(&[0, 9, 1, 2, 3])).0, [Err(WireError::RefusedByPeer { theirs: 9 })]);
    assert_eq!(decode::<FromPanel>(&frame(&[0])).0, [Err(WireError::Malformed)]);
}

/// A frame by hand: CRC, COBS, zeros.
fn frame(content: &[u8]) -> std::vec::Vec<u8> {
    let body = [content, &crc(content).to_le_bytes()].concat();
    [&[0][..], &cobs(&body), &[0]].concat()
}

/// Written down once more, for less than 254 bytes, so that the crate's is held to the definition.
fn cobs(body: &[u8]) -> std::vec::Vec<u8> {
    body.split(|byte| *byte == 0).flat_map(|run| [&[u8::try_from(run.len() + 1).unwrap()][..], run].concat()).collect()
}

#[test]
fn frames_are_what_they_are_said_to_be() {
    for (name, message, _) in host() {
        let content = postcard::to_slice(&message, &mut [0; 99]).unwrap().to_vec();
        assert_eq!(bytes(&message), frame(&[&[PANEL_VERSION][..], &content].concat()), "{name}");
    }
}

#[test]
fn what_is_no_frame_is_counted_by_why() {
    let whole = bytes(&ToPanel::Heartbeat);
    let mut stream = std::vec![7; 1000];
    stream.extend(&whole);
    stream.extend([3, 1, 0]); // cut short
    stream.extend([1, 1, 1, 0]); // too short
    stream.extend(frame(&[PANEL_VERSION, 99])); // no message
    stream.extend(frame(&[PANEL_VERSION, 3, 0])); // trailing bytes
    stream.extend(frame(&[])); // nothing in it
    let mut damaged = whole.clone();
    damaged[3] ^= 1;
    stream.extend(damaged);
    stream.extend(&whole);
    let (said, thrown) = decode::<ToPanel>(&stream);
    assert_eq!(said.iter().filter(|said| said == &&Ok(ToPanel::Heartbeat)).count(), 2, "{said:?}");
    assert_eq!(thrown, Thrown { overlong: 1, crc: 1, malformed: 5 });
    assert_eq!(said.len(), 2 + 7);
}

/// All frames, all positions, all other bytes. One of the zeros may become anything else, too: the frame is lost then,
/// not another.
#[test]
fn one_wrong_byte_is_noticed() {
    fn every<T: Serialize + DeserializeOwned + PartialEq>(message: &T, name: &str) {
        let good = bytes(message);
        for at in 0..good.len() {
            for wrong in (0..=u8::MAX).filter(|wrong| *wrong != good[at]) {
                let mut bad = good.clone();
                bad[at] = wrong;
                // What comes next is not harmed but by a zero that is none any more: the last, or the first that ends
                // noise.
                let (said, thrown) = decode::<T>(&bad);
                assert!(!said.iter().any(Result::is_ok), "{name}: {wrong:#x} at {at} passes");
                assert!(at == good.len() - 1 || thrown.total() > 0, "{name}: {wrong:#x} at {at} is not counted");
            }
        }
    }
    for (name, message, _) in host() {
        every(&message, name);
    }
    for (name, message, _) in panel() {
        every(&message, name);
    }
}

fn shows() -> impl Strategy<Value = ToPanel> {
    let light = any::<[u8; 4]>().prop_map(|[index, rgb @ ..]| light(index, rgb));
    (proptest::collection::vec(light, 0..=MAX_LIGHTS), any::<bool>())
        .prop_map(|(lights, buzzer)| ToPanel::Show(Show { lights: Vec::from_slice(&lights).unwrap(), buzzer }))
}

fn to_panel() -> impl Strategy<Value = ToPanel> {
    let texts = (".{0,20}", ".{0,20}")
        .prop_map(|(upper, lower)| ToPanel::Text(Lines { upper: clip(&upper), lower: clip(&lower) }));
    prop_oneof![shows(), texts, Just(ToPanel::Hello), Just(ToPanel::Heartbeat), Just(ToPanel::Fault)]
}

fn from_panel() -> impl Strategy<Value = FromPanel> {
    let hellos = (".{0,32}", any::<(u8, u8, bool, bool, u16)>()).prop_map(|(name, rest)| {
        let (lights, buttons, display, buzzer, down) = rest;
        FromPanel::Hello { about: About { name: clip(&name), lights, buttons, display, buzzer }, down }
    });
    let edges =
        any::<(u8, bool, u32)>().prop_map(|(button, pressed, age_us)| FromPanel::Edge { button, pressed, age_us });
    let heartbeats = any::<(u32, u16)>().prop_map(|(errors, down)| FromPanel::Heartbeat { errors, down });
    prop_oneof![hellos, edges, heartbeats]
}

proptest! {
    #[test]
    fn any_message_comes_back(host in to_panel(), panel in from_panel()) {
        prop_assert_eq!(decode(&bytes(&host)), (std::vec![Ok(host)], Thrown::default()));
        prop_assert_eq!(decode(&bytes(&panel)), (std::vec![Ok(panel)], Thrown::default()));
    }

    #[test]
    fn one_wrong_byte_of_any_message_is_noticed(
        message in to_panel(),
        at in any::<proptest::sample::Index>(),
        xor in 1..=u8::MAX,
    ) {
        let mut bad = bytes(&message);
        let at = at.index(bad.len());
        bad[at] ^= xor;
        prop_assert!(!decode::<ToPanel>(&bad).0.iter().any(Result::is_ok));
    }

    /// Whatever stands between frames, even half of one: all whole ones come through, in order, and nothing else.
    #[test]
    fn noise_between_frames_loses_no_whole_frame(
        parts in proptest::collection::vec((to_panel(), proptest::collection::vec(any::<u8>(), 0..200)), 0..12),
        cut in 1..6_usize,
    ) {
        let mut stream = std::vec![];
        for (message, noise) in &parts {
            let frame = bytes(message);
            stream.extend(noise);
            stream.extend(&frame[..cut]);
            stream.extend(&frame);
        }
        let (said, _) = decode::<ToPanel>(&stream);
        let whole: std::vec::Vec<_> = said.into_iter().filter_map(Result::ok).collect();
        let sent: std::vec::Vec<_> = parts.into_iter().map(|(message, _)| message).collect();
        prop_assert_eq!(whole, sent);
    }

    /// Whatever a board hears: it does not panic, and a second later it shows the fault pattern.
    #[test]
    fn a_board_ends_in_fault(noise in proptest::collection::vec(any::<u8>(), 0..400), show in shows()) {
        let mut board = Board::new(about());
        let mut faulty = true;
        for byte in noise.iter().chain(&bytes(&show)).chain(&noise) {
            match board.receive(*byte, 5) {
                Some(Do::Show(_)) => faulty = false,
                Some(Do::Fault) => faulty = true,
                Some(Do::Text(_) | Do::Write(_)) | None => {}
            }
        }
        while let Some(act) = board.tick(5 + SILENCE_MS * 1000) {
            faulty |= act == Do::Fault;
        }
        prop_assert!(faulty);
    }
}

fn receive(board: &mut Board, message: &ToPanel, now_us: u64) -> Option<Do> {
    bytes(message).iter().filter_map(|byte| board.receive(*byte, now_us)).last()
}

fn said(act: Option<Do>) -> Option<FromPanel> {
    let Some(Do::Write(frame)) = act else { return None };
    decode(&frame).0.pop()?.ok()
}

#[test]
fn a_board_keeps_the_rules() {
    const MS: u64 = 1000;
    let mut board = Board::new(about());
    assert_eq!(board.tick(0), Some(Do::Fault), "nobody has told it anything");
    assert_eq!(board.tick(10_000 * MS), None, "and it says nothing to nobody");
    assert_eq!(board.edge(1, true, 0, 10_000 * MS), None);

    let now = 20_000 * MS;
    let hello = said(receive(&mut board, &ToPanel::Hello, now));
    assert_eq!(
        hello,
        Some(FromPanel::Hello { about: about(), down: 0b10 }),
        "what went down meanwhile is in its hello"
    );
    assert_eq!(board.tick(now + 249 * MS), None);
    let heartbeat = Some(FromPanel::Heartbeat { errors: 0, down: 0b10 });
    assert_eq!(said(board.tick(now + 250 * MS)), heartbeat);

    let show = Show { lights: Vec::from_slice(&[light(1, [0, 9, 0])]).unwrap(), buzzer: false };
    assert_eq!(receive(&mut board, &ToPanel::Show(show.clone()), now + 300 * MS), Some(Do::Show(show.clone())));
    let edge = said(board.edge(1, false, now + 301 * MS, now + 305 * MS));
    assert_eq!(edge, Some(FromPanel::Edge { button: 1, pressed: false, age_us: 4000 }));
    assert_eq!(board.edge(16, true, now, now), None, "there is no such button");

    // A heartbeat keeps it talking, but vouches for no light.
    assert_eq!(receive(&mut board, &ToPanel::Heartbeat, now + 1250 * MS), None);
    assert_eq!(said(board.tick(now + 1299 * MS)), Some(FromPanel::Heartbeat { errors: 0, down: 0 }));
    assert_eq!(board.tick(now + 1300 * MS), Some(Do::Fault));
    assert_eq!(board.tick(now + 1301 * MS), None, "once");
    assert_eq!(board.tick(now + 9000 * MS), None, "the host is silent, and so is the panel");

    assert_eq!(receive(&mut board, &ToPanel::Show(show.clone()), now + 9000 * MS), Some(Do::Show(show)));
    assert_eq!(receive(&mut board, &ToPanel::Fault, now + 9001 * MS), Some(Do::Fault));
    let next = board.tick(now + 9500 * MS);
    assert!(matches!(next, Some(Do::Write(_))), "the fault has been told: {next:?}");

    let another: std::vec::Vec<_> = frame(&[9, 0]).iter().filter_map(|b| board.receive(*b, now)).collect();
    assert_eq!(another, [Do::Write(refusal())]);
    assert_eq!(receive_bytes(&mut board, &refusal(), now), [], "a refusal is not answered, or it would go on for ever");
    // One byte of COBS, as `MAX_FRAME_BYTES` counts.
    const { assert!(MAX_BODY_BYTES < 254) };
}

fn receive_bytes(board: &mut Board, bytes: &[u8], now_us: u64) -> std::vec::Vec<Do> {
    bytes.iter().filter_map(|byte| board.receive(*byte, now_us)).collect()
}
