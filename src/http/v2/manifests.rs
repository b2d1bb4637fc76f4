//! Manifest endpoints: reading, pushing and deleting manifests.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderValue, StatusCode};

use super::caching::{self, Audience, OnRead};
use super::error::{V2Error, V2Result};
use super::rights::{Call, DeleteRight, PullRight, PushRight};
use crate::http::payload::Payload;
use crate::http::reply::{CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, Reply, digest_values, value};
use crate::http::request_body::CollectError;
use crate::oci::{Digest, Endpoint, ErrorCode, MediaType, Reference, Tag};
use crate::registry::{ManifestError, ManifestPlace, PutReceipt, PutRequest, ServiceError};

/// GET and HEAD: returns the stored manifest, whatever `Accept` says: a digest names exact bytes, and a tag points at
/// only one manifest.
pub(super) async fn get(repository: &PullRight<'_>, reference: &Reference) -> V2Result {
    let call = &repository.call;
    let audience = Audience::of(repository);
    let manifest = if call.is_head() {
        repository.probe_manifest(reference).await?
    } else {
        repository.manifest(reference).await?
    };
    if let (true, Reference::Tag(tag)) = (call.is_head(), reference) {
        repository.record_unchanged_push(tag, &manifest);
    }
    let (plain, tag) = digest_values(&manifest.digest);
    let fresh = match reference {
        Reference::Digest(_) => audience.cache_control_of_digest(),
        // The tag may have moved since, so caches revalidate with the ETag.
        Reference::Tag(_) => audience.cache_control_of_tag(),
    };
    let described =
        |status| Reply::new(status).with(CONTENT_DIGEST, plain).with(ETAG, tag).with(CACHE_CONTROL, fresh);
    if caching::check_read(call.headers(), &manifest.digest, ErrorCode::ManifestUnknown)?
        == OnRead::NotModified
    {
        if !call.is_head() {
            // A client that already has the manifest uses it too, so this counts as a pull.
            repository.record_pull(&manifest.digest);
        }
        return Ok(described(StatusCode::NOT_MODIFIED));
    }
    let reply = described(StatusCode::OK)
        .with(CONTENT_TYPE, value(manifest.media_type))
        .with(CONTENT_LENGTH, HeaderValue::from(manifest.content.len()));
    if call.is_head() {
        return Ok(reply);
    }
    repository.record_pull(&manifest.digest);
    Ok(reply.body(Payload::Whole(manifest.content)))
}

/// PUT: stores a manifest and its tags.
pub(super) async fn put(mut repository: PushRight<'_>, reference: &Reference) -> V2Result {
    let (digest, tags) = targets(&repository.call, reference)?;
    let content_type = content_type(&repository.call)?;
    check_condition(&repository, reference).await?;
    let Body { content, place: _place } = collect(&mut repository).await?;
    let put = PutRequest { digest, tags: tags.clone(), content_type, content };
    let receipt = repository.put_manifest(put).await?;
    Ok(accepted(&repository, &receipt, &tags))
}

/// A manifest's body, with the memory that is reserved for it.
struct Body {
    content: Bytes,
    place: ManifestPlace,
}

/// Reads the body once memory is reserved for it. A large body loses its reservation if it arrives slowly while others
/// wait.
async fn collect(repository: &mut PushRight<'_>) -> Result<Body, V2Error> {
    let limit = repository.call.settings().max_manifest_size;
    let body = repository.body.take();
    let declared = body.declared_len().map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    if declared.is_some_and(|len| len > limit) {
        return Err(CollectError::TooLarge.into());
    }
    let len = declared.unwrap_or(limit);
    let mut place = repository.manifest_place(len).await?;
    let content = tokio::select! {
        content = body.collect(limit) => content?,
        () = place.lost() => return Err(ServiceError::Busy.into()),
    };
    place.shrink_to(content.len());
    Ok(Body { content, place })
}

/// DELETE: removes a tag, or, by digest, a manifest and all its tags.
pub(super) async fn delete(repository: &DeleteRight, reference: &Reference) -> V2Result {
    let deleted = match reference {
        Reference::Tag(tag) => repository.delete_tag(tag).await,
        Reference::Digest(digest) => repository.delete_manifest(digest).await,
    };
    deleted.map_err(|error| V2Error::delete(error, ErrorCode::ManifestUnknown))?;
    Ok(Reply::new(StatusCode::ACCEPTED))
}

/// The digest that the manifest must have, if the path names one, and the tags to set: the one in the path and those in
/// the query.
fn targets(call: &Call<'_>, reference: &Reference) -> Result<(Option<Digest>, Vec<Tag>), V2Error> {
    let (digest, mut tags) = match reference {
        Reference::Tag(tag) => (None, vec![tag.clone()]),
        Reference::Digest(digest) => (Some(digest.clone()), Vec::new()),
    };
    let max_tags = call.settings().max_tags;
    for text in call.query().all("tag") {
        let tag: Tag = text.parse()?;
        if tags.contains(&tag) {
            continue;
        }
        if tags.len() == max_tags {
            let message = format!("at most {max_tags} tags can be pushed at once");
            return Err(V2Error::new(StatusCode::URI_TOO_LONG, ErrorCode::Unsupported, message));
        }
        tags.push(tag);
    }
    Ok((digest, tags))
}

fn content_type(call: &Call<'_>) -> Result<Option<MediaType>, V2Error> {
    let text = call.header(CONTENT_TYPE, ErrorCode::ManifestInvalid)?.filter(|text| !text.is_empty());
    let parsed = text.map(MediaType::from_content_type).transpose();
    parsed.map_err(|error| V2Error::bad(ErrorCode::ManifestInvalid, format!("invalid Content-Type: {error}")))
}

/// Checks the conditions of a push. Clients that keep a list of referrers under a tag use them so that no other client
/// writes to it in between (OCI distribution specification, "Referrers Tag Schema"). The check precedes the push and is
/// not part of it: two pushes at the same instant may both pass.
async fn check_condition(repository: &PushRight<'_>, reference: &Reference) -> Result<(), V2Error> {
    let headers = repository.call.headers();
    if !caching::has_conditions(headers) {
        return Ok(());
    }
    let current = match repository.manifest(reference).await {
        Ok(manifest) => Some(manifest.digest),
        Err(ManifestError::Unknown | ManifestError::NameUnknown) => None,
        Err(error @ ManifestError::Service(_)) => return Err(error.into()),
    };
    caching::check_write(headers, current.as_ref(), ErrorCode::ManifestInvalid)
}

fn accepted(repository: &PushRight<'_>, receipt: &PutReceipt, tags: &[Tag]) -> Reply {
    let call = &repository.call;
    let reference = Reference::Digest(receipt.digest.clone());
    let manifest = Endpoint::Manifest { name: repository.name().clone(), reference };
    let (plain, etag) = digest_values(&receipt.digest);
    let reply = Reply::new(StatusCode::CREATED)
        .with(LOCATION, call.location(&manifest))
        .with(CONTENT_DIGEST, plain)
        .with(ETAG, etag)
        .with_optional(OCI_SUBJECT, receipt.subject.as_ref().map(|subject| value(subject.to_string())));
    let has_tag_parameters = call.query().get("tag").is_some();
    let listed = if has_tag_parameters { tags } else { &[] };
    let reply = listed.iter().fold(reply, |reply, tag| reply.with(OCI_TAG, value(tag.to_string())));
    call.with_warnings(reply)
}
