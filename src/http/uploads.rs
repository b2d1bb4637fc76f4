//! Upload endpoints: pushing a blob in one request or in chunks, or mounting it from another repository.

use std::ops::RangeInclusive;

use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};

use super::call::{Call, V2Result};
use super::reply::{CONTENT_DIGEST, Reply, UPLOAD_UUID, value};
use super::status::V2Error;
use crate::auth::{Action, Permission};
use crate::metadata::Scope;
use crate::oci::{Algorithm, ContentRange, Digest, Endpoint, ErrorCode, RepoName, UploadId};
use crate::registry::{Repository, UploadError};

/// POST: mounts a blob, stores the blob in the request, or starts an upload.
pub(super) async fn start(call: Call<'_>, name: RepoName) -> V2Result {
    let repository = call.repository_for_upload(name);
    let digest = call.parameter::<Digest>("digest")?;
    let mount = call.parameter::<Digest>("mount")?;
    let algorithm = call.parameter::<Algorithm>("digest-algorithm")?;
    if let Some(mount) = &mount
        && try_mount(&call, &repository, mount).await?
    {
        return Ok(created(&call, &repository, mount));
    }
    if let Some(digest) = digest {
        return upload_in_one_request(call, &repository, digest).await;
    }
    let algorithm = algorithm.or(mount.as_ref().map(Digest::algorithm)).unwrap_or(Algorithm::Sha256);
    let id = repository.start_upload(algorithm).await?;
    Ok(call.with_warnings(progress(&call, StatusCode::ACCEPTED, &repository, id, 0)))
}

/// Mounts a blob from the repository that the client names, or else from any repository that it may pull. A blob that
/// the client may not pull is treated as missing: the client then uploads it and does not learn that it exists.
async fn try_mount(call: &Call<'_>, repository: &Repository, digest: &Digest) -> Result<bool, V2Error> {
    let query = call.query();
    let from = match query.get("from").filter(|from| !from.is_empty()).map(|from| from.parse::<RepoName>()) {
        Some(Ok(from)) if call.may(Permission::Repository(&from, Action::Pull)) => Some(from),
        // A repository with an invalid name has no blobs.
        Some(_) => return Ok(false),
        None if call.user_may(Permission::Scope(&Scope::All, Action::Pull)) => None,
        None => {
            let mut sources = repository.repositories_with(digest).await?.into_iter();
            let readable = sources.find(|name| call.user_may(Permission::Repository(name, Action::Pull)));
            let Some(source) = readable else { return Ok(false) };
            Some(source)
        }
    };
    Ok(repository.mount(digest, from.as_ref()).await?.is_some())
}

/// Stores the blob in the body of the POST.
async fn upload_in_one_request(mut call: Call<'_>, repository: &Repository, digest: Digest) -> V2Result {
    let id = repository.start_upload(digest.algorithm()).await?;
    let body = call.take_body().into_client_body();
    if let Err(error) = repository.finish(id, None, body, digest.clone()).await {
        // The client does not know the id of this upload and cannot continue it. If this fails, the upload expires.
        let _ = repository.cancel_upload(id).await;
        return Err(error.into());
    }
    Ok(created(&call, repository, &digest))
}

/// GET: returns the progress of an upload.
pub(super) async fn status(call: &Call<'_>, name: RepoName, id: UploadId) -> V2Result {
    let repository = call.repository(name);
    let offset = repository.upload_offset(id).await?;
    Ok(progress(call, StatusCode::NO_CONTENT, &repository, id, offset))
}

/// PATCH: appends a chunk, or streams the whole blob.
pub(super) async fn append(mut call: Call<'_>, name: RepoName, id: UploadId) -> V2Result {
    let repository = call.repository_for_upload(name);
    let range = chunk(&call)?;
    let body = call.take_body().into_client_body();
    match repository.append(id, range, body).await {
        Ok(offset) => Ok(progress(&call, StatusCode::ACCEPTED, &repository, id, offset)),
        Err(error) => Err(upload_error(&call, error, &repository, id)),
    }
}

/// PUT: completes an upload, with or without a last chunk.
pub(super) async fn finish(mut call: Call<'_>, name: RepoName, id: UploadId) -> V2Result {
    let repository = call.repository_for_upload(name);
    let digest = call.parameter::<Digest>("digest")?;
    let missing = || V2Error::bad(ErrorCode::DigestInvalid, "the query parameter `digest` is missing");
    let digest = digest.ok_or_else(missing)?;
    let range = chunk(&call)?;
    let body = call.take_body().into_client_body();
    match repository.finish(id, range, body, digest.clone()).await {
        Ok(()) => Ok(created(&call, &repository, &digest)),
        Err(error) => Err(upload_error(&call, error, &repository, id)),
    }
}

/// DELETE: cancels an upload.
pub(super) async fn cancel(call: &Call<'_>, name: RepoName, id: UploadId) -> V2Result {
    call.repository(name).cancel_upload(id).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

/// The range of the blob that the body contains, if the request has a `Content-Range`.
fn chunk(call: &Call<'_>) -> Result<Option<RangeInclusive<u64>>, V2Error> {
    let Some(text) = call.header(CONTENT_RANGE, ErrorCode::BlobUploadInvalid)? else { return Ok(None) };
    let range: ContentRange =
        text.parse().map_err(|error| V2Error::bad(ErrorCode::BlobUploadInvalid, format!("{error}")))?;
    if call.body.declared_len().is_some_and(|len| len != range.len()) {
        let message = "the Content-Length does not match the Content-Range";
        return Err(V2Error::bad(ErrorCode::SizeInvalid, message));
    }
    Ok(Some(range.start()..=range.end() - 1))
}

/// A reply with the progress of an upload.
fn progress(
    call: &Call<'_>,
    status: StatusCode,
    repository: &Repository,
    id: UploadId,
    offset: u64,
) -> Reply {
    Reply::new(status)
        .with(LOCATION, location(call, repository, id))
        .with(RANGE, received(offset))
        .with(UPLOAD_UUID, value(id.to_string()))
}

/// 201 for a blob that has been stored or mounted.
fn created(call: &Call<'_>, repository: &Repository, digest: &Digest) -> Reply {
    let blob = Endpoint::Blob { name: repository.name().clone(), digest: digest.clone() };
    let reply = Reply::new(StatusCode::CREATED)
        .with(LOCATION, call.location(&blob))
        .with(CONTENT_DIGEST, value(digest.to_string()));
    call.with_warnings(reply)
}

/// Converts an upload error. If the offset or length was wrong, adds the progress of the upload.
fn upload_error(call: &Call<'_>, error: UploadError, repository: &Repository, id: UploadId) -> V2Error {
    let offset = match error {
        UploadError::OutOfOrder { offset } | UploadError::WrongLength { offset } => Some(offset),
        _ => None,
    };
    let error = V2Error::from(error);
    match offset {
        None => error,
        Some(offset) => error
            .with(LOCATION, location(call, repository, id))
            .with(RANGE, received(offset))
            .with(UPLOAD_UUID, value(id.to_string())),
    }
}

fn location(call: &Call<'_>, repository: &Repository, id: UploadId) -> HeaderValue {
    call.location(&Endpoint::Upload { name: repository.name().clone(), id })
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
