//! What everybody may pull.

use crate::oci::RepoName;
use crate::retention::Globs;

/// The public repositories.
#[derive(Debug, Clone, Default)]
pub struct Public(Option<Globs>);

impl Public {
    /// Repositories by globs as policies have them; none by none.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn of(patterns: &[String]) -> Result<Self, String> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let globs = Globs::of_names("auth.public", patterns).map_err(|mistake| mistake.to_string())?;
        Ok(Self(Some(globs)))
    }

    /// Whether this is one.
    pub fn holds(&self, repository: &RepoName) -> bool {
        self.0.as_ref().is_some_and(|globs| globs.matches(repository.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(patterns: &[&str], name: &str) -> bool {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        Public::of(&patterns).expect("globs").holds(&name.parse().expect("a name"))
    }

    #[test]
    fn nothing_is_public_unless_a_glob_says_so() {
        assert!(!holds(&[], "app"));
        assert!(holds(&["public/**"], "public/app") && holds(&["public/**"], "public/a/b"));
        for private in ["public", "publicly/app", "private/public/app", "app"] {
            assert!(!holds(&["public/**"], private), "{private}");
        }
        assert!(!holds(&["public/*"], "public/a/b"));
        assert!(!holds(&["**", "!team/**"], "team/app") && holds(&["**", "!team/**"], "app"));
    }

    #[test]
    fn a_wrong_glob_is_told() {
        assert!(Public::of(&["a[".into()]).is_err());
        assert!(Public::of(&[String::new()]).is_err());
    }
}
