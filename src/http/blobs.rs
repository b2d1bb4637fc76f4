//! Blobs: reading all or parts of one, and deleting it.

use std::ops::Range;

use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderValue, StatusCode};

use super::call::{Answered, Call};
use super::conditions::{self, OnRead};
use super::freshness::Audience;
use super::multipart::Multipart;
use super::payload::Payload;
use super::reply::{CONTENT_DIGEST, Reply, digest_values, value};
use super::status::V2Error;
use crate::metadata::BlobRecord;
use crate::oci::{ByteRange, Digest, ErrorCode, RepoName};
use crate::registry::Repository;

/// GET and HEAD.
pub(super) async fn get(call: &Call<'_>, name: RepoName, digest: &Digest) -> Answered {
    let audience = Audience::of(call, &name);
    let repository = call.authorise(name);
    // Clients that push ask with HEAD whether they have to; a GET is a pull, and leases nothing.
    let repository = if call.is_head() { repository } else { repository.viewed() };
    let blob = repository.blob(digest).await?;
    if conditions::on_read(call.headers(), digest, ErrorCode::BlobUnknown)? == OnRead::NotModified {
        return Ok(described(StatusCode::NOT_MODIFIED, digest, audience));
    }
    let (reply, bytes) = match conditions::range(call.headers(), digest, blob.size) {
        ByteRange::Parts(ranges) => {
            let parts = Multipart::new(ranges, blob.size);
            let reply = described(StatusCode::PARTIAL_CONTENT, digest, audience)
                .with(CONTENT_TYPE, value(parts.content_type()))
                .with(CONTENT_LENGTH, HeaderValue::from(parts.len()));
            return if call.is_head() {
                Ok(reply)
            } else {
                Ok(reply.body(parts.payload(&repository, &blob).await?))
            };
        }
        ByteRange::Full => (described(StatusCode::OK, digest, audience), 0..blob.size),
        ByteRange::Part(part) => {
            let range = value(format!("bytes {}-{}/{}", part.start, part.end - 1, blob.size));
            (described(StatusCode::PARTIAL_CONTENT, digest, audience).with(CONTENT_RANGE, range), part)
        }
        ByteRange::Unsatisfiable => return Err(unsatisfiable(blob.size)),
    };
    let reply = reply
        .with(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .with(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    if call.is_head() { Ok(reply) } else { with_bytes(reply, &repository, &blob, bytes).await }
}

async fn with_bytes(reply: Reply, repository: &Repository, blob: &BlobRecord, bytes: Range<u64>) -> Answered {
    let len = bytes.end - bytes.start;
    if len == 0 {
        return Ok(reply);
    }
    let content = repository.read_blob(blob, bytes).await?;
    Ok(reply.body(Payload::content(content, len)))
}

/// DELETE.
pub(super) async fn delete(call: &Call<'_>, name: RepoName, digest: &Digest) -> Answered {
    let deleted = call.authorise(name).delete_blob(digest).await;
    deleted.map_err(|error| V2Error::delete(error, ErrorCode::BlobUnknown))?;
    Ok(Reply::new(StatusCode::ACCEPTED))
}

/// An answer about the blob `digest`.
fn described(status: StatusCode, digest: &Digest, audience: Audience) -> Reply {
    let (plain, tag) = digest_values(digest);
    Reply::new(status)
        .with(CONTENT_DIGEST, plain)
        .with(ETAG, tag)
        .with(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
        .with(CACHE_CONTROL, audience.of_digest())
}

fn unsatisfiable(size: u64) -> V2Error {
    let message = format!("the blob has {size} bytes, and none of those that are asked for");
    V2Error::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::SizeInvalid, message)
        .with(CONTENT_RANGE, value(format!("bytes */{size}")))
}
