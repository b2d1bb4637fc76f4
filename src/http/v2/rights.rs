//! The way of a request below `/v2` to its right.
//!
//! A [`Route`] is what an endpoint does for a method, and names the permission that this requires. A [`Call`] is the
//! head of an authorised request; it gives handlers no access to the registry. The rights are types: each allows what
//! its permission allows and nothing else. Only `v2::grant` makes them.

use std::ops::{Range, RangeInclusive};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::error::V2Error;
use super::multipart::Multipart;
use crate::auth::{Action, AuthError, Permission, Principal};
use crate::fair::Client;
use crate::http::listen::Peer;
use crate::http::payload::Payload;
use crate::http::query::Query;
use crate::http::rejection::AuthRejection;
use crate::http::reply::{Reply, value};
use crate::http::request_body::RequestBody;
use crate::http::state::{AppState, HttpSettings};
use crate::memory::{Holder, Purpose, Reservation};
use crate::metadata::{BlobRecord, ListPage, ManifestRecord, ReferrerRecord, Scope};
use crate::oci::{Algorithm, Digest, Endpoint, ErrorCode, PathError, Reference, RepoName, Tag, UploadId};
use crate::registry::{
    Access, BlobError, ClientBody, DeleteError, ManifestError, ManifestPlace, Page, PutReceipt, PutRequest,
    Repository, ServiceError, UploadError,
};
use crate::store::Content;

/// Shows a message to the user of a client (OCI distribution specification, "Warnings").
const WARNING: HeaderName = HeaderName::from_static("warning");

/// The most bytes of all warnings of a response together.
const MAX_WARNING_BYTES: usize = 4096;

/// A request below `/v2`, by the right that it requires.
#[derive(Clone, Copy)]
pub(in crate::http) enum Route<'a> {
    Base,
    Catalog,
    Pull(&'a RepoName, PullRoute<'a>),
    Push(&'a RepoName, PushRoute<'a>),
    Delete(&'a RepoName, DeleteRoute<'a>),
    /// The endpoint does not support the method; `allow` lists the methods that it does support.
    Unsupported {
        permission: Permission<'a>,
        allow: &'static str,
    },
    Invalid(PathError),
}

