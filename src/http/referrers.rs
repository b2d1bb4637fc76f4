//! `/v2/<name>/referrers/<digest>`: lists the manifests whose subject is a manifest.

use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderValue, StatusCode};

use super::access::PullRepository;
use super::pages;
use super::reply::{OCI_FILTERS, Reply};
use super::status::V2Result;
use crate::metadata::ReferrerRecord;
use crate::oci::{Annotations, Descriptor, Digest, Endpoint, ImageIndex};
use crate::registry::Page;

/// The most bytes of a page. Clients accept an index of 4 MiB; annotations can be long, so a page ends before that.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// The memory that a descriptor with its annotations takes, as a record and as JSON.
const ENTRY_BYTES: usize = 4096;

/// GET: lists the referrers of a manifest. The list is empty, and not a 404, if there are none or no such manifest.
pub(super) async fn list(repository: &PullRepository<'_>, subject: &Digest) -> V2Result {
    let call = &repository.call;
    let requested = pages::parse_page(call)?;
    let after = requested.last.as_deref().map(str::parse::<Digest>).transpose()?;
    let filter = call.query().get("artifactType").filter(|filter| !filter.is_empty());
    let mut page = Page { items: Vec::new(), more: false };
    let _reservation = pages::reserve(call, requested.limit, ENTRY_BYTES).await?;
    if requested.limit > 0 {
        page = repository.referrers(subject, filter.as_deref(), after.as_ref(), requested.limit).await?;
        truncate(&mut page);
    }
    let link = page.items.last().filter(|_| page.more).map(|last| {
        let list = Endpoint::Referrers { name: repository.name().clone(), digest: subject.clone() };
        let filter = filter.as_deref().map(|filter| ("artifactType", filter));
        pages::next_link(call, &list, requested.limit, last.digest.as_str(), filter)
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
