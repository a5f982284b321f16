use proptest::prelude::*;

use super::*;

/// A client's SYN as it went over a link, and below what the kernel of its target answered, for a port where nobody
/// listened.
const SYN_V4: &str = "4500 003c ce05 4000 4006 57ee 0a63 0002 0a63 0001 842a 0cea 093b 4790 0000 0000 \
                      a002 faf0 f41e 0000 0204 05b4 0402 080a e0dc 8168 0000 0000 0103 030a";
const ANSWER_V4: &str = "4500 0028 0000 4000 4006 2608 0a63 0001 0a63 0002 0cea 842a 0000 0000 093b 4791 \
                         5014 0000 b927 0000";
const SYN_V6: &str = "6006 5d75 0028 0640 fd99 0000 0000 0000 0000 0000 0000 0002 fd99 0000 0000 0000 \
                      0000 0000 0000 0001 c60a 0cea 2b2b 90c3 0000 0000 a002 fd20 69d5 0000 0204 05a0 \
                      0402 080a 7ff6 d70a 0000 0000 0103 030a";
/// With a flow label of 0, which the kernel chose at random.
const ANSWER_V6: &str = "6000 0000 0014 0640 fd99 0000 0000 0000 0000 0000 0000 0001 fd99 0000 0000 0000 \
                         0000 0000 0000 0002 0cea c60a 0000 0000 2b2b 90c4 5014 0000 25b6 0000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The IPv4 SYN with other bytes at an offset, and a header checksum that fits.
fn changed_v4(at: usize, new: &[u8]) -> Vec<u8> {
    let mut packet = bytes(SYN_V4);
    packet[at..at + new.len()].copy_from_slice(new);
    packet[10..12].fill(0);
    let header_length = (usize::from(packet[0] & 0x0f) * 4).min(packet.len());
    let sum = checksum(&[&packet[..header_length]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn changed_v6(at: usize, new: &[u8]) -> Vec<u8> {
    let mut packet = bytes(SYN_V6);
    packet[at..at + new.len()].copy_from_slice(new);
    packet
}

#[test]
fn a_refusal_is_byte_for_byte_what_the_kernel_answers() {
    for (syn, answer) in [(SYN_V4, ANSWER_V4), (SYN_V6, ANSWER_V6)] {
        let refusal = Segment::parse(&bytes(syn)).unwrap().refusal().unwrap();
        assert_eq!(refusal, bytes(answer));
    }
}

#[test]
fn the_headers_alone_are_enough() {
    for (syn, headers) in [(SYN_V4, 40), (SYN_V6, 60)] {
        let syn = bytes(syn);
        assert_eq!(Segment::parse(&syn[..headers]), Segment::parse(&syn));
        for length in 0..headers {
            assert_eq!(Segment::parse(&syn[..length]), None, "cut at {length}");
        }
    }
}

#[test]
fn what_fills_up_a_short_frame_is_not_counted_as_data() {
    let mut padded = bytes(SYN_V4);
    padded.extend([0; 6]);
    assert_eq!(Segment::parse(&padded), Segment::parse(&bytes(SYN_V4)));
}

#[test]
fn a_segment_with_an_acknowledgement_is_refused_at_the_number_it_waits_for() {
    // Sequence 1, acknowledgement 0xffffffff, flags PSH and ACK.
    let packet = changed_v4(24, &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xa0, 0x18]);
    let refusal = Segment::parse(&packet).unwrap().refusal().unwrap();
    assert_eq!(refusal[24..34], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x50, 0x04]);
}

#[test]
fn without_an_acknowledgement_data_and_flags_are_counted_and_the_number_wraps_around() {
    // Sequence 0xffffffff, a header of 20 bytes, so that 20 bytes of the old options are data; flags FIN and SYN.
    let packet = changed_v4(24, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x50, 0x03]);
    let refusal = Segment::parse(&packet).unwrap().refusal().unwrap();
    assert_eq!(refusal[24..34], [0, 0, 0, 0, 0, 0, 0, 21, 0x50, 0x14]);
}

#[test]
fn a_reset_is_never_answered() {
    for flags in [0x04, 0x14, 0x06, 0xff] {
        for packet in [changed_v4(33, &[flags]), changed_v6(53, &[flags])] {
            assert_eq!(Segment::parse(&packet).unwrap().refusal(), None);
        }
    }
}

#[test]
fn what_is_no_whole_segment_of_one_host_is_passed_over() {
    let broken_checksum = {
        let mut packet = bytes(SYN_V4);
        packet[8] -= 1;
        packet
    };
    let cases = [
        ("IP version 5", changed_v4(0, &[0x55])),
        ("an IPv4 header of 16 bytes", changed_v4(0, &[0x44])),
        ("a total length below both headers", changed_v4(2, &[0, 39])),
        ("a total length below the IP header", changed_v4(2, &[0, 19])),
        ("a first fragment", changed_v4(6, &[0x20, 0])),
        ("a later fragment", changed_v4(6, &[0, 1])),
        ("UDP", changed_v4(9, &[17])),
        ("a wrong header checksum", broken_checksum),
        ("from a group", changed_v4(12, &[224, 0, 0, 1])),
        ("from everybody", changed_v4(12, &[255, 255, 255, 255])),
        ("from nobody", changed_v4(12, &[0, 0, 0, 0])),
        ("from the host itself", changed_v4(12, &[127, 0, 0, 1])),
        ("from its own target", changed_v4(12, &[10, 99, 0, 1])),
        ("a TCP header of 16 bytes", changed_v4(32, &[0x40])),
        ("a TCP header longer than the packet", changed_v4(32, &[0xf0])),
        ("IPv6 with an extension header", changed_v6(6, &[0])),
        ("UDP over IPv6", changed_v6(6, &[17])),
        ("a payload below the header", changed_v6(4, &[0, 19])),
        ("from an IPv6 group", changed_v6(8, &[0xff])),
    ];
    for (what, packet) in cases {
        assert_eq!(Segment::parse(&packet), None, "{what}");
    }
    assert!(Segment::parse(&changed_v4(8, &[63])).is_some(), "the changes alone do no harm");
}

/// Bytes that get past the first checks often enough to reach the last ones.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let arbitrary = proptest::collection::vec(any::<u8>(), 0..160);
    let damaged = (any::<bool>(), proptest::collection::vec((0..80usize, any::<u8>()), 0..4), 0..80usize);
    let damaged = damaged.prop_map(|(v4, changes, length)| {
        let mut packet = if v4 { bytes(SYN_V4) } else { bytes(SYN_V6) };
        for (at, value) in changes {
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
        }
        packet.truncate(length);
        packet
    });
    prop_oneof![arbitrary, damaged]
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic_and_every_refusal_is_a_sound_reset_that_is_not_answered(packet in packets()) {
        if let Some(refusal) = Segment::parse(&packet).and_then(|segment| segment.refusal()) {
            let answer = Segment::parse(&refusal).expect("a refusal is a segment");
            prop_assert_eq!(answer.refusal(), None);
            let (addresses, tcp) = match answer.addresses {
                Addresses::V4 { .. } => (&refusal[12..20], &refusal[20..]),
                Addresses::V6 { .. } => (&refusal[8..40], &refusal[40..]),
            };
            prop_assert_eq!(checksum(&[addresses, &[0, 6, 0, 20], tcp]), 0);
        }
    }
}
