//! The checksum of the Internet protocols.

/// The checksum of `parts` joined together, each of an even number of bytes. Over a packet that already carries its
/// checksum it is 0.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let sum = parts.iter().fold(0u16, |sum, part| {
        let (words, rest) = part.as_chunks::<2>();
        assert!(rest.is_empty(), "half a word would shift all words after it");
        words.iter().fold(sum, |sum, word| {
            let (sum, carry) = sum.overflowing_add(u16::from_be_bytes(*word));
            sum + u16::from(carry)
        })
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_is_summed_up_as_there_however_it_is_parted() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&bytes]), !0xddf2);
        assert_eq!(checksum(&[&bytes[..2], &[], &bytes[2..]]), !0xddf2);
    }
}
