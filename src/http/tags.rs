//! Listing tags.

use http::StatusCode;
use http::header::LINK;
use serde::Serialize;

use super::call::{Answered, Call};
use super::pages;
use super::reply::Reply;
use crate::oci::{Endpoint, RepoName, Tag};

/// What a tag takes, as a record and as JSON.
const ENTRY_BYTES: usize = 256;

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

/// GET.
pub(super) async fn list(call: &Call<'_>, name: RepoName) -> Answered {
    let asked = pages::requested(call)?;
    let _room = pages::reserve(call, asked.limit, ENTRY_BYTES).await?;
    let repository = call.authorise(name);
    // One at least: a repository that is unknown says so also to those who ask for nothing.
    let page = repository.tags(asked.last.as_deref(), asked.limit.max(1)).await?;
    let tags: Vec<_> = page.items.iter().map(Tag::as_str).take(asked.limit).collect();
    let link = tags.last().filter(|_| page.more).map(|last| {
        let list = Endpoint::Tags { name: repository.name().clone() };
        pages::next(call, &list, asked.limit, last, None)
    });
    let body = TagList { name: repository.name().as_str(), tags };
    Ok(Reply::json(StatusCode::OK, &body).maybe(LINK, link))
}
