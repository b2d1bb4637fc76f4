//! Listing repositories. Docker's, not the spec's.

use http::StatusCode;
use http::header::LINK;
use serde::Serialize;

use super::call::{Answered, Call};
use super::reply::Reply;
use super::status::V2Error;
use super::{pages, sealed};
use crate::metadata::Continuation;
use crate::oci::{Endpoint, ErrorCode, RepoName};
use crate::registry::ServiceError;

/// What a name takes, as a record and as JSON.
const ENTRY_BYTES: usize = 256;

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

/// GET. The repositories that the principal may pull. What it may not is passed over without a trace.
pub(super) async fn list(call: &Call<'_>) -> Answered {
    let asked = pages::requested(call)?;
    if asked.limit == 0 {
        return Ok(Reply::json(StatusCode::OK, &Catalog { repositories: Vec::new() }));
    }
    let after = asked.last.map(opened).transpose()?;
    let _room = pages::reserve(call, asked.limit, ENTRY_BYTES).await?;
    let visible = call.state.access_control.visible_in_catalog(&call.principal);
    let page = call.state.registry.repository_names(after.as_deref(), asked.limit, &visible).await?;
    let repositories: Vec<_> = page.items.iter().map(RepoName::as_str).collect();
    let next = page.next.map(last).transpose()?;
    let link = next.map(|last| pages::next(call, &Endpoint::Catalog, asked.limit, &last, None));
    Ok(Reply::json(StatusCode::OK, &Catalog { repositories }).maybe(LINK, link))
}

/// The name that a client goes on behind.
fn opened(last: String) -> Result<String, V2Error> {
    if !sealed::is_sealed(&last) {
        return Ok(last);
    }
    let message = "last: is not from a Link of this list, or too old: start again from the first page";
    sealed::open(&last).ok_or_else(|| V2Error::bad(ErrorCode::PaginationNumberInvalid, message))
}

/// What a client says where it goes on.
fn last(next: Continuation) -> Result<String, V2Error> {
    if !next.hidden {
        return Ok(next.place.name);
    }
    let failed = || ServiceError::Failed("there is no randomness to seal the end of a page with".into());
    Ok(sealed::seal(&next.place.name).ok_or_else(failed)?)
}
