//! What the bodies of requests name, as the audit log tells it: never a secret.

use serde_json::{Map, Value};

use super::{
    AccountRequest, AccountUpdate, ApplyRequest, EmptyRequest, GrantRequest, RenameRequest, RestoreRequest,
    RollbackRequest, RotateRequest, TagTarget, TokenRequest, UndeleteRequest,
};
use crate::http::audit::{About, Named};
use crate::metadata::Scope;
use crate::retention::Policy;

/// The repository of this name, if that is one.
fn one(repository: Option<&String>) -> Option<Scope> {
    repository.and_then(|name| name.parse().ok()).map(Scope::One)
}

fn subject(subject: impl ToString) -> Named {
    Named { scope: None, subject: Some(subject.to_string()) }
}

impl About for AccountRequest {
    fn about(&self) -> Named {
        let role = |there: &super::RoleThere| format!("{} on {:?}", there.role, there.scope.as_str());
        let roles: Vec<String> = self.roles.iter().map(role).collect();
        Named { scope: None, subject: (!roles.is_empty()).then(|| format!("with {}", roles.join(", "))) }
    }
}

impl About for AccountUpdate {
    fn about(&self) -> Named {
        let password = (self.password.is_some() || self.new_password).then_some("password");
        let disabled = self.disabled.map(|disabled| if disabled { "disabled" } else { "enabled" });
        let changed: Vec<_> = password.into_iter().chain(disabled).collect();
        Named { scope: None, subject: (!changed.is_empty()).then(|| format!("({})", changed.join(", "))) }
    }
}

impl About for GrantRequest {
    fn about(&self) -> Named {
        let subject = format!("{} {}", self.grantee, self.role);
        Named { scope: Some(self.scope.clone()), subject: Some(subject) }
    }
}

impl About for TokenRequest {
    fn about(&self) -> Named {
        let subject = format!("{} {} {}", self.account, self.role, self.name);
        Named { scope: Some(self.scope.clone()), subject: Some(subject.trim_end().to_owned()) }
    }
}

impl About for RestoreRequest {
    fn about(&self) -> Named {
        Named {
            scope: one(Some(&self.repository)),
            subject: self.digest.clone().or_else(|| self.tag.clone()),
        }
    }
}

impl About for EmptyRequest {
    fn about(&self) -> Named {
        Named { scope: one(self.repository.as_ref()), subject: None }
    }
}

impl About for ApplyRequest {
    fn about(&self) -> Named {
        let subject = self.plan.map(|plan| plan.to_string());
        Named { scope: one(self.repository.as_ref()), subject }
    }
}

impl About for RenameRequest {
    fn about(&self) -> Named {
        subject(&self.to)
    }
}

impl About for RotateRequest {
    fn about(&self) -> Named {
        Named { scope: None, subject: self.at_once.then(|| "at once".to_owned()) }
    }
}

impl About for TagTarget {
    fn about(&self) -> Named {
        subject(&self.digest)
    }
}

impl About for RollbackRequest {
    fn about(&self) -> Named {
        Named { scope: None, subject: self.to.clone() }
    }
}

// The path says it all.
impl About for UndeleteRequest {}
impl About for Policy {}
// Nothing is changed by it.
impl About for Map<String, Value> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_body_names_a_secret() {
        let request = AccountRequest { password: Some("hunter2".into()), ..AccountRequest::default() };
        assert_eq!(request.about(), Named::default());
        let update =
            AccountUpdate { password: Some("hunter2".into()), disabled: Some(true), new_password: false };
        assert_eq!(update.about().subject.as_deref(), Some("(password, disabled)"));
    }
}
