//! Lists of globs with exceptions.

use super::error::Mistake;
use super::matcher::{Glob, Matcher, PatternLimits};

/// Globs and exceptions. A list of exceptions alone matches everything else.
#[derive(Debug, Clone)]
pub(crate) struct Globs {
    /// The globs; `None` matches everything.
    only: Option<Matcher>,
    /// The exceptions; `None` matches nothing.
    except: Option<Matcher>,
}

impl Globs {
    /// Compiles globs of repository names: `*` stops at a slash, `**` does not.
    pub(crate) fn of_names(key: &'static str, patterns: &[String]) -> Result<Self, Mistake> {
        Self::of_names_within(&mut PatternLimits::default(), key, patterns)
    }

    /// Compiles globs of repository names within the limits.
    pub(super) fn of_names_within(
        limits: &mut PatternLimits,
        key: &'static str,
        patterns: &[String],
    ) -> Result<Self, Mistake> {
        Self::build(limits, key, patterns, true)
    }

    /// Compiles globs of anything else within the limits.
    pub(super) fn of_words(
        limits: &mut PatternLimits,
        key: &'static str,
        patterns: &[String],
    ) -> Result<Self, Mistake> {
        Self::build(limits, key, patterns, false)
    }

    fn build(
        limits: &mut PatternLimits,
        key: &'static str,
        patterns: &[String],
        stops_at_slash: bool,
    ) -> Result<Self, Mistake> {
        let mut only = Vec::new();
        let mut except = Vec::new();
        for pattern in patterns {
            let list = if pattern.starts_with('!') { &mut except } else { &mut only };
            list.push(Glob { written: pattern, stops_at_slash });
        }
        let mut compile =
            |globs: Vec<Glob<'_>>| (!globs.is_empty()).then(|| limits.globs(key, &globs)).transpose();
        Ok(Self { only: compile(only)?, except: compile(except)? })
    }

    /// Whether a glob matches one of the texts, and no exception matches any of them.
    pub(crate) fn matches_any_of<'a>(&self, texts: impl Iterator<Item = &'a str> + Clone) -> bool {
        let is_included = |text| self.only.as_ref().is_none_or(|only| only.is_match(text));
        let is_excepted = |text| self.except.as_ref().is_some_and(|except| except.is_match(text));
        texts.clone().any(is_included) && !texts.clone().any(is_excepted)
    }

    /// Whether a glob matches and no exception does.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.matches_any_of(std::iter::once(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|p| (*p).to_owned()).collect()
    }

    fn names(patterns: &[&str]) -> Globs {
        Globs::of_names("repositories", &globs(patterns)).expect("globs")
    }

    #[test]
    fn star_stops_at_slashes_in_names_only() {
        assert!(names(&["prod/*"]).matches("prod/a"));
        assert!(!names(&["prod/*"]).matches("prod/a/b"));
        assert!(names(&["prod/**"]).matches("prod/a/b"));
        assert!(!names(&["prod/**"]).matches("prod"));
        assert!(names(&["**"]).matches("a") && names(&["**"]).matches("a/b/c"));
        let types =
            Globs::of_words(&mut PatternLimits::default(), "artifact_types", &globs(&["application/*"]))
                .expect("globs");
        assert!(types.matches("application/a/b"));
    }

    #[test]
    fn exceptions_win_at_any_position() {
        let list = names(&["!a/secret", "a/*", "!b/*"]);
        assert!(list.matches("a/x") && !list.matches("a/secret") && !list.matches("b/x"));
        let all_but = names(&["!a/**"]);
        assert!(all_but.matches("b") && !all_but.matches("a/x"));
        assert!(names(&[]).matches("anything/at/all"));
    }

    #[test]
    fn error_names_the_invalid_glob() {
        for bad in ["", "!", "a[", "{a", "a\\"] {
            let error = Globs::of_names("tags", &globs(&["*", bad])).expect_err(bad);
            assert!(
                matches!(&error, Mistake::Glob { key: "tags", pattern, .. } if pattern == bad),
                "{error}"
            );
        }
    }
}
