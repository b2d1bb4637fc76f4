//! The form of an action: its checks and its fields.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, StatusCode};
use url::{Url, form_urlencoded};

use super::page::is_local_path;
use super::state::Web;
use super::visitor::Visitor;
use crate::http::api::{AuditSlot, AuditTarget, Problem, check_still_valid, read_bytes};
use crate::http::forwarded;
use crate::http::layers::authentication::is_cross_site_request;
use crate::metadata::Scope;

/// The name of the field with the CSRF token.
const TOKEN_FIELD: &str = "csrf";

const STALE_FORM: &str =
    "this form is too old, or another site sent it: reload the page that it is on and try again";

/// A form that a page of this server showed to the browser that sent it.
pub(super) struct Form {
    /// Who sent it.
    pub(super) visitor: Visitor,
    fields: Vec<(String, String)>,
    audit: AuditSlot,
}

impl Form {
    /// The value of a field; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// The value of a field that is not empty.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|value| !value.is_empty())
    }

    /// The values of all fields of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Parses a field, without the spaces around it.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Problem> {
        parse(name, self.text(name))
    }

    /// Parses a field that is not empty.
    pub(super) fn parse_optional<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.optional(name).map(|text| parse(name, text)).transpose()
    }

    /// Parses all fields of a name.
    pub(super) fn parse_all<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Vec<T>, Problem> {
        self.all(name).map(|text| parse(name, text)).collect()
    }

    /// The page of this server that the form asks for after the action, or `default`.
    pub(super) fn next_or(&self, default: impl Into<String>) -> String {
        let next = self.optional("next").filter(|next| is_local_path(next));
        next.map_or_else(|| default.into(), str::to_owned)
    }

    /// Names what the action changes, for the audit log.
    pub(super) fn audit(&self, scope: Option<Scope>, subject: impl Into<Option<String>>) {
        self.audit.fill(AuditTarget { scope, subject: subject.into() });
    }

    /// Records that the change is made, whatever follows.
    pub(super) fn mark_done(&self) {
        self.audit.mark_done();
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.trim().parse().map_err(|error| Problem::bad(format_args!("{name}: {error}")))
}

impl FromRequest<Arc<Web>> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, web: &Arc<Web>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Ok(visitor) = Visitor::from_request_parts(&mut parts, web).await;
        check_origin(web, &parts)?;
        check_media_type(&parts)?;
        let body = read_bytes(body).await?;
        check_still_valid(&web.api, &parts)?;
        let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
        let audit = AuditSlot::of(&parts.extensions);
        let form = Self { visitor, fields, audit };
        if !form.visitor.browser().accepts(form.text(TOKEN_FIELD)) {
            return Err(Problem::new(StatusCode::FORBIDDEN, STALE_FORM));
        }
        Ok(form)
    }
}

fn check_media_type(parts: &Parts) -> Result<(), Problem> {
    let media_type =
        parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an action takes a form"))
}

/// Rejects forms that a page of another site sends. Browsers on a network without TLS send no `Sec-Fetch-Site`, and
/// some send the origin `null`, so these decide nothing: the CSRF token does.
fn check_origin(web: &Web, parts: &Parts) -> Result<(), Problem> {
    let foreign = || Err(Problem::new(StatusCode::FORBIDDEN, "a page of another site sent this form"));
    if is_cross_site_request(parts) {
        return foreign();
    }
    let Some(origin) = parts.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else {
        return Ok(());
    };
    if origin == "null" || is_own_origin(web, parts, origin) {
        return Ok(());
    }
    if parts.headers.get(HOST).map(HeaderValue::as_bytes) == Some(b"") {
        return foreign();
    }
    let host = forwarded::host(parts);
    let host = host.as_ref().map_or("unknown", Authority::as_str);
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        format_args!(
            "the browser sent this form from {origin}, but this registry was addressed as {host}: if both are the \
             registry, set server.public_url, or name the proxy in server.trusted_proxies"
        ),
    ))
}

/// Whether an origin is that of this server, by the public URL or by the host that the request names.
fn is_own_origin(web: &Web, parts: &Parts, origin: &str) -> bool {
    let Ok(origin) = Url::parse(origin) else { return false };
    if let Some(own) = web.state.settings.public_url.as_deref().and_then(|url| Url::parse(url).ok())
        && own.origin() == origin.origin()
    {
        return true;
    }
    // A proxy that is not trusted may have terminated TLS, so the scheme does not decide.
    let host = forwarded::host(parts);
    let own = host.and_then(|host| Url::parse(&format!("{}://{host}", origin.scheme())).ok());
    own.is_some_and(|own| own.origin() == origin.origin())
}
