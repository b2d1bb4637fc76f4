//! The routes below `/v2`: what each endpoint and method does, and the permission that it requires.

use http::{Method, Uri};

use crate::auth::{Action, Permission};
use crate::http::query::Query;
use crate::oci::{Digest, Endpoint, PathError, Reference, RepoName, UploadId};

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

#[cfg(test)]
mod tests {
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
}
