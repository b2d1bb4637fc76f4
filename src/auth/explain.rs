//! Why somebody may do something, or may not.

use super::access_control::AccessControl;
use crate::metadata::{AccountKind, Grantee, Role};
use crate::oci::RepoName;

impl AccessControl {
    /// What a user may do to a repository, or everybody if none is named, and why, a sentence each.
    pub fn explain(&self, user: Option<&str>, name: &RepoName) -> (Option<Role>, Vec<String>) {
        let directory = self.accounts().now();
        let account = user.and_then(|user| directory.account(user));
        let mut because = Vec::new();
        if let Some(user) = user {
            if !self.knows(user) {
                return (None, vec![format!("there is no user {user}")]);
            }
            if account.is_some_and(|account| account.disabled) {
                return (None, vec![format!("{user} is disabled")]);
            }
            if account.is_some_and(|account| account.kind == AccountKind::Bootstrap) {
                because.push(format!("{user} is the first administrator"));
            }
        }
        let (role, everybody, by_file) = self.with_rights(|rights| {
            let everybody = rights.role_of_everybody(name);
            let role = user.map_or(everybody, |user| rights.role(user, name));
            (role, everybody, user.and_then(|user| rights.by_file(user)))
        });
        if let (Some(role), Some(user)) = (by_file, user) {
            because.push(format!(
                "auth.htpasswd_role gives {role} to the users of the password file, as {user} is"
            ));
        }
        let by_name = user.unwrap_or_default();
        for grant in directory.grants_of(by_name).filter(|grant| grant.scope.holds(name)) {
            if user.is_none() && grant.grantee != Grantee::Everybody {
                continue;
            }
            let place = match grant.scope.as_str() {
                "" => "everything".to_owned(),
                scope => scope.to_owned(),
            };
            because.push(format!("{} has {} on {place}", grant.grantee, grant.role));
        }
        let granted = directory.held_by_everybody().iter().filter(|(scope, _)| scope.holds(name));
        if everybody > granted.map(|(_, role)| *role).max()
            && let Some(role) = everybody
        {
            because.push(format!("everybody has {role} there by auth.mode, auth.modes or auth.public"));
        }
        if because.is_empty() {
            because.push("nothing gives any role there".to_owned());
        }
        (role, because)
    }
}
