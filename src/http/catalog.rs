//! `/v2/_catalog`: lists repositories. Docker defines this endpoint, the OCI specification does not.

use http::StatusCode;
use http::header::LINK;
use serde::Serialize;

use super::access::CatalogReader;
use super::reply::Reply;
use super::status::{V2Error, V2Result};
use super::{pages, sealed_cursors};
use crate::metadata::Continuation;
use crate::oci::{Endpoint, ErrorCode, RepoName};
use crate::registry::ServiceError;

/// The memory that a name takes, as a record and as JSON.
const ENTRY_BYTES: usize = 256;

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

/// GET: lists the repositories that the principal may pull. The others are left out without a trace.
pub(super) async fn list(catalog: &CatalogReader<'_>) -> V2Result {
    let call = &catalog.call;
    let requested = pages::parse_page(call)?;
    if requested.limit == 0 {
        return Ok(Reply::json(StatusCode::OK, &Catalog { repositories: Vec::new() }));
    }
    let after = requested.last.map(open_place).transpose()?;
    let _reservation = pages::reserve(call, requested.limit, ENTRY_BYTES).await?;
    let page = catalog.repository_names(after.as_deref(), requested.limit).await?;
    let repositories: Vec<_> = page.items.iter().map(RepoName::as_str).collect();
    let next = page.next.map(next_place).transpose()?;
    let link = next.map(|last| pages::next_link(call, &Endpoint::Catalog, requested.limit, &last, None));
    Ok(Reply::json(StatusCode::OK, &Catalog { repositories }).with_optional(LINK, link))
}

/// The name after which the requested page starts.
fn open_place(last: String) -> Result<String, V2Error> {
    if !sealed_cursors::is_sealed(&last) {
        return Ok(last);
    }
    let message =
        "last: not taken from a Link header of this list, or expired; start again from the first page";
    sealed_cursors::open(&last).ok_or_else(|| V2Error::bad(ErrorCode::PaginationNumberInvalid, message))
}

/// The `last` parameter of the next page. The name of a repository that the client may not see is sealed.
fn next_place(next: Continuation) -> Result<String, V2Error> {
    if !next.hidden {
        return Ok(next.place.name);
    }
    let failed =
        || ServiceError::Failed("the system has no randomness to seal the end of a page with".into());
    Ok(sealed_cursors::seal(&next.place.name).ok_or_else(failed)?)
}
