//! Text from elsewhere, as a terminal may be given it.
//!
//! A terminal obeys control characters, characters for bidirectional text reorder what stands beside them, and others
//! cannot be seen: each could make a line look like something that it is not. They are written out as escapes.

use std::borrow::Cow;

/// Whether a character is a control character, changes the direction of text, or is invisible by itself.
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

/// `text` on one line, with what is unprintable written out.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_but(text, |_| false)
}

/// The same of a text of several lines.
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

/// A JSON text with what is unprintable in its strings written as JSON writes it: the same values for a program.
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
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(escape("linux\u{1b}]0;x\u{7}"), "linux\\u{1b}]0;x\\u{7}");
        assert_eq!(escape("a\u{9b}31m\u{7f}\r\n\tb"), "a\\u{9b}31m\\u{7f}\\r\\n\\tb");
        assert_eq!(escape_lines("a\u{1b}\nb\r\n"), "a\\u{1b}\nb\\r\n");
    }

    #[test]
    fn what_turns_text_round_or_cannot_be_seen_is_written_out() {
        let bidirectional = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        for letter in
            bidirectional.chain(['\u{200e}', '\u{200f}', '\u{61c}', '\u{200b}', '\u{feff}', '\u{e0041}'])
        {
            assert_eq!(escape(&letter.to_string()), format!("\\u{{{:x}}}", u32::from(letter)));
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in ["", "it's \"ann\" \\ ä", "日本語 ✔️ 👩‍", "linux/amd64"] {
            let text = text.replace('\u{200d}', "");
            assert!(matches!(escape(&text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "a\u{202e}": "\u{1b}\u{9b}\u{7f}\u{e0041}ä\n" });
        let text = value.to_string();
        let escaped = escape_json(&text);
        assert!(!escaped.contains(is_unprintable), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
    }
}
