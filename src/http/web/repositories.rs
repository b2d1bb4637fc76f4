//! The repositories that the visitor may pull.

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::format::{Moment, filters};
use super::listing::Listing;
use super::page::{PageResult, page};
use super::visitor::Visitor;
use crate::http::api::{self, Sort};
use crate::metadata::RepositoryEntry;

#[derive(Template)]
#[template(path = "web/repositories.html")]
struct RepositoriesPage<'a> {
    chrome: &'a Chrome,
    listing: Listing,
    namespaces: Vec<Namespace>,
    items: Vec<Item>,
}

/// A link to a namespace around the list.
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) prefix: String,
}

/// A repository in the list.
struct Item {
    name: String,
    /// The name after the prefix of the list.
    shown: String,
    tags: u64,
    bytes: u64,
    pushed: Moment,
    pulled: Option<Moment>,
}

/// The list of repositories, or of those in a namespace.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let mut listing = Listing::of(&visitor, "/repositories".to_owned(), Sort::Name)?;
    let found = visitor.requester().repositories(&listing.query()?).await?;
    let found = api::page(found, listing.sort_key(), |entry| item(&visitor, &listing, entry))?;
    listing.next = found.next;
    let namespaces = namespaces(listing.prefix());
    let template = RepositoriesPage { chrome: visitor.chrome(), listing, namespaces, items: found.items };
    Ok(page(StatusCode::OK, &template))
}

fn item(visitor: &Visitor, listing: &Listing, entry: RepositoryEntry) -> Item {
    let name = entry.name.as_str();
    Item {
        shown: name.strip_prefix(listing.prefix()).unwrap_or(name).to_owned(),
        name: name.to_owned(),
        tags: entry.tags,
        bytes: entry.bytes,
        pushed: visitor.moment(entry.pushed_at),
        pulled: entry.pulled_at.map(|at| visitor.moment(at)),
    }
}

/// The namespaces that lead to a prefix: `team/` and `team/backend/` for `team/backend/`.
pub(super) fn namespaces(prefix: &str) -> Vec<Namespace> {
    let ends = prefix.match_indices('/').map(|(at, _)| at);
    let mut start = 0;
    ends.map(|end| {
        let name = prefix[start..end].to_owned();
        start = end + 1;
        Namespace { name, prefix: prefix[..start].to_owned() }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_namespace_of_a_prefix_has_a_link() {
        let found = namespaces("team/backend/");
        let found: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.prefix.as_str())).collect();
        assert_eq!(found, [("team", "team/"), ("backend", "team/backend/")]);
        assert!(namespaces("").is_empty());
    }
}
