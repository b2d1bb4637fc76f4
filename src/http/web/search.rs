//! Finds repositories, tags and digests that the visitor may pull.

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::format::{Moment, filters};
use super::page::{PageResult, page};
use super::visitor::Visitor;
use crate::http::query::encode;
use crate::metadata::{ListQuery, RepositoryEntry};

/// The maximum number of results of each kind.
const MAX_RESULTS: usize = 20;

#[derive(Template)]
#[template(path = "web/search.html")]
struct SearchPage<'a> {
    chrome: &'a Chrome,
    text: &'a str,
    encoded_text: String,
    repositories: Vec<FoundRepository>,
    has_more_repositories: bool,
}

struct FoundRepository {
    name: String,
    tags: u64,
    bytes: u64,
    pushed: Moment,
}

/// The search page, with the results if the visitor searches for something.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    visitor.requester().require_any_access()?;
    let text = visitor.query("q").unwrap_or_default().trim();
    let mut template = SearchPage {
        chrome: visitor.chrome(),
        text,
        encoded_text: encode(text).to_string(),
        repositories: Vec::new(),
        has_more_repositories: false,
    };
    if !text.is_empty() {
        let query = ListQuery { search: Some(text.to_owned()), limit: MAX_RESULTS, ..ListQuery::default() };
        let found = visitor.requester().repositories(&query).await?;
        template.has_more_repositories = found.next.is_some();
        template.repositories =
            found.items.into_iter().map(|entry| FoundRepository::new(&visitor, entry)).collect();
    }
    Ok(page(StatusCode::OK, &template))
}

impl FoundRepository {
    fn new(visitor: &Visitor, entry: RepositoryEntry) -> Self {
        Self {
            name: entry.name.to_string(),
            tags: entry.tags,
            bytes: entry.bytes,
            pushed: visitor.moment(entry.pushed_at),
        }
    }
}
