//! The program by which the kernel chooses the frames that a link-layer socket receives ("classic BPF").
//!
//! It runs for every frame of its protocol on the interface, so it looks first at what sorts out most of them. It
//! looks no closer than it must: what it lets through is read with care afterwards.

use std::net::IpAddr;

use socket2::SockFilter;

use crate::segment::{HEADERS_BYTES, PROTOCOL_TCP};

/// One instruction: its code, how many instructions to skip when its condition holds and when not, its operand.
type Instruction = (u16, u8, u8, u32);

// The operations of the kernel's `linux/bpf_common.h` that are used here.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF_WORD: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const NOTE_IPV4_HEADER_LENGTH: u16 = 0xb1;
const LOAD_BYTE_AFTER_IPV4_HEADER: u16 = 0x50;
const AND: u16 = 0x54;
const SKIP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Where the kernel shows, as if among the bytes of the packet, to whom the frame was addressed, and its word for
/// "to this host" (`SKF_AD_OFF + SKF_AD_PKTTYPE`, `PACKET_HOST`).
const FRAME_KIND: u32 = 0xffff_f000 + 4;
const TO_THIS_HOST: u32 = 0;

/// Which TCP segments a filter lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segments {
    All,
    AskingForConnection,
}

/// Lets through the headers of unfragmented TCP segments to `ip`, in frames to this host. It is for a socket that
/// receives from the IP header on, and only the IP version of `ip`.
pub(crate) fn packet_filter(ip: IpAddr, segments: Segments) -> Vec<SockFilter> {
    let program = program(&checks(ip, segments));
    program.into_iter().map(|(code, yes, no, operand)| SockFilter::new(code, yes, no, operand)).collect()
}

/// Something that must be so: the bytes that a load finds at an offset, under a mask, have a value.
struct Check {
    load: u16,
    offset: u32,
    mask: u32,
    value: u32,
}

fn checks(ip: IpAddr, segments: Segments) -> Vec<Check> {
    const ALL_BITS: u32 = u32::MAX;
    const MORE_FRAGMENTS_OR_OFFSET: u32 = 0x3fff;
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_ACK_RST_FIN: u32 = 0x17;
    let is = |load, offset, value| Check { load, offset, mask: ALL_BITS, value };
    let mut checks = Vec::new();
    match ip {
        IpAddr::V4(ip) => {
            checks.push(is(LOAD_WORD, 16, ip.to_bits()));
            checks.push(is(LOAD_BYTE, 9, PROTOCOL_TCP.into()));
            checks.push(Check { load: LOAD_HALF_WORD, offset: 6, mask: MORE_FRAGMENTS_OR_OFFSET, value: 0 });
        }
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            let (words, _) = octets.as_chunks::<4>();
            // The last word first: addresses of one link differ there.
            for (offset, word) in [24, 28, 32, 36].into_iter().zip(words).rev() {
                checks.push(is(LOAD_WORD, offset, u32::from_be_bytes(*word)));
            }
            checks.push(is(LOAD_BYTE, 6, PROTOCOL_TCP.into()));
        }
    }
    if segments == Segments::AskingForConnection {
        let (load, offset) = match ip {
            IpAddr::V4(_) => (LOAD_BYTE_AFTER_IPV4_HEADER, FLAGS_AT),
            IpAddr::V6(_) => (LOAD_BYTE, 40 + FLAGS_AT),
        };
        checks.push(Check { load, offset, mask: SYN_ACK_RST_FIN, value: SYN });
    }
    checks.push(is(LOAD_BYTE, FRAME_KIND, TO_THIS_HOST));
    checks
}

/// Returns how much of the packet to hand over. A check that fails returns at once, so that no skip depends on the length of the program.
fn program(checks: &[Check]) -> Vec<Instruction> {
    const NOTHING: u32 = 0;
    // Without meaning for IPv6, and unused there.
    let mut program = vec![(NOTE_IPV4_HEADER_LENGTH, 0, 0, 0)];
    for check in checks {
        program.push((check.load, 0, 0, check.offset));
        program.push((AND, 0, 0, check.mask));
        program.push((SKIP_IF_EQUAL, 1, 0, check.value));
        program.push((RETURN, 0, 0, NOTHING));
    }
    program.push((RETURN, 0, 0, HEADERS_BYTES.into()));
    program
}