/// A request that reads from a repository.
#[derive(Clone, Copy)]
pub(in crate::http) enum PullRoute<'a> {
    Tags,
    Referrers(&'a Digest),
    Manifest(&'a Reference),
    Blob(&'a Digest),
}

/// A request that pushes to a repository.
#[derive(Clone, Copy)]
pub(in crate::http) enum PushRoute<'a> {
    Manifest(&'a Reference),
    StartUpload,
    UploadStatus(UploadId),
    AppendUpload(UploadId),
    FinishUpload(UploadId),
    CancelUpload(UploadId),
}

/// A request that deletes from a repository.
#[derive(Clone, Copy)]
pub(in crate::http) enum DeleteRoute<'a> {
    Manifest(&'a Reference),
    Blob(&'a Digest),
}

impl<'a> Route<'a> {
    pub(in crate::http) fn new(endpoint: &'a Result<Endpoint, PathError>, method: &Method) -> Self {
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => return Self::Invalid(*error),
        };
        match (endpoint, method) {
            (Endpoint::Base, &Method::GET | &Method::HEAD) => Self::Base,
            (Endpoint::Catalog, &Method::GET | &Method::HEAD) => Self::Catalog,
            (Endpoint::Tags { name }, &Method::GET | &Method::HEAD) => Self::Pull(name, PullRoute::Tags),
            (Endpoint::Referrers { name, digest }, &Method::GET | &Method::HEAD) => {
                Self::Pull(name, PullRoute::Referrers(digest))
            }
            (Endpoint::Manifest { name, reference }, &Method::GET | &Method::HEAD) => {
                Self::Pull(name, PullRoute::Manifest(reference))
            }
            (Endpoint::Manifest { name, reference }, &Method::PUT) => {
                Self::Push(name, PushRoute::Manifest(reference))
            }
            (Endpoint::Manifest { name, reference }, &Method::DELETE) => {
                Self::Delete(name, DeleteRoute::Manifest(reference))
            }
            (Endpoint::Blob { name, digest }, &Method::GET | &Method::HEAD) => {
                Self::Pull(name, PullRoute::Blob(digest))
            }
            (Endpoint::Blob { name, digest }, &Method::DELETE) => {
                Self::Delete(name, DeleteRoute::Blob(digest))
            }
            (Endpoint::Uploads { name }, &Method::POST) => Self::Push(name, PushRoute::StartUpload),
            // Only the client that started an upload reads its progress or cancels it, so both require push.
            (Endpoint::Upload { name, id }, &Method::GET | &Method::HEAD) => {
                Self::Push(name, PushRoute::UploadStatus(*id))
            }
            (Endpoint::Upload { name, id }, &Method::PATCH) => Self::Push(name, PushRoute::AppendUpload(*id)),
            (Endpoint::Upload { name, id }, &Method::PUT) => Self::Push(name, PushRoute::FinishUpload(*id)),
            (Endpoint::Upload { name, id }, &Method::DELETE) => {
                Self::Push(name, PushRoute::CancelUpload(*id))
            }
            _ => Self::unsupported(endpoint, method),
        }
    }

    /// A method that the endpoint does not support. Only a client that could change the repository learns that.
    fn unsupported(endpoint: &'a Endpoint, method: &Method) -> Self {
        let (allow, action) = match endpoint {
            Endpoint::Base | Endpoint::Catalog | Endpoint::Tags { .. } | Endpoint::Referrers { .. } => {
                let deletes = *method == Method::DELETE;
                ("GET, HEAD", if deletes { Action::Delete } else { Action::Push })
            }
            Endpoint::Manifest { .. } => ("GET, HEAD, PUT, DELETE", Action::Push),
            Endpoint::Blob { .. } => ("GET, HEAD, DELETE", Action::Push),
            Endpoint::Uploads { .. } => ("POST", Action::Push),
            Endpoint::Upload { .. } => ("GET, HEAD, PATCH, PUT, DELETE", Action::Push),
        };
        let permission =
            endpoint.name().map_or(Permission::Other, |name| Permission::Repository(name, action));
        Self::Unsupported { permission, allow }
    }

    /// The permission that the request requires. `source` is its [`mount_source`].
    pub(in crate::http) fn required_permission(self, source: Option<&'a RepoName>) -> Permission<'a> {
        let permission = match self {
            Self::Base => Permission::Registry,
            Self::Catalog => Permission::Catalog,
            Self::Pull(name, _) => Permission::Repository(name, Action::Pull),
            Self::Push(name, _) => Permission::Repository(name, Action::Push),
            Self::Delete(name, _) => Permission::Repository(name, Action::Delete),
            Self::Unsupported { permission, .. } => permission,
            Self::Invalid(_) => Permission::Other,
        };
        match (permission, source) {
            // Without a source no token can name the repository to pull from, so the user's own permission to pull
            // counts.
            (Permission::Repository(name, Action::Push), Some(source)) => Permission::Mount(name, source),
            (permission, _) => permission,
        }
    }
}

/// The repository from which a request mounts a blob.
pub(in crate::http) fn mount_source(endpoint: &Result<Endpoint, PathError>, uri: &Uri) -> Option<RepoName> {
    // Other requests, most of all pulls, have no such parameters: do not parse their query.
    let Ok(Endpoint::Uploads { .. }) = endpoint else { return None };
    let query = Query::new(uri.query());
    query.get("mount")?;
    query.get("from")?.parse().ok()
}

/// A request, with the state that it is answered from.
pub(super) struct Call<'a> {
    pub(super) state: &'a AppState,
    pub(super) head: Parts,
    pub(super) peer: Peer,
    /// The authenticated sender.
    pub(super) principal: Principal,
}

impl Call<'_> {
    /// Whether the principal holds a permission.
    pub(super) fn may(&self, permission: Permission<'_>) -> bool {
        self.state.access_control.allows(&self.principal, permission)
    }

    /// Whether the principal holds a permission, or would hold it with another token of the same user.
    pub(super) fn user_may(&self, permission: Permission<'_>) -> bool {
        self.state.access_control.can_with_new_token(&self.principal, permission)
    }

    /// The client whose share of a resource the request uses: its user, or else its address. The clients of a proxy
    /// that does not name them do not count as one client.
    pub(super) fn client(&self) -> Client {
        if let Some(user) = self.principal.name() {
            return Client::User(user.into());
        }
        match self.peer.address() {
            _ if self.settings().trusted_proxies.is_proxy(self.peer) => Client::single_request(),
            Some(address) => Client::from_address(address),
            None => Client::Local,
        }
    }

    /// Reserves memory for the response.
    pub(super) async fn reserve(&self, purpose: Purpose, bytes: usize) -> Result<Reservation, ServiceError> {
        let is_known = self.state.access_control.is_known(&self.principal);
        let holder = if is_known { Holder::Authenticated } else { Holder::Anonymous };
        Ok(self.state.registry.memory().reserve(holder, purpose, bytes).await?)
    }

    pub(super) fn settings(&self) -> &HttpSettings {
        &self.state.settings
    }

    /// Whether the response must have no body.
    pub(super) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::new(self.head.uri.query())
    }

    /// Parses a query parameter, if the request has it.
    pub(super) fn parameter<T>(&self, name: &str) -> Result<Option<T>, V2Error>
    where
        T: std::str::FromStr,
        V2Error: From<T::Err>,
    {
        self.query().get(name).map(|text| text.parse()).transpose().map_err(V2Error::from)
    }

    /// The text of a header; `code` is the error code if its value is not text.
    pub(super) fn header(&self, name: HeaderName, code: ErrorCode) -> Result<Option<&str>, V2Error> {
        let text = self.head.headers.get(&name).map(HeaderValue::to_str).transpose();
        text.map_err(|_| V2Error::bad(code, format!("the value of the header {name} is not text")))
    }

    /// The address of an endpoint, for a `Location` header.
    pub(super) fn location(&self, endpoint: &Endpoint) -> HeaderValue {
        value(self.settings().locate(endpoint.path()))
    }

    /// Adds the server's current warnings, such as a nearly full disk, to the reply to a push.
    pub(super) fn with_warnings(&self, reply: Reply) -> Reply {
        add_warnings(reply, &self.state.health.warnings())
    }
}

