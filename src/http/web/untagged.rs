//! The manifests of a repository that no tag, index or subject holds.

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::format::{Moment, filters};
use super::kinds::Kind;
use super::page::{PageResult, page};
use super::reference::{Link, RepositoryInPath};
use super::repositories::{Namespace, namespaces};
use super::repository::Rights;
use super::visitor::Visitor;
use crate::http::api::Problem;
use crate::metadata::UntaggedManifest;
use crate::oci::{Digest, RepoName};

/// The number of manifests on a page.
const PAGE_MANIFESTS: usize = 50;

#[derive(Template)]
#[template(path = "web/untagged.html")]
struct UntaggedPage<'a> {
    chrome: &'a Chrome,
    name: &'a RepoName,
    namespaces: Vec<Namespace>,
    rights: Rights,
    items: Vec<Item>,
    is_continued: bool,
    next: Option<Digest>,
}

/// An untagged manifest in the list.
struct Item {
    digest: Digest,
    link: Link,
    kind: Kind,
    platforms: Vec<String>,
    size: u64,
    pushed: Moment,
    pulled: Option<Moment>,
    pinned_by: Option<String>,
    expires: Option<Moment>,
}

/// The list of untagged manifests.
pub(super) async fn show(visitor: Visitor, RepositoryInPath(name): RepositoryInPath) -> PageResult {
    let reader = visitor.requester().reader(name.clone())?;
    let after = visitor.query("after").map(str::parse::<Digest>).transpose();
    let after = after.map_err(|_| Problem::bad("after: not the next value of a page of this list"))?;
    let found = reader.untagged(after.as_ref(), PAGE_MANIFESTS).await?;
    let template = UntaggedPage {
        chrome: visitor.chrome(),
        namespaces: namespaces(name.as_str()),
        rights: Rights::of(&visitor, &name),
        items: found.items.into_iter().map(|found| item(&visitor, &name, found)).collect(),
        is_continued: after.is_some(),
        next: found.next,
        name: &name,
    };
    Ok(page(StatusCode::OK, &template))
}

fn item(visitor: &Visitor, name: &RepoName, found: UntaggedManifest) -> Item {
    let UntaggedManifest { manifest, pinned_by, expires_at } = found;
    Item {
        link: Link::to_manifest(name, &manifest.digest),
        kind: Kind::of(&manifest),
        digest: manifest.digest,
        platforms: manifest.platforms,
        size: manifest.size,
        pushed: visitor.moment(manifest.pushed_at),
        pulled: manifest.pulled_at.map(|at| visitor.moment(at)),
        pinned_by,
        expires: expires_at.map(|at| visitor.moment(at)),
    }
}
