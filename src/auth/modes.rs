//! What anonymous users may do, by repository.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metadata::{NameRange, Role, Visible};
use crate::oci::RepoName;
use crate::retention::Globs;

/// What anonymous users may do.
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

/// What anonymous users may do, for all repositories.
#[derive(Debug, Clone, Default)]
pub struct Modes {
    default_mode: Option<Mode>,
    by_name: Arc<ByName>,
}

/// The modes of repositories whose names match globs.
#[derive(Debug, Clone, Default)]
struct ByName {
    /// The first match applies.
    overrides: Vec<(Globs, Mode)>,
    public: Option<Globs>,
    /// The ranges of names that the globs may open for pulling.
    pullable_ranges: Vec<NameRange>,
}

impl ByName {
    /// The role of anonymous users on a repository; `default_mode` applies if no glob matches.
    fn role(&self, name: &str, default_mode: Mode) -> Option<Role> {
        let matching = self.overrides.iter().find(|(globs, _)| globs.matches(name));
        let mode = matching.map_or(default_mode, |(_, mode)| *mode);
        let public = self.public.as_ref().is_some_and(|globs| globs.matches(name));
        mode.role().max(public.then_some(Role::Pull))
    }
}

impl Modes {
    /// The mode of all repositories. If `None`, they are open until there are users, and closed from then on.
    pub fn of(default_mode: Option<Mode>) -> Self {
        Self { default_mode, ..Self::default() }
    }

    /// Adds a mode for the repositories that match these globs. If several are added, the first match applies.
    ///
    /// # Errors
    /// Fails if there is no glob or one is invalid.
    pub fn with(mut self, patterns: &[String], mode: Mode) -> Result<Self, String> {
        if patterns.is_empty() {
            return Err("repositories: at least one glob is required".into());
        }
        let globs = Globs::of_names("auth.modes", patterns).map_err(|mistake| mistake.to_string())?;
        let by_name = Arc::make_mut(&mut self.by_name);
        by_name.overrides.push((globs, mode));
        if mode.role().is_some() {
            by_name.pullable_ranges.extend(name_ranges(patterns));
        }
        Ok(self)
    }

    /// Lets anonymous users pull the repositories that match these globs, whatever their mode is.
    ///
    /// # Errors
    /// Fails if a glob is invalid.
    pub fn with_public(mut self, patterns: &[String]) -> Result<Self, String> {
        if !patterns.is_empty() {
            let globs = Globs::of_names("auth.public", patterns).map_err(|mistake| mistake.to_string())?;
            let by_name = Arc::make_mut(&mut self.by_name);
            by_name.public = Some(globs);
            by_name.pullable_ranges.extend(name_ranges(patterns));
        }
        Ok(self)
    }

    fn default_mode(&self, has_users: bool) -> Mode {
        self.default_mode.unwrap_or(if has_users { Mode::Closed } else { Mode::Open })
    }

    /// The role of anonymous users on a repository.
    pub(super) fn role(&self, name: &RepoName, has_users: bool) -> Option<Role> {
        self.by_name.role(name.as_str(), self.default_mode(has_users))
    }

    /// The repositories that anonymous users may pull.
    pub(super) fn visible(&self, has_users: bool) -> Visible {
        let default_mode = self.default_mode(has_users);
        let closes = |(_, mode): &(Globs, Mode)| mode.role().is_none();
        let ranges = match default_mode.role() {
            Some(_) if !self.by_name.overrides.iter().any(closes) => return Visible::all(),
            Some(_) => vec![NameRange::prefix("")],
            None if self.by_name.pullable_ranges.is_empty() => return Visible::default(),
            None => self.by_name.pullable_ranges.clone(),
        };
        let by_name = Arc::clone(&self.by_name);
        Visible::default()
            .or_matching(ranges, Arc::new(move |name: &str| by_name.role(name, default_mode).is_some()))
    }

    /// The role that anonymous users have on every repository.
    pub(super) fn everywhere(&self, has_users: bool) -> Option<Role> {
        let overrides = self.by_name.overrides.iter().map(|(_, mode)| mode.role());
        overrides.fold(self.default_mode(has_users).role(), Option::min)
    }

    /// The highest role that anonymous users have on any repository.
    pub(super) fn anywhere(&self, has_users: bool) -> Option<Role> {
        let overrides = self.by_name.overrides.iter().map(|(_, mode)| mode.role());
        let public = self.by_name.public.as_ref().map(|_| Role::Pull);
        overrides.fold(self.default_mode(has_users).role(), Option::max).max(public)
    }
}

/// The ranges of names that a list of globs can match: for each glob the names that start with its text before the first
/// wildcard. A list of exceptions only matches all other names.
fn name_ranges(patterns: &[String]) -> Vec<NameRange> {
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
    fn everything_is_open_until_there_are_users() {
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
        assert_eq!(role(&closed, "app", false), None, "an explicit mode applies without users too");
        let pull = Modes::of(Some(Mode::PullOpen));
        assert_eq!((role(&pull, "app", true), pull.everywhere(true)), (Some(Role::Pull), Some(Role::Pull)));
    }

    #[test]
    fn first_matching_mode_applies() {
        let modes = Modes::of(None).with(&globs(&["sandbox/private/**"]), Mode::Closed).expect("globs");
        let modes = modes.with(&globs(&["sandbox/**"]), Mode::Open).expect("globs");
        assert_eq!(role(&modes, "sandbox/app", true), Some(Role::Delete));
        assert_eq!(role(&modes, "sandbox/private/app", true), None);
        assert_eq!(role(&modes, "sandbox/private/app", false), None);
        assert_eq!((modes.everywhere(false), modes.anywhere(true)), (None, Some(Role::Delete)));
    }

    #[test]
    fn only_matching_repositories_are_public() {
        let public = |patterns: &[&str]| Modes::of(None).with_public(&globs(patterns)).expect("globs");
        assert_eq!(role(&public(&[]), "app", true), None);
        let below = public(&["public/**"]);
        for name in ["public/app", "public/a/b"] {
            assert_eq!(role(&below, name, true), Some(Role::Pull));
            assert_eq!(role(&below, name, false), Some(Role::Delete), "no less than other repositories");
        }
        for private in ["public", "publicly/app", "private/public/app", "app"] {
            assert_eq!(role(&below, private, true), None, "{private}");
        }
        assert_eq!((below.everywhere(true), below.anywhere(true)), (None, Some(Role::Pull)));
        let but = public(&["**", "!team/**"]);
        assert_eq!((role(&but, "team/app", true), role(&but, "app", true)), (None, Some(Role::Pull)));
    }

    #[test]
    fn rejects_invalid_globs() {
        assert!(Modes::of(None).with_public(&globs(&["a["])).is_err());
        assert!(Modes::of(None).with(&globs(&[""]), Mode::Open).is_err());
        assert!(Modes::of(None).with(&[], Mode::Open).is_err(), "a mode without globs");
    }

    #[test]
    fn anonymous_users_see_what_they_may_pull() {
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
    fn name_ranges_cover_what_globs_can_match() {
        let ranges = |patterns: &[&str]| name_ranges(&globs(patterns));
        assert_eq!(
            ranges(&["public/**", "exact", "!x"]),
            [NameRange::prefix("public/"), NameRange::name("exact")]
        );
        assert_eq!(ranges(&["**/app"]), [NameRange::prefix("")]);
        assert_eq!(ranges(&["!x"]), [NameRange::prefix("")]);
    }
}
