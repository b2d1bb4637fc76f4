//! `/v2/<name>/tags/list`: lists the tags of a repository.

use http::StatusCode;
use http::header::LINK;
use serde::Serialize;

use super::access::PullRepository;
use super::pages;
use super::reply::Reply;
use super::status::V2Result;
use crate::oci::{Endpoint, Tag};

/// The memory that a tag takes, as a record and as JSON.
const ENTRY_BYTES: usize = 256;

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

/// GET: lists the tags of a repository.
pub(super) async fn list(repository: &PullRepository<'_>) -> V2Result {
    let call = &repository.call;
    let requested = pages::parse_page(call)?;
    let _reservation = pages::reserve(call, requested.limit, ENTRY_BYTES).await?;
    // At least one, so that an unknown repository is a 404 also for `n=0`.
    let page = repository.tags(requested.last.as_deref(), requested.limit.max(1)).await?;
    let tags: Vec<_> = page.items.iter().map(Tag::as_str).take(requested.limit).collect();
    let link = tags.last().filter(|_| page.more).map(|last| {
        let list = Endpoint::Tags { name: repository.name().clone() };
        pages::next_link(call, &list, requested.limit, last, None)
    });
    let body = TagList { name: repository.name().as_str(), tags };
    Ok(Reply::json(StatusCode::OK, &body).with_optional(LINK, link))
}
