//! One slot: a header with a checksum over everything else in the slot, then the payload, then zeros.
//!
//! It does not know what a payload means.

use std::fmt;
use std::io;

use sha2::{Digest, Sha256};

/// Several pages of memory and many sectors of a disk, so that writing one slot never rewrites a part of the other.
pub(super) const SLOT_BYTES: usize = 8192;

const MAGIC: [u8; 8] = *b"MMM3SLOT";
const VERSION: u32 = 1;
const LENGTH_AT: usize = 12;
const SEQUENCE_AT: usize = 16;
const CHECKSUM_AT: usize = 24;
const PAYLOAD_AT: usize = 56;
const PAYLOAD_BYTES_MAX: usize = SLOT_BYTES - PAYLOAD_AT;
/// Nobody writes that often; beyond it the bytes are garbage, whatever their checksum.
const SEQUENCE_MAX: u64 = u64::MAX / 2;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Zeros only: never written.
    Blank,
    Whole {
        sequence: u64,
        payload: Vec<u8>,
    },
    Torn {
        why: String,
    },
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => write!(f, "never written"),
            Self::Whole { sequence, .. } => write!(f, "number {sequence}"),
            Self::Torn { why } => write!(f, "{why}"),
        }
    }
}

/// Where the slot with this number belongs: they take turns.
pub(super) fn offset(sequence: u64) -> u64 {
    (sequence % 2) * SLOT_BYTES as u64
}

pub(super) fn encode(sequence: u64, payload: &[u8]) -> io::Result<Vec<u8>> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        let (length, most) = (payload.len(), PAYLOAD_BYTES_MAX);
        let text = format!("the state takes {length} bytes, and {most} at most can be kept");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let length = u32::try_from(payload.len()).expect("the limit above is far below 4 GiB");
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&[0; PAYLOAD_AT - CHECKSUM_AT]);
    bytes.extend_from_slice(payload);
    bytes.resize(SLOT_BYTES, 0);
    let checksum = checksum(&bytes);
    bytes[CHECKSUM_AT..PAYLOAD_AT].copy_from_slice(&checksum);
    Ok(bytes)
}

/// Reads the slot at a place; `bytes` are exactly a slot's.
pub(super) fn decode(place: usize, bytes: &[u8]) -> Slot {
    if bytes.iter().all(|byte| *byte == 0) {
        return Slot::Blank;
    }
    let torn = |why: &str| Slot::Torn { why: why.to_owned() };
    if bytes[..MAGIC.len()] != MAGIC {
        return torn("no slot of ours");
    }
    let version = number(&bytes[MAGIC.len()..LENGTH_AT]);
    if version != u64::from(VERSION) {
        return Slot::Torn { why: format!("of format {version}, and {VERSION} is expected") };
    }
    if bytes[CHECKSUM_AT..PAYLOAD_AT] != checksum(bytes) {
        return torn("torn, or changed by somebody else");
    }
    let sequence = number(&bytes[SEQUENCE_AT..CHECKSUM_AT]);
    let length = usize::try_from(number(&bytes[LENGTH_AT..SEQUENCE_AT])).unwrap_or(usize::MAX);
    let in_its_place = offset(sequence) == (place * SLOT_BYTES) as u64;
    if sequence == 0 || sequence > SEQUENCE_MAX || length > PAYLOAD_BYTES_MAX || !in_its_place {
        return torn("with an impossible header");
    }
    Slot::Whole { sequence, payload: bytes[PAYLOAD_AT..PAYLOAD_AT + length].to_vec() }
}

fn checksum(bytes: &[u8]) -> [u8; PAYLOAD_AT - CHECKSUM_AT] {
    let mut hash = Sha256::new();
    hash.update(&bytes[..CHECKSUM_AT]);
    hash.update(&bytes[PAYLOAD_AT..]);
    hash.finalize().into()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
