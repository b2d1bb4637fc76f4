//! Maps the operations of the API to the actions of the audit log.

use http::Method;

#[allow(clippy::enum_glob_use, reason = "the table below names nearly all of them")]
use crate::metadata::AuditAction::{self, *};

/// The audit action of an API operation, by its method and its path in the OpenAPI document. `None` if the operation is
/// not listed here: it is then recorded as a generic change.
pub(crate) fn action(method: &Method, path: &str) -> Option<AuditAction> {
    Some(match (method.as_str(), path) {
        ("GET" | "HEAD", _) => Read,
        ("PUT", "/repositories/{name}/tags/{tag}") => TagPoint,
        ("DELETE", "/repositories/{name}/tags/{tag}") => TagDelete,
        ("POST", "/repositories/{name}/tags/{tag}/rollback") => TagRollback,
        ("DELETE", "/repositories/{name}/manifests/{digest}") => ManifestDelete,
        ("DELETE", "/repositories/{name}") => RepositoryDelete,
        ("POST", "/repositories/{name}/restore") => RepositoryRestore,
        ("POST", "/repositories/{name}/rename") => RepositoryRename,
        ("POST", "/trash/restore") => TrashRestore,
        ("POST", "/trash/empty") => TrashEmpty,
        ("PUT", "/retention/policies/{name}") => PolicySet,
        ("DELETE", "/retention/policies/{name}") => PolicyRemove,
        ("POST", "/retention/apply") => RetentionApply,
        // These only compute a result and change nothing.
        ("POST", "/retention/check" | "/retention/import") => Read,
        ("PUT", "/accounts/{account}") => AccountAdd,
        ("PATCH", "/accounts/{account}") => AccountUpdate,
        ("DELETE", "/accounts/{account}") => AccountRemove,
        ("PUT", "/organisations/{organisation}") => OrganisationAdd,
        ("DELETE", "/organisations/{organisation}") => OrganisationRemove,
        ("PUT", "/organisations/{organisation}/teams/{team}") => TeamAdd,
        ("DELETE", "/organisations/{organisation}/teams/{team}") => TeamRemove,
        ("PUT", "/organisations/{organisation}/teams/{team}/members/{user}") => TeamJoin,
        ("DELETE", "/organisations/{organisation}/teams/{team}/members/{user}") => TeamLeave,
        ("PUT", "/grants") => GrantSet,
        ("DELETE", "/grants") => GrantRemove,
        ("POST", "/tokens") => TokenAdd,
        ("DELETE", "/tokens/{id}") => TokenRevoke,
        ("POST", "/token-keys/rotate") => TokenKeyRotate,
        _ => return None,
    })
}
