//! Uploads: how a blob comes in.

use std::ops::RangeInclusive;

use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};

use super::call::{Answered, Call};
use super::reply::{CONTENT_DIGEST, Reply, UPLOAD_UUID, value};
use super::status::V2Error;
use crate::auth::{Action, Permission};
use crate::metadata::Scope;
use crate::oci::{Algorithm, ContentRange, Digest, Endpoint, ErrorCode, RepoName, UploadId};
use crate::registry::{Repository, UploadError};

/// POST: mounts a blob, or takes one that comes with the request, or opens an upload.
pub(super) async fn begin(call: Call<'_>, name: RepoName) -> Answered {
    let repository = call.authorise_upload(name);
    let digest = call.parameter::<Digest>("digest")?;
    let mount = call.parameter::<Digest>("mount")?;
    let algorithm = call.parameter::<Algorithm>("digest-algorithm")?;
    if let Some(mount) = &mount
        && is_mounted(&call, &repository, mount).await?
    {
        return Ok(created(&call, &repository, mount));
    }
    if let Some(digest) = digest {
        return take_whole(call, &repository, digest).await;
    }
    let algorithm = algorithm.or(mount.as_ref().map(Digest::algorithm)).unwrap_or(Algorithm::Sha256);
    let id = repository.begin_upload(algorithm).await?;
    Ok(call.with_warnings(progress(&call, StatusCode::ACCEPTED, &repository, id, 0)))
}

/// Mounts a blob from where the client says that it is, or from anywhere that it may pull from if it does not say. What it
/// may not pull is not there: clients upload it then, and learn nothing.
async fn is_mounted(call: &Call<'_>, repository: &Repository, digest: &Digest) -> Result<bool, V2Error> {
    let query = call.query();
    let from = match query.get("from").filter(|from| !from.is_empty()).map(|from| from.parse::<RepoName>()) {
        Some(Ok(from)) if call.may(Permission::Repository(&from, Action::Pull)) => Some(from),
        // A repository that cannot be has no blobs either.
        Some(_) => return Ok(false),
        None if call.could(Permission::Scope(&Scope::All, Action::Pull)) => None,
        None => {
            let mut sources = repository.repositories_with(digest).await?.into_iter();
            let readable = sources.find(|name| call.could(Permission::Repository(name, Action::Pull)));
            let Some(source) = readable else { return Ok(false) };
            Some(source)
        }
    };
    Ok(repository.mount(digest, from.as_ref()).await?.is_some())
}

/// A blob that comes with the POST.
async fn take_whole(mut call: Call<'_>, repository: &Repository, digest: Digest) -> Answered {
    let id = repository.begin_upload(digest.algorithm()).await?;
    let body = call.take_body().into_client_body();
    if let Err(error) = repository.finish(id, None, body, digest.clone()).await {
        // The client was never told of this upload, so nobody can go on with it. If this fails, it expires.
        let _ = repository.cancel_upload(id).await;
        return Err(error.into());
    }
    Ok(created(&call, repository, &digest))
}

/// GET: how far an upload has come.
pub(super) async fn status(call: &Call<'_>, name: RepoName, id: UploadId) -> Answered {
    let repository = call.authorise(name);
    let offset = repository.upload_offset(id).await?;
    Ok(progress(call, StatusCode::NO_CONTENT, &repository, id, offset))
}

/// PATCH: a chunk, or all of it as a stream.
pub(super) async fn append(mut call: Call<'_>, name: RepoName, id: UploadId) -> Answered {
    let repository = call.authorise_upload(name);
    let range = chunk(&call)?;
    let body = call.take_body().into_client_body();
    match repository.append(id, range, body).await {
        Ok(offset) => Ok(progress(&call, StatusCode::ACCEPTED, &repository, id, offset)),
        Err(error) => Err(refuse(&call, error, &repository, id)),
    }
}

/// PUT: the end of an upload, with its last chunk or without.
pub(super) async fn finish(mut call: Call<'_>, name: RepoName, id: UploadId) -> Answered {
    let repository = call.authorise_upload(name);
    let digest = call.parameter::<Digest>("digest")?;
    let digest = digest.ok_or_else(|| V2Error::bad(ErrorCode::DigestInvalid, "the digest is missing"))?;
    let range = chunk(&call)?;
    let body = call.take_body().into_client_body();
    match repository.finish(id, range, body, digest.clone()).await {
        Ok(()) => Ok(created(&call, &repository, &digest)),
        Err(error) => Err(refuse(&call, error, &repository, id)),
    }
}

/// DELETE: the client has changed its mind.
pub(super) async fn cancel(call: &Call<'_>, name: RepoName, id: UploadId) -> Answered {
    call.authorise(name).cancel_upload(id).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

/// Which bytes of the blob the request's body is, if the client says so.
fn chunk(call: &Call<'_>) -> Result<Option<RangeInclusive<u64>>, V2Error> {
    let Some(text) = call.header(CONTENT_RANGE, ErrorCode::BlobUploadInvalid)? else { return Ok(None) };
    let range: ContentRange =
        text.parse().map_err(|error| V2Error::bad(ErrorCode::BlobUploadInvalid, format!("{error}")))?;
    if call.body.declared_len().is_some_and(|len| len != range.len()) {
        let message = "the Content-Length is not that of the Content-Range";
        return Err(V2Error::bad(ErrorCode::SizeInvalid, message));
    }
    Ok(Some(range.start()..=range.end() - 1))
}

/// An upload that stands at `offset`.
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

/// A blob that is there now.
fn created(call: &Call<'_>, repository: &Repository, digest: &Digest) -> Reply {
    let blob = Endpoint::Blob { name: repository.name().clone(), digest: digest.clone() };
    let reply = Reply::new(StatusCode::CREATED)
        .with(LOCATION, call.location(&blob))
        .with(CONTENT_DIGEST, value(digest.to_string()));
    call.with_warnings(reply)
}

/// No, with where the upload stands when that is what the client got wrong.
fn refuse(call: &Call<'_>, error: UploadError, repository: &Repository, id: UploadId) -> V2Error {
    let offset = match error {
        UploadError::OutOfOrder { offset } | UploadError::WrongLength { offset } => Some(offset),
        _ => None,
    };
    let refusal = V2Error::from(error);
    match offset {
        None => refusal,
        Some(offset) => refusal
            .with(LOCATION, location(call, repository, id))
            .with(RANGE, received(offset))
            .with(UPLOAD_UUID, value(id.to_string())),
    }
}

fn location(call: &Call<'_>, repository: &Repository, id: UploadId) -> HeaderValue {
    call.location(&Endpoint::Upload { name: repository.name().clone(), id })
}

/// The bytes up to `offset`, both ends included: none look like one, as they do in Docker's registry.
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
