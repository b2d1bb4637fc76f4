//! Renders templates, and redirects after an action.

use askama::Template;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};

use super::chrome::Chrome;
use super::notice::Notice;
use crate::http::api::Problem;
use crate::http::paths::SIGN_IN_PATH;
use crate::http::payload::Payload;
use crate::http::query::encode;
use crate::http::rejection::Rejection;
use crate::http::reply::{NO_STORE, Reply, routed, value};

/// What a page may load: only the files of this server. Images, which are drawn on the server, may be inline.
pub(in crate::http) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);

/// The result of the handler of a page.
pub(super) type PageResult = Result<Response, Problem>;

/// The result of an action.
pub(super) type ActionResult = Result<Done, Problem>;

/// Renders a page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    // Templates are checked at compile time and render into memory, so this cannot fail.
    let text = template.render().unwrap_or_default();
    routed(
        Reply::new(status)
            .with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
            .with(CACHE_CONTROL, NO_STORE)
            .with(CONTENT_SECURITY_POLICY, POLICY)
            // Browsers then send the origin with forms, and nothing to other sites.
            .with(REFERRER_POLICY, HeaderValue::from_static("same-origin"))
            .body(Payload::Whole(text.into())),
    )
}

/// An action that is done: which page to show, and what to say there.
pub(super) struct Done {
    to: String,
    notice: Option<Notice>,
}

impl Done {
    /// Shows the page at this path of this server.
    pub(super) fn go_to(path: impl Into<String>) -> Self {
        Self { to: path.into(), notice: None }
    }

    /// Also says what was done.
    pub(super) fn saying(self, notice: Notice) -> Self {
        Self { notice: Some(notice), ..self }
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let to = match self.notice {
            None => self.to,
            Some(notice) => {
                let separator = if self.to.contains('?') { '&' } else { '?' };
                format!("{}{separator}notice={}", self.to, notice.code())
            }
        };
        redirect(&to)
    }
}

/// Redirects the browser to a path of this server, which it requests with GET.
pub(super) fn redirect(path: &str) -> Response {
    routed(Reply::new(StatusCode::SEE_OTHER).with(LOCATION, value(path.to_owned())))
}

/// Whether a path that came from the client leads to a page of this server.
pub(in crate::http) fn is_local_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_plain)
}

/// The path of the sign-in page, after which the page at `path` is shown.
pub(in crate::http) fn sign_in_path(path: &str) -> String {
    if path == "/" { SIGN_IN_PATH.to_owned() } else { format!("{SIGN_IN_PATH}?next={}", encode(path)) }
}

#[derive(Template)]
#[template(path = "web/error.html")]
struct ErrorPage<'a> {
    chrome: &'a Chrome,
    title: &'a str,
    detail: &'a str,
    can_sign_in: bool,
}

/// The page of an error.
pub(super) fn error_page(chrome: &Chrome, problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let can_sign_in = status == StatusCode::UNAUTHORIZED && chrome.user.is_none();
    page(status, &ErrorPage { chrome, title: &problem.title, detail: &problem.detail, can_sign_in })
}

/// The response to a request that a layer rejected before its sender is known.
pub(in crate::http) fn refuse(rejection: &Rejection) -> http::Response<Body> {
    let problem = Problem::new(rejection.status, &rejection.message);
    let mut response = error_page(&Chrome::default(), &problem);
    if let Some((name, value)) = &rejection.header {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_local() {
        for path in ["/", "/r/app:v1", "/repositories?sort=size&page=2"] {
            assert!(is_local_path(path), "{path}");
        }
        for path in ["", "r", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "/a b"] {
            assert!(!is_local_path(path), "{path}");
        }
    }

    #[test]
    fn a_notice_survives_the_redirect() {
        let response = Done::go_to("/trash?repository=app").saying(Notice::Restored).into_response();
        assert_eq!(response.headers()[LOCATION], "/trash?repository=app&notice=restored");
        assert_eq!(Notice::text("restored"), Some("Restored."));
        assert_eq!(Notice::text("<b>"), None);
    }
}
