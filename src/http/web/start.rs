//! The start page: what fills the disk, the latest pushes, and warnings.

use askama::Template;
use http::StatusCode;

use super::page::{PageResult, page};
use super::sign_in;
use super::visitor::{Chrome, Visitor};

#[derive(Template)]
#[template(path = "web/start.html")]
struct StartPage<'a> {
    chrome: &'a Chrome,
}

/// The start page, or the sign-in page with status 200 for visitors without access: probes request this path without
/// a password.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    if !visitor.has_access() && visitor.session().is_none() {
        return Ok(sign_in::form_page(&visitor, StatusCode::OK, "", "/", None));
    }
    Ok(page(StatusCode::OK, &StartPage { chrome: visitor.chrome() }))
}
