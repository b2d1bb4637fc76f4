//! Listing what refers to a manifest.

use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderValue, StatusCode};

use super::call::{Answered, Call};
use super::pages;
use super::reply::{OCI_FILTERS, Reply};
use crate::metadata::ReferrerRecord;
use crate::oci::{Annotations, Descriptor, Digest, Endpoint, ImageIndex, RepoName};
use crate::registry::Page;

/// Clients take an index of 4 MiB; a page ends before it gets there, for annotations can be long.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// What a descriptor with its annotations takes, as a record and as JSON.
const ENTRY_BYTES: usize = 4096;

/// GET. What nothing refers to, or is not there at all, has an empty list: there is no 404.
pub(super) async fn list(call: &Call<'_>, name: RepoName, subject: &Digest) -> Answered {
    let asked = pages::requested(call)?;
    let after = asked.last.as_deref().map(str::parse::<Digest>).transpose()?;
    let filter = call.query().get("artifactType").filter(|filter| !filter.is_empty());
    let repository = call.authorise(name);
    let mut page = Page { items: Vec::new(), more: false };
    let _room = pages::reserve(call, asked.limit, ENTRY_BYTES).await?;
    if asked.limit > 0 {
        page = repository.referrers(subject, filter.as_deref(), after.as_ref(), asked.limit).await?;
        cut(&mut page);
    }
    let link = page.items.last().filter(|_| page.more).map(|last| {
        let list = Endpoint::Referrers { name: repository.name().clone(), digest: subject.clone() };
        let filter = filter.as_deref().map(|filter| ("artifactType", filter));
        pages::next(call, &list, asked.limit, last.digest.as_str(), filter)
    });
    let index = ImageIndex::new(page.items.into_iter().filter_map(descriptor).collect());
    let mut reply = Reply::json(StatusCode::OK, &index).maybe(LINK, link);
    reply.set(CONTENT_TYPE, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
    Ok(reply.maybe(OCI_FILTERS, filter.map(|_| HeaderValue::from_static("artifactType"))))
}

/// Ends a page before it gets too long, but never before its first entry.
fn cut(page: &mut Page<ReferrerRecord>) {
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

/// About how long a record's JSON is.
fn estimated_len(record: &ReferrerRecord) -> usize {
    let annotations = record.annotations.as_ref().map_or(0, Annotations::json_len);
    256 + record.media_type.len() + record.artifact_type.as_ref().map_or(0, String::len) + annotations
}

/// `None` for a record whose media type is none, which no push can have made.
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
        cut(&mut page);
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
