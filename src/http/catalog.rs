//! Listing repositories. Docker's, not the spec's.

use http::StatusCode;
use http::header::LINK;
use serde::Serialize;

use super::call::{Answered, Call};
use super::pages;
use super::reply::Reply;
use crate::auth::{Action, Wanted};
use crate::metadata::Scope;
use crate::oci::{Endpoint, RepoName};
use crate::registry::{Fault, Page};

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
    let page = readable(call, asked.last.as_deref(), asked.limit).await?;
    let repositories: Vec<_> = page.items.iter().map(RepoName::as_str).collect();
    let link = repositories
        .last()
        .filter(|_| page.more)
        .map(|last| pages::next(call, &Endpoint::Catalog, asked.limit, last, None));
    Ok(Reply::json(StatusCode::OK, &Catalog { repositories }).maybe(LINK, link))
}

/// A page of the repositories that the caller may pull. What it may not is passed over without a trace.
async fn readable(call: &Call<'_>, after: Option<&str>, limit: usize) -> Result<Page<RepoName>, Fault> {
    let registry = &call.state.registry;
    let mut page = registry.repositories(after, limit).await?;
    // A token for the catalog names no repository: what its user may pull is in it.
    if call.could(Wanted::Scope(&Scope::All, Action::Pull)) {
        return Ok(page);
    }
    let mut shown = Vec::new();
    loop {
        let last = page.items.last().cloned();
        shown
            .extend(page.items.into_iter().filter(|name| call.could(Wanted::Repository(name, Action::Pull))));
        let full = shown.len() > limit;
        shown.truncate(limit);
        match last.filter(|_| page.more && !full) {
            None => return Ok(Page { items: shown, more: full }),
            Some(last) => page = registry.repositories(Some(last.as_str()), limit).await?,
        }
    }
}
