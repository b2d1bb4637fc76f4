//! Rights as types: each allows what its permission allows and nothing else. Only `Granted::open` makes them.

use std::ops::{Range, RangeInclusive};

use super::call::Call;
use super::error::V2Error;
use super::multipart::Multipart;
use crate::auth::{Action, AuthError, Permission, Principal};
use crate::http::payload::Payload;
use crate::http::rejection::AuthRejection;
use crate::http::request_body::RequestBody;
use crate::metadata::{BlobRecord, ListPage, ManifestRecord, ReferrerRecord, Scope};
use crate::oci::{Algorithm, Digest, Reference, RepoName, Tag, UploadId};
use crate::registry::{
    Access, BlobError, ClientBody, DeleteError, ManifestError, ManifestPlace, Page, PutReceipt, PutRequest,
    Repository, ServiceError, UploadError,
};
use crate::store::Content;

/// Implements methods that pass on to the repository. Without being listed, none can be called with the right.
macro_rules! delegate {
    ($($(#[$doc:meta])* async fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {$(
        $(#[$doc])*
        pub(super) async fn $name(&self $(, $argument: $type)*) -> $result {
            self.repository.$name($($argument),*).await
        }
    )*};
}

/// The right to list the repositories.
pub(super) struct CatalogRight<'a> {
    pub(super) call: Call<'a>,
}

impl<'a> CatalogRight<'a> {
    pub(super) fn new(call: Call<'a>) -> Self {
        Self { call }
    }

    /// A page of the repositories that the principal may pull.
    pub(super) async fn repository_names(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ListPage<RepoName>, ServiceError> {
        let Call { state, principal, .. } = &self.call;
        let visible = state.access_control.visible_in_catalog(principal);
        state.registry.repository_names(after, limit, &visible).await
    }
}

/// The right to pull from a repository.
pub(super) struct PullRight<'a> {
    pub(super) call: Call<'a>,
    repository: Repository,
}

impl<'a> PullRight<'a> {
    pub(super) fn new(call: Call<'a>, name: &RepoName) -> Self {
        let push = call.may(Permission::Repository(name, Action::Push));
        let repository = call.state.registry.repository(name.clone(), Access { push });
        Self { call, repository }
    }

    pub(super) fn name(&self) -> &RepoName {
        self.repository.name()
    }

    /// Whether anonymous users may pull from the repository.
    pub(super) fn is_public(&self) -> bool {
        let may_everyone = || {
            let permission = Permission::Repository(self.name(), Action::Pull);
            self.call.state.access_control.allows(&Principal::Anonymous, permission)
        };
        // A request of an anonymous user has been authorised already.
        self.call.principal == Principal::Anonymous || may_everyone()
    }

    delegate! {
        async fn tags(&self, after: Option<&str>, limit: usize) -> Result<Page<Tag>, ManifestError>;
        async fn manifest(&self, reference: &Reference) -> Result<ManifestRecord, ManifestError>;
        async fn probe_manifest(&self, reference: &Reference) -> Result<ManifestRecord, ManifestError>;
        async fn read_blob(&self, blob: &BlobRecord, range: Range<u64>) -> Result<Content, BlobError>;
        async fn referrers(
            &self, subject: &Digest, artifact_type: Option<&str>, after: Option<&Digest>, limit: usize
        ) -> Result<Page<ReferrerRecord>, ManifestError>;
    }

    pub(super) fn record_pull(&self, digest: &Digest) {
        self.repository.record_pull(digest);
    }

    pub(super) fn record_unchanged_push(&self, tag: &Tag, manifest: &ManifestRecord) {
        self.repository.record_unchanged_push(tag, manifest);
    }

    /// Returns a blob. Clients that push check with HEAD whether they have to upload, so HEAD leases the blob. GET is a
    /// pull and leases nothing.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<BlobRecord, BlobError> {
        if self.call.is_head() {
            self.repository.blob(digest).await
        } else {
            self.repository.without_push().blob(digest).await
        }
    }

    /// Reads several ranges of a blob.
    pub(super) async fn read_parts(&self, blob: &BlobRecord, parts: Multipart) -> Result<Payload, BlobError> {
        parts.payload(&self.repository, blob).await
    }
}

