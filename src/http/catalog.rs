//! Listing repositories. Docker's, not the spec's.

use http::StatusCode;
use http::header::LINK;
use serde::Serialize;

use super::call::{Answered, Call};
use super::pages;
use super::reply::Reply;
use crate::oci::{Endpoint, RepoName};

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

/// GET.
pub(super) async fn list(call: &Call<'_>) -> Answered {
    let asked = pages::requested(call)?;
    if asked.limit == 0 {
        return Ok(Reply::json(StatusCode::OK, &Catalog { repositories: Vec::new() }));
    }
    let page = call.state.registry.repositories(asked.last.as_deref(), asked.limit).await?;
    let repositories: Vec<_> = page.items.iter().map(RepoName::as_str).collect();
    let link = repositories.last().filter(|_| page.more).map(|last| {
        pages::next(call, &Endpoint::Catalog, asked.limit, last, None)
    });
    Ok(Reply::json(StatusCode::OK, &Catalog { repositories }).maybe(LINK, link))
}
