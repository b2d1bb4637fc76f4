//! Explains which roles a user has, and why.

use super::access_control::AccessControl;
use crate::metadata::{AccountKind, Grantee, Role, Scope};
use crate::oci::RepoName;

/// Why a user has a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleReason {
    /// The user is the first administrator.
    FirstAdministrator,
    /// The user is in the htpasswd file, whose users have the role through a setting.
    HtpasswdFile,
    /// The role is granted to the user, a team of the user, all users or everybody.
    Granted(Grantee),
}

impl AccessControl {
    /// The roles of a user, with their scopes and reasons. Does not include what everybody may do by the settings.
    pub fn roles_of(&self, user: &str) -> Vec<(Scope, Role, RoleReason)> {
        let directory = self.accounts().current();
        let kind = directory.account(user).map(|account| account.kind);
        let htpasswd_role = self.with_rights(|rights| rights.htpasswd_role_of(user));
        let first =
            (kind == Some(AccountKind::Bootstrap)).then_some((Role::Admin, RoleReason::FirstAdministrator));
        let of_file = htpasswd_role.map(|role| (role, RoleReason::HtpasswdFile));
        let everywhere = first.into_iter().chain(of_file).map(|(role, reason)| (Scope::All, role, reason));
        let granted = directory.grants_of(user);
        let granted = granted
            .map(|grant| (grant.scope.clone(), grant.role, RoleReason::Granted(grant.grantee.clone())));
        everywhere.chain(granted).collect()
    }

    /// The role of a user, or of anonymous users if `None`, on a repository, with one sentence for each reason.
    pub fn explain(&self, user: Option<&str>, name: &RepoName) -> (Option<Role>, Vec<String>) {
        let directory = self.accounts().current();
        let account = user.and_then(|user| directory.account(user));
        let mut because = Vec::new();
        if let Some(user) = user {
            if !self.has_user(user) {
                return (None, vec![format!("user {user} not found")]);
            }
            if account.is_some_and(|account| account.disabled) {
                return (None, vec![format!("{user} is disabled")]);
            }
            if account.is_some_and(|account| account.kind == AccountKind::Bootstrap) {
                because.push(format!("{user} is the first administrator, who may do everything"));
            }
        }
        let (role, everybody, htpasswd_role) = self.with_rights(|rights| {
            let everybody = rights.role_of_everybody(name);
            let role = user.map_or(everybody, |user| rights.role(user, name));
            (role, everybody, user.and_then(|user| rights.htpasswd_role_of(user)))
        });
        if let (Some(role), Some(user)) = (htpasswd_role, user) {
            because.push(format!(
                "{user} is in the htpasswd file, whose users have {role} through auth.htpasswd_role"
            ));
        }
        for grant in directory.grants_of(user.unwrap_or_default()).filter(|grant| grant.scope.includes(name))
        {
            if user.is_none() && grant.grantee != Grantee::Everybody {
                continue;
            }
            let place = match grant.scope.as_str() {
                "" => "everything".to_owned(),
                scope => scope.to_owned(),
            };
            because.push(format!("{} has {} on {place}", grant.grantee, grant.role));
        }
        let granted_to_everybody =
            directory.roles_of_everybody().iter().filter(|(scope, _)| scope.includes(name));
        if everybody > granted_to_everybody.map(|(_, role)| *role).max()
            && let Some(role) = everybody
        {
            because.push(format!("everybody has {role} there through auth.mode, auth.modes or auth.public"));
        }
        if because.is_empty() {
            because.push("no grant or setting gives a role there".to_owned());
        }
        (role, because)
    }
}
