//! Escaping of untrusted text for terminals.
//!
//! Terminals obey control characters, bidirectional characters reorder the text next to them, and some characters are
//! invisible. Each could make a line look like something else, so they are written as escapes.

use std::borrow::Cow;

/// Whether `letter` is a control character, changes the text direction, or is invisible.
pub fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Escapes unprintable characters, including line breaks.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_but(text, |_| false)
}

/// Escapes unprintable characters, but keeps line breaks.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_but(text, |letter| letter == '\n')
}

fn escape_but(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |letter: char| is_unprintable(letter) && !keep(letter);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '\n' | '\r' | '\t' if is_escaped(letter) => escaped.extend(letter.escape_debug()),
            letter if is_escaped(letter) => escaped.extend(letter.escape_unicode()),
            letter => escaped.push(letter),
        }
    }
    Cow::Owned(escaped)
}

/// Escapes unprintable characters in the strings of a JSON text as JSON escapes; the values stay the same.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |letter: char| is_unprintable(letter) && letter >= '\u{7f}';
    if !json.contains(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        if is_escaped(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_control_characters() {
        assert_eq!(escape("linux\u{1b}]0;x\u{7}"), "linux\\u{1b}]0;x\\u{7}");
        assert_eq!(escape("a\u{9b}31m\u{7f}\r\n\tb"), "a\\u{9b}31m\\u{7f}\\r\\n\\tb");
        assert_eq!(escape_lines("a\u{1b}\nb\r\n"), "a\\u{1b}\nb\\r\n");
    }

    #[test]
    fn escapes_bidirectional_and_invisible_characters() {
        let bidirectional = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        for letter in
            bidirectional.chain(['\u{200e}', '\u{200f}', '\u{61c}', '\u{200b}', '\u{feff}', '\u{e0041}'])
        {
            assert_eq!(escape(&letter.to_string()), format!("\\u{{{:x}}}", u32::from(letter)));
        }
    }

    #[test]
    fn keeps_printable_text() {
        for text in ["", "it's \"ann\" \\ ä", "日本語 ✔️ 👩‍", "linux/amd64"] {
            let text = text.replace('\u{200d}', "");
            assert!(matches!(escape(&text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn escaped_json_keeps_its_value() {
        let value = serde_json::json!({ "a\u{202e}": "\u{1b}\u{9b}\u{7f}\u{e0041}ä\n" });
        let text = value.to_string();
        let escaped = escape_json(&text);
        assert!(!escaped.contains(is_unprintable), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
    }
}
