//! Reading of text files that users write. Drops the byte order mark that Windows editors put first.

use std::fs;
use std::io;
use std::path::Path;

/// The UTF-8 byte order mark.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads a UTF-8 file.
///
/// # Errors
/// Fails if the file cannot be read or has another encoding. The message names UTF-16 if the file has that encoding.
pub fn read(path: &Path) -> io::Result<String> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let message = if utf16 { "is in UTF-16; save it as UTF-8" } else { "is not in UTF-8" };
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// Reads a file, such as PEM or JSON, whose parser checks the encoding.
///
/// # Errors
/// Fails if the file cannot be read.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = fs::read(path)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Strips the byte order mark from text that was not read from a file, such as standard input.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_byte_order_mark() {
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
    fn rejects_other_encodings_by_name() {
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
