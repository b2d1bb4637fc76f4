//! What everybody may do, without a login.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metadata::{NameRange, Role, Visible};
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
    by_name: Arc<ByName>,
}

/// What depends on a repository's name.
#[derive(Debug, Clone, Default)]
struct ByName {
    /// The first that matches counts.
    special: Vec<(Globs, Mode)>,
    public: Option<Globs>,
    /// Where those names are that a glob opens for pulling.
    opened: Vec<NameRange>,
}

impl ByName {
    /// What everybody may do to a repository, where the `usual` mode counts for others.
    fn role(&self, name: &str, usual: Mode) -> Option<Role> {
        let special = self.special.iter().find(|(globs, _)| globs.matches(name));
        let mode = special.map_or(usual, |(_, mode)| *mode);
        let public = self.public.as_ref().is_some_and(|globs| globs.matches(name));
        mode.role().max(public.then_some(Role::Pull))
    }
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
        let by_name = Arc::make_mut(&mut self.by_name);
        by_name.special.push((globs, mode));
        if mode.role().is_some() {
            by_name.opened.extend(ranges(patterns));
        }
        Ok(self)
    }

    /// The same with repositories that everybody may pull, whatever else is said of them.
    ///
    /// # Errors
    /// What is wrong with a glob.
    pub fn with_public(mut self, patterns: &[String]) -> Result<Self, String> {
        if !patterns.is_empty() {
            let globs = Globs::of_names("auth.public", patterns).map_err(|mistake| mistake.to_string())?;
            let by_name = Arc::make_mut(&mut self.by_name);
            by_name.public = Some(globs);
            by_name.opened.extend(ranges(patterns));
        }
        Ok(self)
    }

    fn usual(&self, users: bool) -> Mode {
        self.usual.unwrap_or(if users { Mode::Closed } else { Mode::Open })
    }

    /// What everybody may do to a repository, where there are `users` or not.
    pub(super) fn role(&self, name: &RepoName, users: bool) -> Option<Role> {
        self.by_name.role(name.as_str(), self.usual(users))
    }

    /// The repositories that everybody may pull, where there are `users` or not.
    pub(super) fn visible(&self, users: bool) -> Visible {
        let usual = self.usual(users);
        let closes = |(_, mode): &(Globs, Mode)| mode.role().is_none();
        let ranges = match usual.role() {
            Some(_) if !self.by_name.special.iter().any(closes) => return Visible::all(),
            Some(_) => vec![NameRange::prefix("")],
            None if self.by_name.opened.is_empty() => return Visible::default(),
            None => self.by_name.opened.clone(),
        };
        let by_name = Arc::clone(&self.by_name);
        Visible::default()
            .or_matching(ranges, Arc::new(move |name: &str| by_name.role(name, usual).is_some()))
    }

    /// What everybody may do to every repository.
    pub(super) fn everywhere(&self, users: bool) -> Option<Role> {
        let special = self.by_name.special.iter().map(|(_, mode)| mode.role());
        special.fold(self.usual(users).role(), Option::min)
    }

    /// What everybody may do at most to any.
    pub(super) fn anywhere(&self, users: bool) -> Option<Role> {
        let special = self.by_name.special.iter().map(|(_, mode)| mode.role());
        let public = self.by_name.public.as_ref().map(|_| Role::Pull);
        special.fold(self.usual(users).role(), Option::max).max(public)
    }
}

/// Where names are that a list of globs can match: those that start with what a glob has before its first wildcard. A list
/// of exceptions alone matches all others.
fn ranges(patterns: &[String]) -> Vec<NameRange> {
    let globs: Vec<_> = patterns.iter().filter(|pattern| !pattern.starts_with('!')).collect();
    if globs.is_empty() {
        return vec![NameRange::prefix("")];
    }
    let range = |glob: &String| match glob.find(['*', '?', '[', '{', '\\']) {
        Some(wildcard) => NameRange::prefix(&glob[..wildcard]),
        None => NameRange::name(glob),
    };
    globs.into_iter().map(range).collect()
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

    #[test]
    fn what_everybody_sees_is_what_they_may_pull() {
        let public = globs(&["public/**", "tools/*/app", "exact", "!public/secret", "{a,b}c"]);
        let special = Modes::of(None).with(&globs(&["sandbox/private/**"]), Mode::Closed).expect("globs");
        let special = special.with(&globs(&["sandbox/**"]), Mode::Open).expect("globs");
        let all = [
            Modes::of(None),
            Modes::of(Some(Mode::PullOpen)),
            Modes::of(None).with_public(&public).expect("globs"),
            Modes::of(None).with_public(&globs(&["!team/**"])).expect("globs"),
            special.clone(),
            special.with_public(&public).expect("globs"),
            Modes::of(Some(Mode::Open)).with(&globs(&["team/**"]), Mode::Closed).expect("globs"),
        ];
        let names = [
            "app",
            "exact",
            "exact/app",
            "public",
            "public/app",
            "public/secret",
            "sandbox/app",
            "team/app",
            "sandbox/private/app",
            "tools/x/app",
            "tools/x/y/app",
            "ac",
            "bc",
            "publicly",
        ];
        for (modes, users) in all.iter().flat_map(|modes| [(modes, false), (modes, true)]) {
            let visible = modes.visible(users);
            for name in names {
                let shown = visible.shows(&name.parse().expect("a name"));
                assert_eq!(shown, role(modes, name, users).is_some(), "{modes:?} {users} {name}");
            }
            assert!(!visible.is_all() || modes.everywhere(users).is_some());
        }
    }

    #[test]
    fn a_glob_is_searched_for_where_it_can_match() {
        let ranges = |patterns: &[&str]| super::ranges(&globs(patterns));
        assert_eq!(
            ranges(&["public/**", "exact", "!x"]),
            [NameRange::prefix("public/"), NameRange::name("exact")]
        );
        assert_eq!(ranges(&["**/app"]), [NameRange::prefix("")]);
        assert_eq!(ranges(&["!x"]), [NameRange::prefix("")]);
    }
}
