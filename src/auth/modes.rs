//! Decides what anonymous users may do on each repository.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metadata::{NameRange, Role, Visible};
use crate::oci::RepoName;
use crate::retention::Globs;

/// What anonymous users may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnonymousMode {
    /// Pull, push and delete.
    Open,
    /// Pull.
    PullOpen,
    /// Nothing.
    Closed,
}

impl AnonymousMode {
    fn role(self) -> Option<Role> {
        match self {
            Self::Open => Some(Role::Delete),
            Self::PullOpen => Some(Role::Pull),
            Self::Closed => None,
        }
    }
}

/// The modes of all repositories: a default, and exceptions for names that match globs.
#[derive(Debug, Clone, Default)]
pub struct AnonymousModes {
    default_mode: Option<AnonymousMode>,
    by_pattern: Arc<PatternModes>,
}

/// The exceptions to the default mode.
#[derive(Debug, Clone, Default)]
struct PatternModes {
    /// The mode of names that match globs. The first match applies.
    overrides: Vec<(Globs, AnonymousMode)>,
    /// Names that anonymous users may pull in every mode.
    public: Option<Globs>,
    /// The ranges of names that can match a glob which lets anonymous users pull.
    pullable_ranges: Vec<NameRange>,
}

impl PatternModes {
    /// The role of anonymous users on a repository; `default_mode` applies if no glob matches.
    fn role(&self, name: &str, default_mode: AnonymousMode) -> Option<Role> {
        let matching = self.overrides.iter().find(|(globs, _)| globs.matches(name));
        let mode = matching.map_or(default_mode, |(_, mode)| *mode);
        let public = self.public.as_ref().is_some_and(|globs| globs.matches(name));
        mode.role().max(public.then_some(Role::Pull))
    }
}

impl AnonymousModes {
    /// Gives all repositories this mode. If `None`, they are open until there are users, and closed from then on.
    pub fn with_default(default_mode: Option<AnonymousMode>) -> Self {
        Self { default_mode, ..Self::default() }
    }

    /// Gives the repositories that match these globs another mode. If several overrides match, the first one applies.
    ///
    /// # Errors
    /// Fails if there is no glob or one is invalid.
    pub fn with_override(mut self, patterns: &[String], mode: AnonymousMode) -> Result<Self, String> {
        if patterns.is_empty() {
            return Err("repositories: at least one glob is required".into());
        }
        let globs = Globs::of_names("auth.modes", patterns).map_err(|error| error.to_string())?;
        let by_pattern = Arc::make_mut(&mut self.by_pattern);
        by_pattern.overrides.push((globs, mode));
        if mode.role().is_some() {
            by_pattern.pullable_ranges.extend(name_ranges(patterns));
        }
        Ok(self)
    }

    /// Lets anonymous users pull the repositories that match these globs, whatever their mode is.
    ///
    /// # Errors
    /// Fails if a glob is invalid.
    pub fn with_public(mut self, patterns: &[String]) -> Result<Self, String> {
        if !patterns.is_empty() {
            let globs = Globs::of_names("auth.public", patterns).map_err(|error| error.to_string())?;
            let by_pattern = Arc::make_mut(&mut self.by_pattern);
            by_pattern.public = Some(globs);
            by_pattern.pullable_ranges.extend(name_ranges(patterns));
        }
        Ok(self)
    }

    fn default_mode(&self, has_users: bool) -> AnonymousMode {
        self.default_mode.unwrap_or(if has_users { AnonymousMode::Closed } else { AnonymousMode::Open })
    }

    /// The role of anonymous users on a repository.
    pub(super) fn role(&self, name: &RepoName, has_users: bool) -> Option<Role> {
        self.by_pattern.role(name.as_str(), self.default_mode(has_users))
    }

    /// The repositories that anonymous users may pull.
    pub(super) fn visible_repositories(&self, has_users: bool) -> Visible {
        let default_mode = self.default_mode(has_users);
        let is_closed = |(_, mode): &(Globs, AnonymousMode)| mode.role().is_none();
        let ranges = match default_mode.role() {
            Some(_) if !self.by_pattern.overrides.iter().any(is_closed) => return Visible::all(),
            Some(_) => vec![NameRange::prefix("")],
            None if self.by_pattern.pullable_ranges.is_empty() => return Visible::default(),
            None => self.by_pattern.pullable_ranges.clone(),
        };
        let by_pattern = Arc::clone(&self.by_pattern);
        Visible::default()
            .or_matching(ranges, Arc::new(move |name: &str| by_pattern.role(name, default_mode).is_some()))
    }

    /// The role that anonymous users have at least on every repository.
    pub(super) fn role_everywhere(&self, has_users: bool) -> Option<Role> {
        let overrides = self.by_pattern.overrides.iter().map(|(_, mode)| mode.role());
        overrides.fold(self.default_mode(has_users).role(), Option::min)
    }