/// Adds warnings to a reply, up to [`MAX_WARNING_BYTES`].
fn add_warnings(mut reply: Reply, warnings: &[String]) -> Reply {
    let mut left = MAX_WARNING_BYTES;
    for text in warnings {
        let Some(value) = warning(text) else { continue };
        let Some(rest) = left.checked_sub(value.len()) else { break };
        left = rest;
        reply = reply.with(WARNING, value);
    }
    reply
}

/// `299 - "<text>"`. `None` if the text has characters that a header must not contain.
fn warning(text: &str) -> Option<HeaderValue> {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::try_from(format!("299 - \"{quoted}\"")).ok()
}

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

    /// Returns a blob. Clients that push check with HEAD whether they have to upload, so HEAD verifies and leases the
    /// blob. GET is a pull and leases nothing.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<BlobRecord, BlobError> {
        if self.call.is_head() {
            self.repository.probe_blob(digest).await
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

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn every_method_of_every_endpoint_requires_its_permission() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let app = "app".parse().expect("a name");
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OTHER"];
        let repository = |action| Permission::Repository(&app, action);
        let push = [repository(Action::Push); 7];
        let of_content = methods.map(|method| match method {
            "GET" | "HEAD" => repository(Action::Pull),
            "DELETE" => repository(Action::Delete),
            _ => repository(Action::Push),
        });
        let read_only = |permission| {
            methods
                .map(|method| if matches!(method, "GET" | "HEAD") { permission } else { Permission::Other })
        };
        for (path, expected) in [
            ("/v2/", read_only(Permission::Registry)),
            ("/v2/_catalog", read_only(Permission::Catalog)),
            ("/v2/app/tags/list", of_content),
            (format!("/v2/app/referrers/{digest}").as_str(), of_content),
            ("/v2/app/manifests/tag", of_content),
            (format!("/v2/app/blobs/{digest}").as_str(), of_content),
            ("/v2/app/blobs/uploads/", push),
            ("/v2/app/blobs/uploads/00000000-0000-4000-8000-000000000000", push),
            ("/v2/app/manifests/", [Permission::Other; 7]),
        ] {
            let endpoint = Endpoint::parse(path);
            for (method, expected) in methods.into_iter().zip(expected) {
                let route = Route::new(&endpoint, &method.parse().expect("a method"));
                assert_eq!(route.required_permission(None), expected, "{method} {path}");
            }
        }
    }

    #[test]
    fn a_mount_also_requires_pull_on_its_source() {
        let endpoint = Endpoint::parse("/v2/app/blobs/uploads/");
        let uri = Uri::from_static("/v2/app/blobs/uploads/?mount=sha256:0&from=base");
        let source = mount_source(&endpoint, &uri);
        let app = "app".parse().expect("a name");
        let base = "base".parse().expect("a name");
        let route = Route::new(&endpoint, &Method::POST);
        assert_eq!(route.required_permission(source.as_ref()), Permission::Mount(&app, &base));
    }

    fn warnings(texts: &[&str]) -> Vec<String> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let response = add_warnings(Reply::new(StatusCode::OK), &texts).into_response();
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        response.headers().get_all(WARNING).iter().map(text).collect()
    }

    #[test]
    fn a_warning_is_a_quoted_string() {
        assert_eq!(warnings(&["the disk is \"full\""]), [r#"299 - "the disk is \"full\"""#]);
        assert!(warnings(&["two\r\nlines"]).is_empty());
        assert!(warnings(&[]).is_empty());
    }

    #[test]
    fn all_warnings_together_are_bounded() {
        let long = "x".repeat(2000);
        let warnings = warnings(&[&long, &long, &long]);
        assert_eq!(warnings.len(), 2);
        assert!(warnings.iter().map(String::len).sum::<usize>() <= MAX_WARNING_BYTES);
    }
}
