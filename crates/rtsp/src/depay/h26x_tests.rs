use proptest::prelude::{any, prop, prop_assert, proptest};
use rtsp_types::Url;

use super::{H26x, MAX_UNIT_BYTES, Markers, Piece, When};
use crate::rtp::Packet;
use crate::sdp::Stream;

fn stream(encoding: &str, parameters: &[(&str, &str)]) -> Stream {
    Stream {
        media: "video".into(),
        encoding: encoding.into(),
        payload_type: 96,
        clock_rate_hz: 90_000,
        channels: 1,
        control: Url::parse("rtsp://a/b").unwrap(),
        parameters: parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
    }
}

/// A camera whose markers have been found to be right.
fn trusted(encoding: &str, parameters: &[(&str, &str)]) -> H26x {
    let mut depay = H26x::new(&stream(encoding, parameters));
    depay.markers = Markers::Right;
    depay
}

fn h264() -> H26x {
    trusted("H264", &[])
}

/// Packets as (payload, ticks, marker, lost before).
fn feed(depay: &mut H26x, packets: &[(&[u8], i64, bool, bool)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (payload, ticks, marker, lost) in packets {
        let packet = Packet { marker: *marker, payload_type: 96, sequence: 0, timestamp: 0, source: 0, payload };
        let when = When { ticks: *ticks, lost: *lost, now_ns: 0 };
        depay.take(&packet, when, &mut |piece| pieces.push(piece));
    }
    pieces
}

fn unit(ticks: i64, nals: &[&[u8]]) -> Piece {
    let data = nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect();
    Piece::Unit(super::Unit { data, ticks, came_ns: 0 })
}

#[test]
fn h264_single_aggregated_and_fragmented() {
    let mut depay = h264();
    let pieces = feed(
        &mut depay,
        &[
            (&[24, 0, 2, 0x67, 1, 0, 2, 0x68, 2], 0, false, false),
            (&[0x7c, 0x85, 0x8a, 11], 0, false, false),
            (&[0x7c, 0x05, 12], 0, false, false),
            (&[0x7c, 0x45, 13], 0, true, false),
            (&[0x41, 0x94], 3000, true, false),
        ],
    );
    assert_eq!(pieces, [unit(0, &[&[0x67, 1], &[0x68, 2], &[0x65, 0x8a, 11, 12, 13]]), unit(3000, &[&[0x41, 0x94]])]);
}

#[test]
fn h265_single_aggregated_and_fragmented() {
    let mut depay = trusted("H265", &[]);
    let pieces = feed(
        &mut depay,
        &[
            (&[0x60, 1, 0, 3, 0x40, 1, 7, 0, 3, 0x42, 1, 8], 0, false, false),
            (&[0x62, 1, 0x80 | 19, 0x8a], 0, false, false),
            (&[0x62, 1, 0x40 | 19, 11], 0, true, false),
            (&[0x02, 1, 0x94], 3000, true, false),
        ],
    );
    assert_eq!(
        pieces,
        [unit(0, &[&[0x40, 1, 7], &[0x42, 1, 8], &[0x26, 1, 0x8a, 11]]), unit(3000, &[&[0x02, 1, 0x94]])]
    );
}

#[test]
fn a_picture_with_missing_parts_is_told_and_not_handed_on() {
    let mut depay = h264();
    let pieces = feed(
        &mut depay,
        &[
            (&[0x7c, 0x81, 0x80], 0, false, false),
            (&[0x7c, 0x41, 3], 0, true, true),      // the middle is missing
            (&[0x7c, 0x41, 3], 1, true, true),      // the beginning is missing
            (&[0x7c, 0x81, 0x80], 2, false, false), // the end is missing
            (&[0x41, 0x84], 3, true, true),
            (&[0x41, 0x85], 4, true, false),
            (&[0x41, 0x06], 5, true, true), // the first slice is missing
        ],
    );
    let broken = |ticks| Piece::Broken { ticks, came_ns: 0 };
    assert_eq!(
        pieces,
        [broken(0), broken(1), broken(2), unit(3, &[&[0x41, 0x84]]), unit(4, &[&[0x41, 0x85]]), broken(5)]
    );
}

#[test]
fn who_joins_in_the_middle_of_a_keyframe_does_not_begin_with_its_lower_half() {
    // A slice in one packet, and in two: neither is the first of its picture.
    let h264: [&[u8]; 3] = [&[0x65, 0x05], &[0x7c, 0x85, 0x05], &[0x7c, 0x45, 0x06]];
    let h265: [&[u8]; 3] = [&[0x26, 1, 0x05], &[0x62, 1, 0x80 | 19, 0x05], &[0x62, 1, 0x40 | 19, 0x06]];
    for (encoding, [single, begin, end], whole) in [("H264", h264, &[0x65, 0x80][..]), ("H265", h265, &[0x26, 1, 0x80])]
    {
        let mut depay = trusted(encoding, &[]);
        assert_eq!(feed(&mut depay, &[(single, 0, true, false)]), [], "never to be had, and no loss");
        assert_eq!(
            feed(&mut depay, &[(whole, 1, false, false), (single, 1, true, false)])[..],
            [unit(1, &[whole, single])]
        );

        let mut depay = trusted(encoding, &[]);
        assert_eq!(
            feed(&mut depay, &[(begin, 0, false, false), (end, 0, true, false)]),
            [],
            "never to be had, and no loss"
        );
    }
}

#[test]
fn parameter_sets_of_the_description_go_before_the_first_keyframe() {
    let mut depay = trusted("H264", &[("sprop-parameter-sets", "Z0I=,aM4=,!,AAAA")]);
    let packets: &[(&[u8], i64, bool, bool)] = &[(&[0x41, 0x81], 0, true, false), (&[0x65, 0x82], 1, true, false)];
    let pieces = feed(&mut depay, &[packets, &[(&[0x65, 0x83], 2, true, false)]].concat());
    assert_eq!(
        pieces,
        [unit(0, &[&[0x41, 0x81]]), unit(1, &[&[0x67, 0x42], &[0x68, 0xce], &[0x65, 0x82]]), unit(2, &[&[0x65, 0x83]])]
    );
}

#[test]
fn parameter_sets_between_slices_go_to_the_front_once() {
    let mut depay = h264();
    let pieces = feed(
        &mut depay,
        &[
            (&[0x09, 0x10], 0, false, false),
            (&[0x67, 1], 0, false, false),
            (&[0x65, 0x82], 0, false, false),
            (&[0x67, 1], 0, false, false),
            (&[0x68, 3], 0, false, false),
            (&[0x65, 0x84], 0, true, false),
        ],
    );
    let nals: &[&[u8]] = &[&[0x09, 0x10], &[0x67, 1], &[0x68, 3], &[0x65, 0x82], &[0x65, 0x84]];
    assert_eq!(pieces, [unit(0, nals)]);
}

#[test]
fn markers_that_are_missing_or_too_many() {
    let mut depay = h264();
    let pieces = feed(
        &mut depay,
        &[
            (&[0x67, 1], 0, true, false), // a marker behind a parameter set, and a time of its own
            (&[0x65, 0x82], 1, true, false),
            (&[0x41, 0x83], 2, false, false), // none
            (&[0x41, 0x84], 3, true, false),
            (&[0x41, 0x85], 4, true, false), // one behind each slice
            (&[0x41, 0x86], 4, true, false),
            (&[0x41, 0x87], 5, true, false),
            (&[0x41, 0x88], 5, true, false),
            (&[0x41, 0x89], 6, true, false),
        ],
    );
    assert_eq!(
        pieces,
        [
            unit(1, &[&[0x67, 1], &[0x65, 0x82]]),
            unit(2, &[&[0x41, 0x83]]),
            unit(3, &[&[0x41, 0x84]]),
            unit(4, &[&[0x41, 0x85]]),
            unit(4, &[&[0x41, 0x86]]), // the price of finding out
            unit(5, &[&[0x41, 0x87], &[0x41, 0x88]]),
        ]
    );
}

#[test]
fn markers_are_trusted_once_they_have_been_right_at_keyframes() {
    let mut depay = H26x::new(&stream("H264", &[]));
    let pieces = feed(
        &mut depay,
        &[(&[0x65, 0x81], 0, true, false), (&[0x41, 0x82], 1, true, false), (&[0x65, 0x83], 2, true, false)],
    );
    assert_eq!(pieces, [unit(0, &[&[0x65, 0x81]]), unit(1, &[&[0x41, 0x82]])], "a picture ends where the next begins");
    let pieces = feed(&mut depay, &[(&[0x41, 0x84], 3, true, false)]);
    assert_eq!(pieces, [unit(2, &[&[0x65, 0x83]]), unit(3, &[&[0x41, 0x84]])], "and now with its marker");

    // Two slices in keyframes only, and a marker behind each.
    let mut depay = H26x::new(&stream("H264", &[]));
    for at in 0..10 {
        let key: &[(&[u8], i64, bool, bool)] =
            &[(&[0x65, 0x81], at * 3, true, false), (&[0x65, 0x82], at * 3, true, false)];
        let mut pieces = feed(&mut depay, key);
        pieces.extend(feed(&mut depay, &[(&[0x41, 0x83], at * 3 + 1, true, false)]));
        assert_eq!(pieces.last().unwrap(), &unit(at * 3, &[&[0x65, 0x81], &[0x65, 0x82]]));
    }
    // What has come whole is not lost at the end.
    let mut last = Vec::new();
    depay.reset(&mut |piece| last.push(piece));
    assert_eq!(last, [unit(28, &[&[0x41, 0x83]])]);
}

proptest! {
    #[test]
    fn garbage_never_panics_nor_grows(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..64), 0..3_i64, any::<bool>(), any::<bool>()), 0..200),
        h265 in any::<bool>(),
    ) {
        let mut depay = H26x::new(&stream(if h265 { "H265" } else { "H264" }, &[]));
        let packets: Vec<_> = packets.iter().map(|(p, t, m, l)| (p.as_slice(), *t, *m, *l)).collect();
        let _ = feed(&mut depay, &packets);
        prop_assert!(depay.unit.len() <= MAX_UNIT_BYTES);
    }
}

#[test]
fn a_fragment_without_end_stays_bounded() {
    let mut depay = h264();
    let mut part = vec![0x05; 60_000];
    part[0] = 0x7c;
    for n in 0..400 {
        part[1] = if n == 0 { 0x85 } else { 0x05 };
        assert_eq!(feed(&mut depay, &[(&part, 0, false, false)]), []);
    }
    assert!(depay.unit.len() <= MAX_UNIT_BYTES);
    assert_eq!(feed(&mut depay, &[(&[0x41], 1, true, false)])[0], Piece::Broken { ticks: 0, came_ns: 0 });
}