    /// The highest role that anonymous users have on any repository.
    pub(super) fn highest_role(&self, has_users: bool) -> Option<Role> {
        let overrides = self.by_pattern.overrides.iter().map(|(_, mode)| mode.role());
        let public = self.by_pattern.public.as_ref().map(|_| Role::Pull);
        overrides.fold(self.default_mode(has_users).role(), Option::max).max(public)
    }
}

/// The ranges of names that a list of globs can match. The range of a glob contains the names that start with its text
/// before the first wildcard. A list that contains only exceptions matches all other names, so its range is everything.
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

    fn role(modes: &AnonymousModes, name: &str, has_users: bool) -> Option<Role> {
        modes.role(&name.parse().expect("a name"), has_users)
    }

    #[test]
    fn everything_is_open_until_there_are_users() {
        let modes = AnonymousModes::with_default(None);
        assert_eq!(
            (role(&modes, "app", false), modes.role_everywhere(false)),
            (Some(Role::Delete), Some(Role::Delete))
        );
        assert_eq!(
            (role(&modes, "app", true), modes.role_everywhere(true), modes.highest_role(true)),
            (None, None, None)
        );
        let closed = AnonymousModes::with_default(Some(AnonymousMode::Closed));
        assert_eq!(role(&closed, "app", false), None, "an explicit mode applies without users too");
        let pull = AnonymousModes::with_default(Some(AnonymousMode::PullOpen));
        assert_eq!(
            (role(&pull, "app", true), pull.role_everywhere(true)),
            (Some(Role::Pull), Some(Role::Pull))
        );
    }

    #[test]
    fn first_matching_mode_applies() {
        let modes = AnonymousModes::with_default(None)
            .with_override(&globs(&["sandbox/private/**"]), AnonymousMode::Closed)
            .expect("globs");
        let modes = modes.with_override(&globs(&["sandbox/**"]), AnonymousMode::Open).expect("globs");
        assert_eq!(role(&modes, "sandbox/app", true), Some(Role::Delete));
        assert_eq!(role(&modes, "sandbox/private/app", true), None);
        assert_eq!(role(&modes, "sandbox/private/app", false), None);
        assert_eq!((modes.role_everywhere(false), modes.highest_role(true)), (None, Some(Role::Delete)));
    }

    #[test]
    fn only_matching_repositories_are_public() {
        let public = |patterns: &[&str]| {
            AnonymousModes::with_default(None).with_public(&globs(patterns)).expect("globs")
        };
        assert_eq!(role(&public(&[]), "app", true), None);
        let below = public(&["public/**"]);
        for name in ["public/app", "public/a/b"] {
            assert_eq!(role(&below, name, true), Some(Role::Pull));
            assert_eq!(role(&below, name, false), Some(Role::Delete), "public globs never reduce access");
        }
        for private in ["public", "publicly/app", "private/public/app", "app"] {
            assert_eq!(role(&below, private, true), None, "{private}");
        }
        assert_eq!((below.role_everywhere(true), below.highest_role(true)), (None, Some(Role::Pull)));
        let all_but_team = public(&["**", "!team/**"]);
        assert_eq!(
            (role(&all_but_team, "team/app", true), role(&all_but_team, "app", true)),
            (None, Some(Role::Pull))
        );
    }

    #[test]
    fn rejects_invalid_globs() {
        assert!(AnonymousModes::with_default(None).with_public(&globs(&["a["])).is_err());
        assert!(
            AnonymousModes::with_default(None).with_override(&globs(&[""]), AnonymousMode::Open).is_err()
        );
        assert!(
            AnonymousModes::with_default(None).with_override(&[], AnonymousMode::Open).is_err(),
            "a mode without globs"
        );
    }

    #[test]
    fn anonymous_users_see_what_they_may_pull() {
        let public = globs(&["public/**", "tools/*/app", "exact", "!public/secret", "{a,b}c"]);
        let overridden = AnonymousModes::with_default(None)
            .with_override(&globs(&["sandbox/private/**"]), AnonymousMode::Closed)
            .expect("globs");
        let overridden =
            overridden.with_override(&globs(&["sandbox/**"]), AnonymousMode::Open).expect("globs");
        let all = [
            AnonymousModes::with_default(None),
            AnonymousModes::with_default(Some(AnonymousMode::PullOpen)),
            AnonymousModes::with_default(None).with_public(&public).expect("globs"),
            AnonymousModes::with_default(None).with_public(&globs(&["!team/**"])).expect("globs"),
            overridden.clone(),
            overridden.with_public(&public).expect("globs"),
            AnonymousModes::with_default(Some(AnonymousMode::Open))
                .with_override(&globs(&["team/**"]), AnonymousMode::Closed)
                .expect("globs"),
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
        for (modes, has_users) in all.iter().flat_map(|modes| [(modes, false), (modes, true)]) {
            let visible = modes.visible_repositories(has_users);
            for name in names {
                let shown = visible.shows(&name.parse().expect("a name"));
                assert_eq!(shown, role(modes, name, has_users).is_some(), "{modes:?} {has_users} {name}");
            }
            assert!(!visible.is_all() || modes.role_everywhere(has_users).is_some());
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
