//! Makes text from clients safe to show, even on a terminal.

use crate::auth::masked;
use crate::printable::is_unprintable;

/// Removes secrets from `text`, escapes control and invisible characters, and truncates it to `max_chars` characters.
pub(super) fn readable(text: &str, max_chars: usize) -> String {
    let text = masked(text);
    let mut shown = String::new();
    for (at, letter) in text.chars().enumerate() {
        if at == max_chars {
            shown.push('…');
            break;
        }
        match letter {
            '\'' | '"' => shown.push(letter),
            '\n' | '\r' | '\t' => shown.extend(letter.escape_debug()),
            letter if is_unprintable(letter) => shown.extend(letter.escape_unicode()),
            letter => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(readable("it's \"ann\" ä", 64), "it's \"ann\" ä");
        assert_eq!(readable("a\u{1b}[2J\n\u{9b}b", 64), "a\\u{1b}[2J\\n\\u{9b}b");
        assert_eq!(readable("a\u{202e}b\u{200b}", 64), "a\\u{202e}b\\u{200b}");
        assert_eq!(readable("äbcdef", 3), "äbc…");
        assert_eq!(readable("orlop_abc_secret", 64), "orlop_abc_…");
    }
}
