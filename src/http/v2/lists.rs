//! The paged lists of `/v2`: repositories (`_catalog`, which Docker defines and the OCI specification does not), the
//! tags of a repository, and the referrers of a manifest.

use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::error::{V2Error, V2Result};
use super::rights::{Call, CatalogRight, PullRight};
use crate::http::query::encode;
use crate::http::reply::{OCI_FILTERS, Reply, value};
use crate::http::sealed_cursors;
use crate::memory::{Purpose, Reservation};
use crate::metadata::{Continuation, ReferrerRecord};
use crate::oci::{self, Annotations, Descriptor, Digest, Endpoint, ErrorCode, ImageIndex, RepoName, Tag};
use crate::registry::{Page, ServiceError};

/// The maximum memory that is reserved for a page. No page needs more, because the size of pages is limited.
const MAX_RESERVED_BYTES: usize = 4 << 20;

/// Parses the requested page from the parameters `n` and `last`.
fn parse_page(call: &Call<'_>) -> Result<oci::Page, V2Error> {
    let n = call.query().get("n");
    let last = call.query().get("last");
    Ok(oci::Page::parse(n.as_deref(), last.as_deref(), call.settings().pages)?)
}

/// Reserves memory while a page is built. An entry takes about `entry_bytes`.
async fn reserve(call: &Call<'_>, limit: usize, entry_bytes: usize) -> Result<Reservation, ServiceError> {
    let bytes = limit.saturating_mul(entry_bytes).min(MAX_RESERVED_BYTES);
    call.reserve(Purpose::Pages, bytes).await
}

/// The `Link` to the page after `last`. `filter` is a further parameter that the list was filtered by.
fn next_link(
    call: &Call<'_>,
    list: &Endpoint,
    limit: usize,
    last: &str,
    filter: Option<(&str, &str)>,
) -> HeaderValue {
    let mut target = format!("{}?n={limit}&last={}", list.path(), encode(last));
    if let Some((name, text)) = filter {
        target.push_str(&format!("&{name}={}", encode(text)));
    }
    value(format!("<{}>; rel=\"next\"", call.settings().locate(target)))
}

/// The memory that the name of a repository or a tag takes, as a record and as JSON.
const NAME_BYTES: usize = 256;

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

