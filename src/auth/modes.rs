//! What everybody may do, without a login.

use serde::{Deserialize, Serialize};

use crate::metadata::Role;
use crate::oci::RepoName;
use crate::retention::Globs;

/// What everybody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Pull, push and delete.
    Open,
    /// Pull.
    PullOpen,
    /// Nothing.
    Closed,
}

impl Mode {
    fn role(self) -> Option<Role> {
        match self {
            Self::Open => Some(Role::Delete),
            Self::PullOpen => Some(Role::Pull),
            Self::Closed => None,
        }
    }
}

/// What everybody may do where.
#[derive(Debug, Clone, Default)]
pub struct Modes {
    usual: Option<Mode>,
    /// The first that matches counts.
    special: Vec<(Globs, Mode)>,
    public: Option<Globs>,
}

impl Modes {
    /// A mode for all repositories; where none is said, they are open until there are users, and closed then.
    pub fn of(usual: Option<Mode>) -> Self {
        Self { usual, ..Self::default() }
    }

    /// The same with another mode for repositories by globs. The first that matches counts.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn with(mut self, patterns: &[String], mode: Mode) -> Result<Self, String> {
        if patterns.is_empty() {
            return Err("repositories: there must be at least one".into());
        }
        let globs = Globs::of_names("auth.modes", patterns).map_err(|mistake| mistake.to_string())?;
        self.special.push((globs, mode));
        Ok(self)
    }

    /// The same with repositories that everybody may pull, whatever else is said of them.
    ///
    /// # Errors
    /// What is wrong with a glob.
    pub fn with_public(mut self, patterns: &[String]) -> Result<Self, String> {
        if !patterns.is_empty() {
            let globs = Globs::of_names("auth.public", patterns).map_err(|mistake| mistake.to_string())?;
            self.public = Some(globs);
        }
        Ok(self)
    }

    fn usual(&self, users: bool) -> Mode {
        self.usual.unwrap_or(if users { Mode::Closed } else { Mode::Open })
    }

    /// What everybody may do to a repository, where there are `users` or not.
    pub(super) fn role(&self, name: &RepoName, users: bool) -> Option<Role> {
        let special = self.special.iter().find(|(globs, _)| globs.matches(name.as_str()));
        let mode = special.map_or_else(|| self.usual(users), |(_, mode)| *mode);
        let public = self.public.as_ref().is_some_and(|globs| globs.matches(name.as_str()));
        mode.role().max(public.then_some(Role::Pull))
    }

    /// What everybody may do to every repository.
    pub(super) fn everywhere(&self, users: bool) -> Option<Role> {
        let special = self.special.iter().map(|(_, mode)| mode.role());
        special.fold(self.usual(users).role(), Option::min)
    }

    /// What everybody may do at most to any.
    pub(super) fn anywhere(&self, users: bool) -> Option<Role> {
        let special = self.special.iter().map(|(_, mode)| mode.role());
        special.fold(self.usual(users).role(), Option::max).max(self.public.as_ref().map(|_| Role::Pull))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(ToString::to_string).collect()
    }

    fn role(modes: &Modes, name: &str, users: bool) -> Option<Role> {
        modes.role(&name.parse().expect("a name"), users)
    }

    #[test]
    fn all_is_open_until_there_are_users() {
        let modes = Modes::of(None);
        assert_eq!(
            (role(&modes, "app", false), modes.everywhere(false)),
            (Some(Role::Delete), Some(Role::Delete))
        );
        assert_eq!(
            (role(&modes, "app", true), modes.everywhere(true), modes.anywhere(true)),
            (None, None, None)
        );
        let closed = Modes::of(Some(Mode::Closed));
        assert_eq!(role(&closed, "app", false), None, "what was chosen is so from the start");
        let pull = Modes::of(Some(Mode::PullOpen));
        assert_eq!((role(&pull, "app", true), pull.everywhere(true)), (Some(Role::Pull), Some(Role::Pull)));
    }

    #[test]
    fn the_first_mode_that_matches_counts() {
        let modes = Modes::of(None).with(&globs(&["sandbox/private/**"]), Mode::Closed).expect("globs");
        let modes = modes.with(&globs(&["sandbox/**"]), Mode::Open).expect("globs");
        assert_eq!(role(&modes, "sandbox/app", true), Some(Role::Delete));
        assert_eq!(role(&modes, "sandbox/private/app", true), None);
        assert_eq!(role(&modes, "sandbox/private/app", false), None);
        assert_eq!((modes.everywhere(false), modes.anywhere(true)), (None, Some(Role::Delete)));
    }

    #[test]
    fn nothing_is_public_unless_a_glob_says_so() {
        let public = |patterns: &[&str]| Modes::of(None).with_public(&globs(patterns)).expect("globs");
        assert_eq!(role(&public(&[]), "app", true), None);
        let below = public(&["public/**"]);
        for name in ["public/app", "public/a/b"] {
            assert_eq!(role(&below, name, true), Some(Role::Pull));
            assert_eq!(role(&below, name, false), Some(Role::Delete), "no less than all the others");
        }
        for private in ["public", "publicly/app", "private/public/app", "app"] {
            assert_eq!(role(&below, private, true), None, "{private}");
        }
        assert_eq!((below.everywhere(true), below.anywhere(true)), (None, Some(Role::Pull)));
        let but = public(&["**", "!team/**"]);
        assert_eq!((role(&but, "team/app", true), role(&but, "app", true)), (None, Some(Role::Pull)));
    }

    #[test]
    fn a_wrong_glob_is_told() {
        assert!(Modes::of(None).with_public(&globs(&["a["])).is_err());
        assert!(Modes::of(None).with(&globs(&[""]), Mode::Open).is_err());
        assert!(Modes::of(None).with(&[], Mode::Open).is_err(), "a mode of nothing is a mistake");
    }
}
