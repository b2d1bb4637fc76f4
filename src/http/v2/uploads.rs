//! Upload endpoints: pushing a blob in one request or in chunks, or mounting it from another repository.

use std::ops::RangeInclusive;

use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};

use super::error::{V2Error, V2Result};
use super::rights::PushRight;
use crate::http::reply::{CONTENT_DIGEST, Reply, UPLOAD_UUID, value};
use crate::http::request_body::RequestBody;
use crate::oci::{Algorithm, ContentRange, Digest, Endpoint, ErrorCode, UploadId};
use crate::registry::UploadError;

/// POST: mounts a blob, stores the blob in the request, or starts an upload.
pub(super) async fn start(repository: PushRight<'_>) -> V2Result {
    let call = &repository.call;
    let digest = call.parameter::<Digest>("digest")?;
    let mount = call.parameter::<Digest>("mount")?;
    let algorithm = call.parameter::<Algorithm>("digest-algorithm")?;
    if let Some(mount) = &mount {
        let from = call.query().get("from").filter(|from| !from.is_empty());
        if repository.mount(mount, from.as_deref()).await? {
            return Ok(created(&repository, mount));
        }
    }
    if let Some(digest) = digest {
        return upload_in_one_request(repository, digest).await;
    }
    let algorithm = algorithm.or(mount.as_ref().map(Digest::algorithm)).unwrap_or(Algorithm::Sha256);
    let id = repository.start_upload(algorithm).await?;
    Ok(call.with_warnings(progress(&repository, StatusCode::ACCEPTED, id, 0)))
}

/// Stores the blob in the body of the POST.
async fn upload_in_one_request(mut repository: PushRight<'_>, digest: Digest) -> V2Result {
    let id = repository.start_upload(digest.algorithm()).await?;
    let body = repository.body.take().into_client_body();
    if let Err(error) = repository.finish(id, None, body, digest.clone()).await {
        // The client does not know the id of this upload and cannot continue it. If this fails, the upload expires.
        let _ = repository.cancel_upload(id).await;
        return Err(error.into());
    }
    Ok(created(&repository, &digest))
}

/// GET: returns the progress of an upload.
pub(super) async fn status(repository: &PushRight<'_>, id: UploadId) -> V2Result {
    let offset = repository.upload_offset(id).await?;
    Ok(progress(repository, StatusCode::NO_CONTENT, id, offset))
}

/// PATCH: appends a chunk, or streams the whole blob.
pub(super) async fn append(mut repository: PushRight<'_>, id: UploadId) -> V2Result {
    let body = repository.body.take();
    let range = chunk(&repository, &body)?;
    match repository.append(id, range, body.into_client_body()).await {
        Ok(offset) => Ok(progress(&repository, StatusCode::ACCEPTED, id, offset)),
        Err(error) => Err(upload_error(&repository, error, id)),
    }
}

/// PUT: completes an upload, with or without a last chunk.
pub(super) async fn finish(mut repository: PushRight<'_>, id: UploadId) -> V2Result {
    let digest = repository.call.parameter::<Digest>("digest")?;
    let missing = || V2Error::bad(ErrorCode::DigestInvalid, "the query parameter `digest` is missing");
    let digest = digest.ok_or_else(missing)?;
    let body = repository.body.take();
    let range = chunk(&repository, &body)?;
    match repository.finish(id, range, body.into_client_body(), digest.clone()).await {
        Ok(()) => Ok(created(&repository, &digest)),
        Err(error) => Err(upload_error(&repository, error, id)),
    }
}

/// DELETE: cancels an upload.
pub(super) async fn cancel(repository: &PushRight<'_>, id: UploadId) -> V2Result {
    repository.cancel_upload(id).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

/// The range of the blob that the body contains, if the request has a `Content-Range`.
fn chunk(repository: &PushRight<'_>, body: &RequestBody) -> Result<Option<RangeInclusive<u64>>, V2Error> {
    let text = repository.call.header(CONTENT_RANGE, ErrorCode::BlobUploadInvalid)?;
    let Some(text) = text else { return Ok(None) };
    let range: ContentRange =
        text.parse().map_err(|error| V2Error::bad(ErrorCode::BlobUploadInvalid, format!("{error}")))?;
    if body.declared_len().is_some_and(|len| len != range.len()) {
        let message = "the Content-Length does not match the Content-Range";
        return Err(V2Error::bad(ErrorCode::SizeInvalid, message));
    }
    Ok(Some(range.start()..=range.end() - 1))
}

/// A reply with the progress of an upload.
fn progress(repository: &PushRight<'_>, status: StatusCode, id: UploadId, offset: u64) -> Reply {
    Reply::new(status)
        .with(LOCATION, location(repository, id))
        .with(RANGE, received(offset))
        .with(UPLOAD_UUID, value(id.to_string()))
}

/// 201 for a blob that has been stored or mounted.
fn created(repository: &PushRight<'_>, digest: &Digest) -> Reply {
    let call = &repository.call;
    let blob = Endpoint::Blob { name: repository.name().clone(), digest: digest.clone() };
    let reply = Reply::new(StatusCode::CREATED)
        .with(LOCATION, call.location(&blob))
        .with(CONTENT_DIGEST, value(digest.to_string()));
    call.with_warnings(reply)
}

/// Converts an upload error. If the offset or length was wrong, adds the progress of the upload.
fn upload_error(repository: &PushRight<'_>, error: UploadError, id: UploadId) -> V2Error {
    let offset = match error {
        UploadError::OutOfOrder { offset } | UploadError::WrongLength { offset } => Some(offset),
        _ => None,
    };
    let error = V2Error::from(error);
    match offset {
        None => error,
        Some(offset) => error
            .with(LOCATION, location(repository, id))
            .with(RANGE, received(offset))
            .with(UPLOAD_UUID, value(id.to_string())),
    }
}

fn location(repository: &PushRight<'_>, id: UploadId) -> HeaderValue {
    repository.call.location(&Endpoint::Upload { name: repository.name().clone(), id })
}

/// The `Range` of the bytes before `offset`, both ends included. No bytes look like one byte, as in Docker's registry.
fn received(offset: u64) -> HeaderValue {
    value(format!("0-{}", offset.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_includes_its_end() {
        assert_eq!(received(0), "0-0");
        assert_eq!(received(1), "0-0");
        assert_eq!(received(4096), "0-4095");
    }
}
