//! Describes rules in words, for people who did not write them.

use super::policy::{Action, Count, Expressions, Final, Order, Rule, When};

impl Rule {
    /// Describes what the rule keeps or expires, and when: "the newest 10 tags named v*, in order of their versions".
    pub fn describe(&self) -> String {
        let mut words = self.items();
        if !self.repositories.is_empty() {
            words.push(format!("in {}", names(&self.repositories)));
        }
        if !self.tags.is_empty() {
            words.push(format!("named {}", names(&self.tags)));
        }
        if let Some(expressions) = &self.tag_regex {
            words.push(format!("that match {}", choice(expressions)));
        }
        if let Some(expressions) = &self.except_regex {
            words.push(format!("that do not match {}", choice(expressions)));
        }
        words.extend(self.ages());
        words.extend(self.details());
        let mut text = words.join(" ");
        if let Some(by) = self.newest.and(self.by) {
            text.push_str(match by {
                Order::Push => ", in order of their pushes",
                Order::Pull => ", in order of their pulls",
                Order::Version => ", in order of their versions",
            });
        }
        if let Some(per) = &self.per {
            text.push_str(&format!(", separately for each value of {per}"));
        }
        if let Some(versions) = self.keep_history {
            text.push_str(&format!(", and {} before", counted(versions, "image that each pointed at")));
        }
        text.push_str(match self.when {
            When::Always => "",
            When::Pressure => ", while the disk is nearly full",
            When::Calm => ", unless the disk is nearly full",
        });
        text.push_str(match self.final_for {
            None => "",
            Some(Final::Tag) => "; later rules ignore these tags",
            Some(Final::Image) => "; later rules ignore these tags and their images",
        });
        text
    }

    /// The items that the rule selects by their kind and number.
    fn items(&self) -> Vec<String> {
        let mut kinds = Vec::new();
        if self.selects_tags() {
            kinds.push(if self.count == Some(Count::Images) { "images" } else { "tags" });
        }
        if self.untagged {
            kinds.push("untagged manifests");
        }
        if self.orphaned {
            kinds.push("signatures and other attachments of missing images");
        }
        let kinds = kinds.join(" and ");
        let items = match (self.newest, self.action) {
            (Some(1), Action::Keep) => "the newest of the ".to_owned() + &kinds,
            (Some(1), Action::Expire) => "all but the newest of the ".to_owned() + &kinds,
            (None, _) => kinds,
            (Some(number), Action::Keep) => format!("the newest {number} {kinds}"),
            (Some(number), Action::Expire) => format!("all but the newest {number} {kinds}"),
        };
        vec![items]
    }

    fn ages(&self) -> impl Iterator<Item = String> {
        let ages = [
            (&self.pushed_before, "pushed more than", " ago"),
            (&self.pushed_within, "pushed within the last", ""),
            (&self.pulled_before, "neither pulled nor pushed within the last", ""),
            (&self.pulled_within, "pulled within the last", ""),
        ];
        ages.into_iter().filter_map(|(span, before, after)| {
            let span = span.as_deref()?;
            let span = span_in_words(span);
            // "within the last day"
            let span = span.strip_prefix("1 ").filter(|_| before.ends_with("last")).unwrap_or(&span);
            Some(format!("{before} {span}{after}"))
        })
    }

    fn details(&self) -> Vec<String> {
        let mut words = Vec::new();
        if !self.artifact_types.is_empty() {
            words.push(format!("of type {}", names(&self.artifact_types)));
        }
        if !self.platforms.is_empty() {
            let only = if self.action == Action::Expire { "only " } else { "" };
            words.push(format!("{only}for {}", names(&self.platforms)));
        }
        for (kind, values) in [("annotation", &self.annotations), ("label", &self.labels)] {
            words.extend(values.iter().map(|(key, value)| format!("with the {kind} {key} = {value}")));
        }
        words
    }
}

/// Lists globs: those to match, then the exceptions.
fn names(globs: &[String]) -> String {
    let (exceptions, wanted): (Vec<_>, Vec<_>) = globs.iter().partition(|glob| glob.starts_with('!'));
    let wanted = wanted.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let exceptions = exceptions.into_iter().map(|glob| &glob[1..]).collect::<Vec<_>>().join(", ");
    match (wanted.is_empty(), exceptions.is_empty()) {
        (_, true) => wanted,
        (true, false) => format!("anything but {exceptions}"),
        (false, false) => format!("{wanted} but not {exceptions}"),
    }
}

fn choice(expressions: &Expressions) -> String {
    expressions.as_slice().join(" or ")
}

/// Writes a time span such as `30d` in words. Spans of several units stay as they are.
fn span_in_words(span: &str) -> String {
    let end = span.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(span.len());
    let unit = match &span[end..] {
        "s" => "second",
        "m" | "min" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "M" => "month",
        "y" => "year",
        _ => return span.to_owned(),
    };
    span[..end].parse().map_or_else(|_| span.to_owned(), |number| counted(number, unit))
}

fn counted(number: u32, singular: &str) -> String {
    if number == 1 {
        return format!("1 {singular}");
    }
    match singular.split_once(' ') {
        Some((noun, rest)) => format!("{number} {noun}s {rest}"),
        None => format!("{number} {singular}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_described_in_words() {
        let keep = || Rule::new("r", Action::Keep);
        let expire = || Rule::new("r", Action::Expire);
        let globs = |globs: &[&str]| globs.iter().map(|&glob| glob.to_owned()).collect::<Vec<_>>();
        let cases = [
            (keep(), "tags"),
            (Rule { tags: globs(&["v*", "!*-rc*"]), ..keep() }, "tags named v* but not *-rc*"),
            (
                Rule { newest: Some(10), by: Some(Order::Version), ..keep() },
                "the newest 10 tags, in order of their versions",
            ),
            (Rule { newest: Some(1), ..keep() }, "the newest of the tags"),
            (Rule { pulled_within: Some("1d".into()), ..keep() }, "tags pulled within the last day"),
            (
                Rule { newest: Some(3), when: When::Calm, ..expire() },
                "all but the newest 3 tags, unless the disk is nearly full",
            ),
            (
                Rule { untagged: true, pushed_before: Some("1d".into()), ..expire() },
                "untagged manifests pushed more than 1 day ago",
            ),
            (
                Rule { pulled_before: Some("90d".into()), ..expire() },
                "tags neither pulled nor pushed within the last 90 days",
            ),
            (
                Rule { tags: globs(&["latest"]), keep_history: Some(2), ..keep() },
                "tags named latest, and 2 images that each pointed at before",
            ),
            (Rule { platforms: globs(&["linux/arm64"]), ..expire() }, "tags only for linux/arm64"),
            (
                Rule { repositories: globs(&["!team/**"]), pulled_within: Some("1h30m".into()), ..keep() },
                "tags in anything but team/** pulled within the last 1h30m",
            ),
        ];
        for (rule, words) in cases {
            assert_eq!(rule.describe(), words);
        }
    }
}
