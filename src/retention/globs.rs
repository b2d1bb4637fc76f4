//! Lists of globs with exceptions.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::Mistake;

/// Globs, and globs of exceptions. A list that names exceptions alone means everything else.
#[derive(Debug, Clone)]
pub(crate) struct Globs {
    /// `None`: everything.
    only: Option<GlobSet>,
    except: GlobSet,
}

impl Globs {
    /// Globs of repository names: `*` stops at a slash, `**` does not.
    pub(crate) fn of_names(key: &'static str, patterns: &[String]) -> Result<Self, Mistake> {
        Self::build(key, patterns, true)
    }

    /// Globs of anything else.
    pub(super) fn of_words(key: &'static str, patterns: &[String]) -> Result<Self, Mistake> {
        Self::build(key, patterns, false)
    }

    fn build(key: &'static str, patterns: &[String], stop_at_slash: bool) -> Result<Self, Mistake> {
        let (mut only, mut except) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let mut named = false;
        for pattern in patterns {
            let wrong = |why: String| Mistake::Glob { key, pattern: pattern.clone(), why };
            let (list, text) = match pattern.strip_prefix('!') {
                Some(exception) => (&mut except, exception),
                None => {
                    named = true;
                    (&mut only, pattern.as_str())
                }
            };
            if text.is_empty() {
                return Err(wrong("it is empty".into()));
            }
            let mut glob = GlobBuilder::new(text);
            glob.literal_separator(stop_at_slash).backslash_escape(true);
            list.add(glob.build().map_err(|error| wrong(error.kind().to_string()))?);
        }
        let finish = |list: GlobSetBuilder| {
            let all = || patterns.join(", ");
            list.build().map_err(|error| Mistake::Glob { key, pattern: all(), why: error.to_string() })
        };
        Ok(Self { only: if named { Some(finish(only)?) } else { None }, except: finish(except)? })
    }

    /// Whether a glob matches one of these, and no exception any.
    pub(crate) fn match_some<'a>(&self, texts: impl Iterator<Item = &'a str> + Clone) -> bool {
        let is_meant = |text| self.only.as_ref().is_none_or(|only| only.is_match(text));
        texts.clone().any(is_meant) && !texts.clone().any(|text| self.except.is_match(text))
    }

    /// Whether a glob matches and no exception does.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.match_some(std::iter::once(text))
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
    fn a_star_stops_at_a_slash_in_names_and_nowhere_else() {
        assert!(names(&["prod/*"]).matches("prod/a"));
        assert!(!names(&["prod/*"]).matches("prod/a/b"));
        assert!(names(&["prod/**"]).matches("prod/a/b"));
        assert!(!names(&["prod/**"]).matches("prod"));
        assert!(names(&["**"]).matches("a") && names(&["**"]).matches("a/b/c"));
        let types = Globs::of_words("artifact_types", &globs(&["application/*"])).expect("globs");
        assert!(types.matches("application/a/b"));
    }

    #[test]
    fn exceptions_win_wherever_they_stand() {
        let list = names(&["!a/secret", "a/*", "!b/*"]);
        assert!(list.matches("a/x") && !list.matches("a/secret") && !list.matches("b/x"));
        let all_but = names(&["!a/**"]);
        assert!(all_but.matches("b") && !all_but.matches("a/x"));
        assert!(names(&[]).matches("anything/at/all"));
    }

    #[test]
    fn what_is_no_glob_is_named() {
        for bad in ["", "!", "a[", "{a", "a\\"] {
            let error = Globs::of_words("tags", &globs(&["*", bad])).expect_err(bad);
            assert!(
                matches!(&error, Mistake::Glob { key: "tags", pattern, .. } if pattern == bad),
                "{error}"
            );
        }
    }
}
