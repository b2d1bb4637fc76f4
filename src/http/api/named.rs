//! The part of each request body that the audit log records. It never includes a secret.

use serde_json::{Map, Value};

use super::request_audit::{AuditBody, AuditTarget};
use super::{
    AccountRequest, AccountUpdate, ApplyRequest, EmptyRequest, GrantRequest, RenameRequest, RestoreRequest,
    RollbackRequest, RotateRequest, TagTarget, TokenRequest, UndeleteRequest,
};
use crate::metadata::Scope;
use crate::retention::Policy;

/// The scope of the repository with this name, if the name is valid.
fn repository_scope(repository: Option<&String>) -> Option<Scope> {
    repository.and_then(|name| name.parse().ok()).map(Scope::One)
}

fn subject(subject: impl ToString) -> AuditTarget {
    AuditTarget { scope: None, subject: Some(subject.to_string()) }
}

impl AuditBody for AccountRequest {
    fn audit_target(&self) -> AuditTarget {
        let role = |there: &super::RoleThere| format!("{} on {:?}", there.role, there.scope.as_str());
        let roles: Vec<String> = self.roles.iter().map(role).collect();
        AuditTarget {
            scope: None,
            subject: (!roles.is_empty()).then(|| format!("with {}", roles.join(", "))),
        }
    }
}

impl AuditBody for AccountUpdate {
    fn audit_target(&self) -> AuditTarget {
        let password = (self.password.is_some() || self.new_password).then_some("password");
        let disabled = self.disabled.map(|disabled| if disabled { "disabled" } else { "enabled" });
        let changed: Vec<_> = password.into_iter().chain(disabled).collect();
        AuditTarget {
            scope: None,
            subject: (!changed.is_empty()).then(|| format!("({})", changed.join(", "))),
        }
    }
}

impl AuditBody for GrantRequest {
    fn audit_target(&self) -> AuditTarget {
        let subject = format!("{} {}", self.grantee, self.role);
        AuditTarget { scope: Some(self.scope.clone()), subject: Some(subject) }
    }
}

impl AuditBody for TokenRequest {
    fn audit_target(&self) -> AuditTarget {
        let subject = format!("{} {} {}", self.account, self.role, self.name);
        AuditTarget { scope: Some(self.scope.clone()), subject: Some(subject.trim_end().to_owned()) }
    }
}

impl AuditBody for RestoreRequest {
    fn audit_target(&self) -> AuditTarget {
        AuditTarget {
            scope: repository_scope(Some(&self.repository)),
            subject: self.digest.clone().or_else(|| self.tag.clone()),
        }
    }
}

impl AuditBody for EmptyRequest {
    fn audit_target(&self) -> AuditTarget {
        AuditTarget { scope: repository_scope(self.repository.as_ref()), subject: None }
    }
}

impl AuditBody for ApplyRequest {
    fn audit_target(&self) -> AuditTarget {
        let subject = self.plan.map(|plan| plan.to_string());
        AuditTarget { scope: repository_scope(self.repository.as_ref()), subject }
    }
}

impl AuditBody for RenameRequest {
    fn audit_target(&self) -> AuditTarget {
        subject(&self.to)
    }
}

impl AuditBody for RotateRequest {
    fn audit_target(&self) -> AuditTarget {
        AuditTarget { scope: None, subject: self.at_once.then(|| "at once".to_owned()) }
    }
}

impl AuditBody for TagTarget {
    fn audit_target(&self) -> AuditTarget {
        subject(&self.digest)
    }
}

impl AuditBody for RollbackRequest {
    fn audit_target(&self) -> AuditTarget {
        AuditTarget { scope: None, subject: self.to.clone() }
    }
}

// The path names everything that the request affects.
impl AuditBody for UndeleteRequest {}
impl AuditBody for Policy {}
// Such a request changes nothing.
impl AuditBody for Map<String, Value> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_targets_contain_no_secret() {
        let request = AccountRequest { password: Some("hunter2".into()), ..AccountRequest::default() };
        assert_eq!(request.audit_target(), AuditTarget::default());
        let update =
            AccountUpdate { password: Some("hunter2".into()), disabled: Some(true), new_password: false };
        assert_eq!(update.audit_target().subject.as_deref(), Some("(password, disabled)"));
    }
}
