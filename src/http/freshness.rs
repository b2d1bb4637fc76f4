//! Who may keep an answer, and for how long.
//!
//! A shared cache, such as nginx with `proxy_cache`, asks no one for a password. So it may keep only what everyone may
//! pull, and that for an hour, since a repository can be closed.

use http::HeaderValue;

use super::call::Call;
use crate::auth::{Action, Permission, Principal};
use crate::oci::RepoName;

/// Of what depends on who asks, or on when.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Of content that never changes and that everyone may pull.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Of content that never changes and that only some may pull.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// Of what a tag that everyone may pull points at: it may have moved since.
const PUBLIC_TAG: HeaderValue = HeaderValue::from_static("no-cache");

/// Of what a tag that only some may pull points at.
const PRIVATE_TAG: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Who may keep what a repository serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Everyone may pull it without a login.
    Public,
    /// Only some may.
    Private,
}

impl Audience {
    /// Of a repository.
    pub(super) fn of(call: &Call<'_>, name: &RepoName) -> Self {
        // What a request without a login may do was decided when it came in.
        let may_everyone = || {
            let permission = Permission::Repository(name, Action::Pull);
            call.state.access_control.allows(&Principal::Anonymous, permission)
        };
        if call.principal == Principal::Anonymous || may_everyone() { Self::Public } else { Self::Private }
    }

    /// `Cache-Control` of what is asked for by its digest.
    pub(super) fn of_digest(self) -> HeaderValue {
        match self {
            Self::Public => PUBLIC,
            Self::Private => PRIVATE,
        }
    }

    /// `Cache-Control` of what is asked for by a tag.
    pub(super) fn of_tag(self) -> HeaderValue {
        match self {
            Self::Public => PUBLIC_TAG,
            Self::Private => PRIVATE_TAG,
        }
    }
}
