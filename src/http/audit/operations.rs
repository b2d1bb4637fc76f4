//! The API's operations, as the audit log names them.

use http::Method;

use crate::metadata::AuditAction::{self, *};

/// What an operation of the API is, by its method and its path in the document. `None` for one that is not in this list:
/// what it changes is recorded as some change.
pub(in crate::http) fn action(method: &Method, path: &str) -> Option<AuditAction> {
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
        // They tell what would be, and change nothing.
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
