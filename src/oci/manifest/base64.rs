//! Base64, as used in a descriptor's `data`.

/// Decodes padded Base64 in RFC 4648's standard alphabet. Returns `None` if the text is invalid.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    if padding > 2 || !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = &text.as_bytes()[..text.len() - padding];
    let mut content = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for letter in group {
            bits = bits << 6 | digit(*letter)?;
        }
        // A group of n digits holds n - 1 bytes, at the top of its 24 bits.
        bits <<= 6 * (4 - group.len());
        content.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(content)
}

fn digit(letter: u8) -> Option<u32> {
    match letter {
        b'A'..=b'Z' => Some(u32::from(letter - b'A')),
        b'a'..=b'z' => Some(u32::from(letter - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(letter - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decodes_the_examples_of_the_rfc() {
        for (text, content) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")]
        {
            assert_eq!(decode(text).as_deref(), Some(content.as_bytes()));
        }
        assert_eq!(decode("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn rejects_invalid_text() {
        for bad in ["Z", "Zg", "Zg=", "=", "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm-_", "Zé="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(text in "[A-Za-z0-9+/=é]{0,40}") {
            let _ = decode(&text);
        }
    }
}