/// GET: lists the repositories that the principal may pull. The others are left out without a trace.
pub(super) async fn repositories(catalog: &CatalogRight<'_>) -> V2Result {
    let call = &catalog.call;
    let requested = parse_page(call)?;
    if requested.limit == 0 {
        return Ok(Reply::json(StatusCode::OK, &Catalog { repositories: Vec::new() }));
    }
    let after = requested.last.map(open_place).transpose()?;
    let _reservation = reserve(call, requested.limit, NAME_BYTES).await?;
    let page = catalog.repository_names(after.as_deref(), requested.limit).await?;
    let repositories: Vec<_> = page.items.iter().map(RepoName::as_str).collect();
    let next = page.next.map(next_place).transpose()?;
    let link = next.map(|last| next_link(call, &Endpoint::Catalog, requested.limit, &last, None));
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

#[derive(Serialize)]
struct TagList<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

/// GET: lists the tags of a repository.
pub(super) async fn tags(repository: &PullRight<'_>) -> V2Result {
    let call = &repository.call;
    let requested = parse_page(call)?;
    let _reservation = reserve(call, requested.limit, NAME_BYTES).await?;
    // At least one, so that an unknown repository is a 404 also for `n=0`.
    let page = repository.tags(requested.last.as_deref(), requested.limit.max(1)).await?;
    let tags: Vec<_> = page.items.iter().map(Tag::as_str).take(requested.limit).collect();
    let link = tags.last().filter(|_| page.more).map(|last| {
        let list = Endpoint::Tags { name: repository.name().clone() };
        next_link(call, &list, requested.limit, last, None)
    });
    let body = TagList { name: repository.name().as_str(), tags };
    Ok(Reply::json(StatusCode::OK, &body).with_optional(LINK, link))
}

/// The most bytes of a page. Clients accept an index of 4 MiB; annotations can be long, so a page ends before that.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// The memory that a descriptor with its annotations takes, as a record and as JSON.
const DESCRIPTOR_BYTES: usize = 4096;

/// GET: lists the referrers of a manifest. The list is empty, and not a 404, if there are none or no such manifest.
pub(super) async fn referrers(repository: &PullRight<'_>, subject: &Digest) -> V2Result {
    let call = &repository.call;
    let requested = parse_page(call)?;
    let after = requested.last.as_deref().map(str::parse::<Digest>).transpose()?;
    let filter = call.query().get("artifactType").filter(|filter| !filter.is_empty());
    let mut page = Page { items: Vec::new(), more: false };
    let _reservation = reserve(call, requested.limit, DESCRIPTOR_BYTES).await?;
    if requested.limit > 0 {
        page = repository.referrers(subject, filter.as_deref(), after.as_ref(), requested.limit).await?;
        truncate(&mut page);
    }
    let link = page.items.last().filter(|_| page.more).map(|last| {
        let list = Endpoint::Referrers { name: repository.name().clone(), digest: subject.clone() };
        let filter = filter.as_deref().map(|filter| ("artifactType", filter));
        next_link(call, &list, requested.limit, last.digest.as_str(), filter)
    });
    let index = ImageIndex::new(page.items.into_iter().filter_map(descriptor).collect());
    let mut reply = Reply::json(StatusCode::OK, &index).with_optional(LINK, link);
    reply.set(CONTENT_TYPE, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
    Ok(reply.with_optional(OCI_FILTERS, filter.map(|_| HeaderValue::from_static("artifactType"))))
}

/// Truncates a page to at most [`PAGE_BYTES`], but keeps at least one entry.
fn truncate(page: &mut Page<ReferrerRecord>) {
    let mut len = 0;
    let fits = |record: &ReferrerRecord| {
        len += estimated_len(record);
        len <= PAGE_BYTES
    };
    let keep = page.items.iter().map(fits).take_while(|fits| *fits).count().max(1);
    if keep < page.items.len() {
        page.items.truncate(keep);
        page.more = true;
    }
}

/// The approximate length of a record's JSON.
fn estimated_len(record: &ReferrerRecord) -> usize {
    let annotations = record.annotations.as_ref().map_or(0, Annotations::json_len);
    256 + record.media_type.len() + record.artifact_type.as_ref().map_or(0, String::len) + annotations
}

/// Converts a record. `None` if its media type is invalid, which no push allows.
fn descriptor(record: ReferrerRecord) -> Option<Descriptor> {
    Some(Descriptor {
        media_type: record.media_type.parse().ok()?,
        digest: record.digest,
        size: record.size,
        artifact_type: record.artifact_type,
        annotations: record.annotations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Algorithm, Hasher};

    fn page(annotation_len: usize, count: usize) -> Page<ReferrerRecord> {
        let manifest = format!(r#"{{"annotations":{{"key":"{}"}}}}"#, "x".repeat(annotation_len));
        let record = ReferrerRecord {
            digest: Hasher::digest(Algorithm::Sha256, b""),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size: 7,
            artifact_type: None,
            annotations: Annotations::of_manifest(manifest.as_bytes()),
        };
        let mut page = Page { items: vec![record; count], more: false };
        truncate(&mut page);
        page
    }

    #[test]
    fn a_page_is_bounded_in_bytes_but_never_empty() {
        let long = page(1024 * 1024, 5);
        assert_eq!((long.items.len(), long.more), (2, true));
        let longest = page(4 * 1024 * 1024, 2);
        assert_eq!((longest.items.len(), longest.more), (1, true));
        let short = page(10, 100);
        assert_eq!((short.items.len(), short.more), (100, false));
        assert!(page(0, 0).items.is_empty());
    }
}
