//! References in the paths of pages, as Docker writes them: `team/app`, `team/app:v1` and `team/app@sha256:…`.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use super::format::short;
use crate::http::api::Problem;
use crate::oci::{Digest, Reference, RepoName, Tag};

/// What a path of a page refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PageReference {
    /// A repository.
    Repository(RepoName),
    /// A tag or a manifest in a repository.
    Manifest(RepoName, Reference),
}

/// The text is not a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidPageReference;

impl FromStr for PageReference {
    type Err = InvalidPageReference;

    fn from_str(text: &str) -> Result<Self, InvalidPageReference> {
        let name = |name: &str| name.parse().map_err(|_| InvalidPageReference);
        if let Some((repository, digest)) = text.split_once('@') {
            let digest: Digest = digest.parse().map_err(|_| InvalidPageReference)?;
            return Ok(Self::Manifest(name(repository)?, Reference::Digest(digest)));
        }
        let Some((repository, tag)) = text.split_once(':') else {
            return name(text).map(Self::Repository);
        };
        let tag: Tag = tag.parse().map_err(|_| InvalidPageReference)?;
        Ok(Self::Manifest(name(repository)?, Reference::Tag(tag)))
    }
}

/// Text that is not a reference is the path of no page.
impl<S: Send + Sync> FromRequestParts<S> for PageReference {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        in_path(parts, state).await
    }
}

/// The repository that the rest of a path names.
pub(super) struct RepositoryInPath(pub(super) RepoName);

impl<S: Send + Sync> FromRequestParts<S> for RepositoryInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        in_path(parts, state).await.map(Self)
    }
}

/// Parses the only variable of a path.
async fn in_path<T: FromStr, S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<T, Problem> {
    let variables = RawPathParams::from_request_parts(parts, state).await.ok();
    let text = variables.as_ref().and_then(|variables| variables.iter().next()).map(|(_, text)| text);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Problem::unknown("there is no such page"))
}

/// The path of the page of a repository.
pub(super) fn repository_path(name: &RepoName) -> String {
    format!("/r/{name}")
}

/// The path of the page of a tag.
pub(super) fn tag_path(name: &RepoName, tag: &Tag) -> String {
    format!("/r/{name}:{tag}")
}

/// The path of the page of a manifest.
pub(super) fn manifest_path(name: &RepoName, digest: &Digest) -> String {
    format!("/r/{name}@{digest}")
}

/// The path of the page about the management of a repository.
pub(super) fn manage_path(name: &RepoName) -> String {
    format!("/manage/{name}")
}

/// A link to the page of a tag or manifest.
pub(super) struct Link {
    pub(super) text: String,
    pub(super) path: String,
}

impl Link {
    /// A link to a tag.
    pub(super) fn to_tag(name: &RepoName, tag: &Tag) -> Self {
        Self { text: tag.to_string(), path: tag_path(name, tag) }
    }

    /// A link to a manifest.
    pub(super) fn to_manifest(name: &RepoName, digest: &Digest) -> Self {
        Self { text: short(digest), path: manifest_path(name, digest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_of_docker() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let name: RepoName = "team/app".parse().expect("a name");
        let tag: Tag = "v1".parse().expect("a tag");
        let by_digest: Digest = digest.parse().expect("a digest");
        for (path, expected) in [
            (repository_path(&name), PageReference::Repository(name.clone())),
            (tag_path(&name, &tag), PageReference::Manifest(name.clone(), Reference::Tag(tag.clone()))),
            (
                manifest_path(&name, &by_digest),
                PageReference::Manifest(name.clone(), Reference::Digest(by_digest.clone())),
            ),
        ] {
            assert_eq!(path["/r/".len()..].parse(), Ok(expected), "{path}");
        }
        let tag_and_digest = format!("team/app:v1@{digest}");
        for invalid in ["", "Team", "app:", "app@", "app@v1", "app:v1:v2", ":v1", "a//b", &tag_and_digest] {
            assert_eq!(invalid.parse::<PageReference>(), Err(InvalidPageReference), "{invalid}");
        }
    }
}
