//! `Cache-Control` headers: which caches may keep a response, and for how long.
//!
//! A shared cache, such as nginx with `proxy_cache`, does not check passwords. So it may keep only content that
//! everyone may pull, and only for an hour, because a repository can become private.

use http::HeaderValue;

use super::rights::PullRight;

/// For content that never changes and that everyone may pull.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// For content that never changes and that only some users may pull.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// For content that is read by a tag and that everyone may pull. The tag may have moved since, so caches revalidate.
const PUBLIC_TAG: HeaderValue = HeaderValue::from_static("no-cache");

/// For content that is read by a tag and that only some users may pull.
const PRIVATE_TAG: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Which caches may keep a repository's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Anonymous users may pull it, so shared caches may keep it.
    Public,
    /// Only some users may pull it, so only the client's own cache may keep it.
    Private,
}

impl Audience {
    /// The audience of a repository.
    pub(super) fn of(repository: &PullRight<'_>) -> Self {
        if repository.is_public() { Self::Public } else { Self::Private }
    }

    /// `Cache-Control` for content that is requested by its digest.
    pub(super) fn cache_control_of_digest(self) -> HeaderValue {
        match self {
            Self::Public => PUBLIC,
            Self::Private => PRIVATE,
        }
    }

    /// `Cache-Control` for content that is requested by a tag.
    pub(super) fn cache_control_of_tag(self) -> HeaderValue {
        match self {
            Self::Public => PUBLIC_TAG,
            Self::Private => PRIVATE_TAG,
        }
    }
}
