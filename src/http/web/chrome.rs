//! What every page shows around its content.

use super::assets::{ASSETS, Assets};

/// What every page shows.
#[derive(Debug, Default)]
pub(super) struct Chrome {
    /// The user who has signed in.
    pub(super) user: Option<String>,
    /// Whether the visitor administers the registry.
    pub(super) is_admin: bool,
    /// Whether the visitor manages users, teams or roles, at least of some repositories.
    pub(super) manages_people: bool,
    /// Whether anyone who can reach the registry may change it.
    pub(super) is_open: bool,
    /// The token of all forms of the page.
    pub(super) csrf: String,
    /// What the previous action did.
    pub(super) notice: Option<&'static str>,
    /// The path and query of the page.
    pub(super) here: String,
}

impl Chrome {
    /// The files that the page loads.
    pub(super) fn assets(&self) -> &'static Assets {
        &ASSETS
    }

    /// Whether the page is in a part of the navigation.
    pub(super) fn is_in(&self, root: &str) -> bool {
        match root {
            "/" => self.here == "/",
            root => self.here.starts_with(root),
        }
    }

    pub(super) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
