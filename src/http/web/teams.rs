//! Organisations, their teams and the members of teams.

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::form::Form;
use super::listing::ShortList;
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::state::Action;
use super::visitor::Visitor;
use crate::http::api::{self, Organisation, OrganisationChange, Problem};
use crate::metadata::{AuditAction, Scope};

#[derive(Template)]
#[template(path = "web/teams.html")]
struct TeamsPage<'a> {
    chrome: &'a Chrome,
    listing: ShortList,
    organisations: Vec<Organisation>,
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/people/add-organisation", AuditAction::OrganisationAdd, add_organisation),
        Action::new(
            "/actions/people/remove-organisation",
            AuditAction::OrganisationRemove,
            remove_organisation,
        ),
        Action::new("/actions/people/add-team", AuditAction::TeamAdd, add_team),
        Action::new("/actions/people/remove-team", AuditAction::TeamRemove, remove_team),
        Action::new("/actions/people/add-member", AuditAction::TeamJoin, add_member),
        Action::new("/actions/people/remove-member", AuditAction::TeamLeave, remove_member),
    ]
}

/// Rejects visitors who administer no repository: these pages would be empty for them.
pub(super) fn require_manager(visitor: &Visitor) -> Result<(), Problem> {
    visitor.requester().access_control_if_signed_in()?;
    if visitor.chrome().manages_people {
        return Ok(());
    }
    // Fails with the reason.
    visitor.requester().access_control_for(&Scope::All).map(|_| ())
}

/// The organisations that the visitor manages.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    require_manager(&visitor)?;
    let organisations = api::managed_organisations(visitor.requester())?;
    let mut listing = ShortList::of(&visitor, "/people/teams");
    let found = organisations.into_iter().filter(|organisation| listing.matches(&[&organisation.name]));
    let found: Vec<_> = found.collect();
    let organisations = listing.cut(found);
    Ok(page(StatusCode::OK, &TeamsPage { chrome: visitor.chrome(), listing, organisations }))
}

async fn add_organisation(form: Form) -> ActionResult {
    change(&form, OrganisationChange::Add, None).await?;
    Ok(Done::go_to("/people/teams").saying(Notice::TeamSaved))
}

async fn remove_organisation(form: Form) -> ActionResult {
    change(&form, OrganisationChange::Remove, None).await?;
    Ok(Done::go_to("/people/teams").saying(Notice::TeamRemoved))
}

async fn add_team(form: Form) -> ActionResult {
    let team = name(&form, "team");
    change(&form, OrganisationChange::AddTeam(team.clone()), Some(&team)).await?;
    Ok(Done::go_to(form.next_or("/people/teams")).saying(Notice::TeamSaved))
}

async fn remove_team(form: Form) -> ActionResult {
    let team = name(&form, "team");
    change(&form, OrganisationChange::RemoveTeam(team.clone()), Some(&team)).await?;
    Ok(Done::go_to(form.next_or("/people/teams")).saying(Notice::TeamRemoved))
}

async fn add_member(form: Form) -> ActionResult {
    let team = name(&form, "team");
    let user = name(&form, "user");
    let subject = format!("{team}/{user}");
    change(&form, OrganisationChange::AddMember(team, user), Some(&subject)).await?;
    Ok(Done::go_to(form.next_or("/people/teams")).saying(Notice::TeamSaved))
}

async fn remove_member(form: Form) -> ActionResult {
    let team = name(&form, "team");
    let user = name(&form, "user");
    let subject = format!("{team}/{user}");
    change(&form, OrganisationChange::RemoveMember(team, user), Some(&subject)).await?;
    Ok(Done::go_to(form.next_or("/people/teams")).saying(Notice::TeamSaved))
}

fn name(form: &Form, field: &str) -> String {
    form.text(field).trim().to_owned()
}

/// Changes the organisation that the form names. The audit log names `subject` after it.
async fn change(form: &Form, change: OrganisationChange, subject: Option<&str>) -> Result<(), Problem> {
    let organisation = name(form, "organisation");
    let scope = format!("{organisation}/").parse().ok();
    let subject = subject.map_or_else(|| organisation.clone(), |subject| format!("{organisation}/{subject}"));
    form.audit(scope, subject);
    api::change_organisation(form.visitor.requester(), organisation, change).await
}
