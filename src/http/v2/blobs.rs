//! Blob endpoints: reading a blob or ranges of it, and deleting it.

use std::ops::Range;

use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderValue, StatusCode};

use super::caching::{self, Audience, OnRead};
use super::error::{V2Error, V2Result};
use super::multipart::Multipart;
use super::rights::{DeleteRight, PullRight};
use crate::http::payload::Payload;
use crate::http::reply::{CONTENT_DIGEST, Reply, digest_values, value};
use crate::metadata::BlobRecord;
use crate::oci::{ByteRange, Digest, ErrorCode};

/// GET and HEAD: returns a blob, or the ranges of it that the request names.
pub(super) async fn get(repository: &PullRight<'_>, digest: &Digest) -> V2Result {
    let call = &repository.call;
    let audience = Audience::of(repository);
    let blob = repository.blob(digest).await?;
    if caching::check_read(call.headers(), digest, ErrorCode::BlobUnknown)? == OnRead::NotModified {
        return Ok(blob_reply(StatusCode::NOT_MODIFIED, digest, audience));
    }
    let (reply, bytes) = match caching::range(call.headers(), digest, blob.size) {
        ByteRange::Parts(ranges) => {
            let parts = Multipart::new(ranges, blob.size);
            let reply = blob_reply(StatusCode::PARTIAL_CONTENT, digest, audience)
                .with(CONTENT_TYPE, value(parts.content_type()))
                .with(CONTENT_LENGTH, HeaderValue::from(parts.len()));
            return if call.is_head() {
                Ok(reply)
            } else {
                Ok(reply.body(repository.read_parts(&blob, parts).await?))
            };
        }
        ByteRange::Full => (blob_reply(StatusCode::OK, digest, audience), 0..blob.size),
        ByteRange::Part(part) => {
            let range = value(format!("bytes {}-{}/{}", part.start, part.end - 1, blob.size));
            (blob_reply(StatusCode::PARTIAL_CONTENT, digest, audience).with(CONTENT_RANGE, range), part)
        }
        ByteRange::Unsatisfiable => return Err(range_not_satisfiable(blob.size)),
    };
    let reply = reply
        .with(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .with(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    if call.is_head() { Ok(reply) } else { with_content(reply, repository, &blob, bytes).await }
}

async fn with_content(
    reply: Reply,
    repository: &PullRight<'_>,
    blob: &BlobRecord,
    bytes: Range<u64>,
) -> V2Result {
    let len = bytes.end - bytes.start;
    if len == 0 {
        return Ok(reply);
    }
    let content = repository.read_blob(blob, bytes).await?;
    Ok(reply.body(Payload::content(content, len)))
}

/// DELETE: removes a blob from a repository.
pub(super) async fn delete(repository: &DeleteRight, digest: &Digest) -> V2Result {
    let deleted = repository.delete_blob(digest).await;
    deleted.map_err(|error| V2Error::delete(error, ErrorCode::BlobUnknown))?;
    Ok(Reply::new(StatusCode::ACCEPTED))
}

/// A reply with the headers that describe the blob `digest`.
fn blob_reply(status: StatusCode, digest: &Digest, audience: Audience) -> Reply {
    let (plain, tag) = digest_values(digest);
    Reply::new(status)
        .with(CONTENT_DIGEST, plain)
        .with(ETAG, tag)
        .with(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
        .with(CACHE_CONTROL, audience.cache_control_of_digest())
}

fn range_not_satisfiable(size: u64) -> V2Error {
    let message = format!("the blob has {size} bytes; the requested range lies outside of it");
    V2Error::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::SizeInvalid, message)
        .with(CONTENT_RANGE, value(format!("bytes */{size}")))
}
