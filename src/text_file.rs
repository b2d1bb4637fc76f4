//! Text files that people write: the byte order mark that Windows' editors put first is not part of the text.

use std::fs;
use std::io;
use std::path::Path;

/// The byte order mark of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The text of a file in UTF-8.
///
/// # Errors
/// The file cannot be read, or is in another encoding; for UTF-16 the message says so.
pub fn read(path: &Path) -> io::Result<String> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let message = if utf16 { "is in UTF-16; save it as UTF-8" } else { "is not in UTF-8" };
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// The bytes of a file whose format is a text that its reader checks by itself, such as PEM or JSON.
///
/// # Errors
/// The file cannot be read.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = fs::read(path)?;
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    Ok(bytes)
}

/// A text that came another way, such as by standard input, without its byte order mark.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        for text in ["\u{feff}ann", "ann"] {
            fs::write(&path, text).expect("written");
            assert_eq!(read(&path).expect("text"), "ann");
            assert_eq!(read_bytes(&path).expect("bytes"), b"ann");
            assert_eq!(without_mark(text), "ann");
        }
    }

    #[test]
    fn another_encoding_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        for (bytes, message) in
            [(&b"\xff\xfea\0"[..], "UTF-16"), (b"\xfe\xff\0a", "UTF-16"), (b"a\xff", "UTF-8")]
        {
            fs::write(&path, bytes).expect("written");
            assert!(read(&path).expect_err("not UTF-8").to_string().contains(message));
        }
    }
}
