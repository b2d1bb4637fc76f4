//! Durations in the format of Go.

use std::time::Duration;

/// Parses a duration such as `168h`, `1h30m` or `1.5h`. Returns `None` if it is invalid or negative.
pub(super) fn parse_go(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = seconds_of(&rest[..unit])?;
        total = total.checked_add(Duration::try_from_secs_f64(value * seconds).ok()?)?;
        rest = &rest[unit..];
    }
    Some(total)
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

/// Formats a duration for policies. Keeps `text` if policies read it as the same duration.
pub(super) fn format(text: &str, duration: Duration) -> String {
    if humantime::parse_duration(text) == Ok(duration) {
        text.to_owned()
    } else {
        humantime::format_duration(duration).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_durations_as_go_does() {
        for (text, seconds) in [
            ("168h", 604_800.0),
            ("1h30m", 5400.0),
            ("1.5h", 5400.0),
            ("0", 0.0),
            ("0s", 0.0),
            ("250ms", 0.25),
        ] {
            assert_eq!(parse_go(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "-1h", "1d", "1", "h", "1h ", " 1h", "1..h", "1e400h", "9999999999999999999999h"] {
            assert_eq!(parse_go(text), None, "{text}");
        }
    }

    #[test]
    fn formats_durations_that_policies_read_the_same() {
        for (text, expected) in [("+1h", "1h"), ("168h", "168h"), ("1h30m", "1h30m"), ("1.5h", "1.5h")] {
            let duration = parse_go(text).expect("a duration");
            let formatted = format(text, duration);
            assert_eq!((formatted.as_str(), humantime::parse_duration(&formatted)), (expected, Ok(duration)));
        }
    }
}
