//! Roles: who may do what, and where. Administrators of a part of the repositories see and change the roles there.

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::form::Form;
use super::format::Moment;
use super::listing::ShortList;
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::state::Action;
use super::visitor::Visitor;
use crate::http::api::{self, GrantParameters, GrantRequest};
use crate::http::query::encode;
use crate::metadata::{AuditAction, GrantRecord, Grantee};

#[derive(Template)]
#[template(path = "web/roles.html")]
struct RolesPage<'a> {
    chrome: &'a Chrome,
    listing: ShortList,
    grants: Vec<GrantItem>,
    grantee: &'a str,
    scope: &'a str,
}

/// A role that is granted.
pub(super) struct GrantItem {
    pub(super) grantee: String,
    /// The page of the user, for those who may see it.
    pub(super) user_link: Option<String>,
    pub(super) role: &'static str,
    pub(super) scope: String,
    pub(super) set: Moment,
    pub(super) by: Option<String>,
}

impl GrantItem {
    pub(super) fn new(visitor: &Visitor, grant: &GrantRecord) -> Self {
        let user_link = match &grant.grantee {
            Grantee::User(user) if visitor.chrome().is_admin => Some(user_path(user)),
            _ => None,
        };
        Self {
            grantee: grant.grantee.to_string(),
            user_link,
            role: grant.role.name(),
            scope: grant.scope.to_string(),
            set: visitor.moment(grant.set_at),
            by: grant.by.clone(),
        }
    }
}

/// The path of the page of a user.
pub(super) fn user_path(user: &str) -> String {
    format!("/people/users/{}", encode(user))
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/people/set-role", AuditAction::GrantSet, set_role),
        Action::new("/actions/people/remove-role", AuditAction::GrantRemove, remove_role),
    ]
}

/// The roles in the scopes that the visitor administers.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    super::teams::require_manager(&visitor)?;
    let grants = api::administered_grants(visitor.requester())?;
    let mut listing = ShortList::of(&visitor, "/people/roles");
    let found =
        grants.iter().filter(|grant| listing.matches(&[&grant.grantee.to_string(), grant.scope.as_str()]));
    let found: Vec<_> = found.collect();
    let grants = listing.cut(found).into_iter().map(|grant| GrantItem::new(&visitor, grant)).collect();
    let grantee = visitor.query("grantee").unwrap_or_default();
    let scope = visitor.query("scope").unwrap_or_default();
    Ok(page(StatusCode::OK, &RolesPage { chrome: visitor.chrome(), listing, grants, grantee, scope }))
}

async fn set_role(form: Form) -> ActionResult {
    let request = GrantRequest {
        grantee: form.parse("grantee")?,
        scope: form.parse("scope")?,
        role: form.parse("role")?,
    };
    form.audit(Some(request.scope.clone()), format!("{} {}", request.grantee, request.role));
    api::set_grant(form.visitor.requester(), request).await?;
    Ok(Done::go_to(form.next_or("/people/roles")).saying(Notice::RoleSaved))
}

async fn remove_role(form: Form) -> ActionResult {
    let parameters = GrantParameters { grantee: form.parse("grantee")?, scope: form.parse("scope")? };
    form.audit(Some(parameters.scope.clone()), parameters.grantee.to_string());
    api::remove_grant(form.visitor.requester(), parameters).await?;
    Ok(Done::go_to(form.next_or("/people/roles")).saying(Notice::RoleRemoved))
}
