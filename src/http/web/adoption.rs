//! The adoption of another registry's images: what was adopted, what is still unverified, what the old tree holds; the
//! release and the end of the adoption.

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::form::Form;
use super::format::{Moment, filters};
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::state::Action;
use super::visitor::Visitor;
use crate::http::api::{self, Problem};
use crate::metadata::AuditAction;

const PATH: &str = "/adoption";

#[derive(Template)]
#[template(path = "web/adoption.html")]
struct AdoptionPage<'a> {
    chrome: &'a Chrome,
    adoption: Option<AdoptionView>,
    can_change: bool,
}

/// An adoption.
struct AdoptionView {
    state: api::Adoption,
    adopted_at: Option<Moment>,
    released_at: Option<Moment>,
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/adoption/release", AuditAction::AdoptionRelease, release),
        Action::new("/actions/adoption/finish", AuditAction::AdoptionFinish, finish),
    ]
}

/// The state of the adoption.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let reader = visitor.requester().registry_reader()?;
    let adoption = api::adoption_state(reader.metadata()).await?.map(|state| AdoptionView {
        adopted_at: state.adopted_at.map(|at| visitor.moment(at.0)),
        released_at: state.released_at.map(|at| visitor.moment(at.0)),
        state,
    });
    let can_change = visitor.requester().registry_admin().is_ok();
    Ok(page(StatusCode::OK, &AdoptionPage { chrome: visitor.chrome(), adoption, can_change }))
}

/// Lets policies remove what was adopted.
async fn release(form: Form) -> ActionResult {
    let admin = form.visitor.requester().registry_admin()?;
    api::release_adopted(&admin).await?;
    Ok(Done::go_to(PATH).saying(Notice::AdoptionReleased))
}

/// Removes the tree of the old registry.
async fn finish(form: Form) -> ActionResult {
    let admin = form.visitor.requester().registry_admin()?;
    let report = api::end_adoption(&admin).await?;
    if !report.is_done() {
        let only = report.only_there.iter().map(|flaw| format!("{}: {}", flaw.subject, flaw.message));
        let damaged = report.damaged.iter().map(|digest| format!("{digest} is damaged"));
        let list: Vec<_> = only.chain(damaged).take(10).collect();
        let text = format!("the old tree was kept, because something would be lost: {}", list.join("; "));
        return Err(Problem::new(StatusCode::CONFLICT, text));
    }
    Ok(Done::go_to(PATH).saying(Notice::AdoptionFinished))
}
