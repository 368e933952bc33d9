//! The texts of cursors: bytes as base64url, numbers of any size as few bytes, and checksums.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of such a text; `None` for any other text, also for one whose last digit has bits to spare that aren't zero.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Seven bits a byte, the lowest first.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number off the front; `None` unless it is there, in its shortest form.
pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for index in 0..10 {
        let [byte, rest @ ..] = *bytes else {
            return None;
        };
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return (*byte != 0 || index == 0).then_some(number);
        }
    }
    None
}

/// FNV-1a: the same on every machine and in every version, unlike the hashes of the standard library.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn another_text_is_no_base64url() {
        for text in ["Z", "Zg==", "Zh", "Zm9v Zg", "Zm9+", "Zm9/", "Zm9vZ", "é"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_read_back() {
        for number in [0, 1, 127, 128, 300, u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            let mut rest = &bytes[..];
            assert_eq!(take_number(&mut rest), Some(number));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn other_numbers_are_refused() {
        for bytes in [&[][..], &[0x80], &[0x80, 0], &[0xff; 11]] {
            assert_eq!(take_number(&mut &bytes[..]), None);
        }
    }
}
