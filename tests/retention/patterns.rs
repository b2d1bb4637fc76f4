//! Simple globs, expressions, versions and spans, for the patterns of the generator only.

use crate::generate::HOUR;

/// Returns what the capture group of `per` matches in a tag.
pub fn branch_of(per: &str, tag: &str) -> Option<String> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (head, tail) = tag.rsplit_once('-').map_or((None, tag), |(head, tail)| (Some(head), tail));
    let letters = |head: &str| !head.is_empty() && head.bytes().all(|b| b.is_ascii_lowercase());
    match (per, head) {
        (r"^(.+)-\d+$", Some(head)) if number(tail) => Some(head.to_owned()),
        (r"^(?:([a-z]+)-)?\d+$", Some(head)) if number(tail) && letters(head) => Some(head.to_owned()),
        (r"^(?:([a-z]+)-)?\d+$", None) if number(tail) => Some(String::new()),
        _ => None,
    }
}

/// Returns the position of a version among those in [`crate::generate::NAMES`].
pub fn version(tag: &str) -> Option<usize> {
    let order: [&[&str]; 8] =
        [&["v1.0"], &["v1.2"], &["1.2.3"], &["v1.10.0"], &["v2.0.0-rc1"], &["v2.0"], &["17"], &["18"]];
    order.iter().position(|same| same.contains(&tag))
}

#[expect(clippy::ref_option, reason = "the type of the fields that it is for")]
pub fn hours(span: &Option<String>) -> Option<i64> {
    span.as_ref().map(|text| text.trim_end_matches('h').parse::<i64>().expect("hours") * HOUR)
}

pub fn regex_matches(regex: &str, text: &str) -> bool {
    match regex {
        "[0-9]$" => text.ends_with(|c: char| c.is_ascii_digit()),
        anchored if anchored.starts_with('^') => text.starts_with(&anchored[1..]),
        plain => text.contains(plain),
    }
}

pub fn globs(list: &[String], text: &str, slashes: bool) -> bool {
    let mut named = list.iter().filter(|glob| !glob.starts_with('!')).peekable();
    let none = named.peek().is_none();
    let matched = none || named.any(|glob| glob_matches(glob, text, slashes));
    matched && !list.iter().filter_map(|g| g.strip_prefix('!')).any(|glob| glob_matches(glob, text, slashes))
}

pub fn glob_matches(glob: &str, text: &str, slashes: bool) -> bool {
    if let Some(rest) = glob.strip_prefix("**") {
        return (0..=text.len()).any(|at| glob_matches(rest, &text[at..], slashes));
    }
    match (glob.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), first) => {
            glob_matches(&glob[1..], text, slashes)
                || first.is_some_and(|c| !(slashes && c == '/')) && glob_matches(glob, &text[1..], slashes)
        }
        (Some(a), Some(b)) => a == b && glob_matches(&glob[1..], &text[1..], slashes),
        _ => false,
    }
}