/// The right to push to a repository. Its changes are recorded under the principal's name, and its requests count
/// towards the fair share of their client.
pub(super) struct PushRight<'a> {
    pub(super) call: Call<'a>,
    pub(super) body: RequestBody,
    repository: Repository,
}

impl<'a> PushRight<'a> {
    pub(super) fn new(call: Call<'a>, body: RequestBody, name: &RepoName) -> Self {
        let repository = repository_for_change(&call, name, Access { push: true }).for_client(call.client());
        Self { call, body, repository }
    }

    pub(super) fn name(&self) -> &RepoName {
        self.repository.name()
    }

    delegate! {
        /// The manifest that a push replaces.
        async fn manifest(&self, reference: &Reference) -> Result<ManifestRecord, ManifestError>;
        async fn manifest_place(&self, len: usize) -> Result<ManifestPlace, ServiceError>;
        async fn start_upload(&self, algorithm: Algorithm) -> Result<UploadId, UploadError>;
        async fn upload_offset(&self, id: UploadId) -> Result<u64, UploadError>;
        async fn append(
            &self, id: UploadId, range: Option<RangeInclusive<u64>>, body: ClientBody
        ) -> Result<u64, UploadError>;
        async fn finish(
            &self, id: UploadId, range: Option<RangeInclusive<u64>>, body: ClientBody, digest: Digest
        ) -> Result<(), UploadError>;
        async fn cancel_upload(&self, id: UploadId) -> Result<(), UploadError>;
    }

    /// Stores a manifest, if the principal still holds the permission: the body may have taken a while.
    pub(super) async fn put_manifest(&self, request: PutRequest) -> Result<PutReceipt, V2Error> {
        self.check_still_allowed()?;
        Ok(self.repository.put_manifest(request).await?)
    }

    /// Checks again that the principal is valid and may push: either may have changed since the request's head was
    /// read.
    fn check_still_allowed(&self) -> Result<(), AuthRejection> {
        let Call { state, head, principal, .. } = &self.call;
        let permission = Permission::Repository(self.name(), Action::Push);
        let denied = |error, principal| AuthRejection::new(error, state, head, permission, principal);
        if !state.access_control.is_still_valid(principal) {
            return Err(denied(AuthError::Unauthenticated, None));
        }
        let decision = state.access_control.decide(principal, permission);
        decision.map_err(|error| denied(error, Some(principal)))
    }

    /// Mounts a blob from the repository `from`, or else from any repository that the principal may pull. A blob that
    /// the principal may not pull is treated as missing: the client then uploads it and does not learn that it exists.
    pub(super) async fn mount(&self, digest: &Digest, from: Option<&str>) -> Result<bool, BlobError> {
        let call = &self.call;
        let from = match from.map(str::parse::<RepoName>) {
            Some(Ok(from)) if call.may(Permission::Repository(&from, Action::Pull)) => Some(from),
            // A repository with an invalid name has no blobs.
            Some(_) => return Ok(false),
            None if call.user_may(Permission::Scope(&Scope::All, Action::Pull)) => None,
            None => {
                let mut sources = self.repository.repositories_with(digest).await?.into_iter();
                let readable = sources.find(|name| call.user_may(Permission::Repository(name, Action::Pull)));
                let Some(source) = readable else { return Ok(false) };
                Some(source)
            }
        };
        Ok(self.repository.mount(digest, from.as_ref()).await?.is_some())
    }
}

/// The right to delete from a repository. Its changes are recorded under the principal's name.
pub(super) struct DeleteRight {
    repository: Repository,
}

impl DeleteRight {
    pub(super) fn new(call: &Call<'_>, name: &RepoName) -> Self {
        Self { repository: repository_for_change(call, name, Access { push: false }) }
    }

    delegate! {
        async fn delete_tag(&self, tag: &Tag) -> Result<(), DeleteError>;
        async fn delete_manifest(&self, digest: &Digest) -> Result<(), DeleteError>;
        async fn delete_blob(&self, digest: &Digest) -> Result<(), DeleteError>;
    }
}

fn repository_for_change(call: &Call<'_>, name: &RepoName, access: Access) -> Repository {
    let by = call.principal.name_or(|| call.peer.name());
    call.state.registry.repository(name.clone(), access).on_behalf_of(&by)
}
