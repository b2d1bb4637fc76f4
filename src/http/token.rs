//! `/auth/token`: a token for a password, for a refresh token, or for nobody
//! (<https://distribution.github.io/distribution/spec/auth/token/>, <https://distribution.github.io/distribution/spec/auth/oauth/>).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;

use super::AppState;
use super::challenge::AuthRejection;
use super::is_sent_by_another_site;
use super::listen::Peer;
use super::operations::response;
use super::query::Query;
use super::reply::Reply;
use super::status::V2Error;
use crate::auth::{AuthError, Claimed, Principal, Token};
use crate::oci::ErrorCode;

/// The most bytes of a form.
const MOST: usize = 16 << 10;

/// How long a form may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// GET: whoever shows a password in the header, or nothing.
pub(super) async fn issue(State(state): State<Arc<AppState>>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let peer = peer(&head);
    let answered = async {
        let principal = state.admit(&head, peer).await.map_err(denied)?;
        let query = Query::new(head.uri.query());
        let offline = query.get("offline_token").is_some_and(|value| value == "true");
        // A page of another site can make a browser ask, but not read the answer: a refresh token would only take the
        // place of an older one.
        let offline = offline && !is_sent_by_another_site(&head);
        told(&state, &principal, &query, offline).await
    };
    response(answered.await.unwrap_or_else(Reply::from))
}

/// POST: whoever shows a password, or a refresh token, in a form.
pub(super) async fn request_log(State(state): State<Arc<AppState>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let peer = peer(&head);
    // The form may be long in coming.
    drop(head);
    let mut claimed = None;
    let answered = async {
        let form = read(body).await?;
        let form = Query::new(Some(&form));
        let shown = form.get("refresh_token").or_else(|| form.get("password"));
        claimed = Some(Claimed::by(form.get("username").as_deref(), shown.as_deref()));
        let principal = whoever(&state, &form, peer).await?;
        // Who renews has one that goes on.
        let renews = form.get("grant_type").is_some_and(|kind| kind == "refresh_token");
        let offline = !renews && form.get("access_type").is_some_and(|value| value == "offline");
        told(&state, &principal, &form, offline).await
    };
    let mut response = response(answered.await.unwrap_or_else(Reply::from));
    // For the audit log.
    if let Some(claimed) = claimed {
        response.extensions_mut().insert(claimed);
    }
    response
}

pub(super) fn peer(head: &Parts) -> Peer {
    head.extensions.get::<Peer>().copied().unwrap_or(Peer::Unix)
}

fn denied(denial: AuthError) -> V2Error {
    AuthRejection::for_token(denial).into()
}

async fn read(body: Body) -> Result<String, V2Error> {
    let bad = |why: &str| V2Error::bad(ErrorCode::Unsupported, why);
    match tokio::time::timeout(PATIENCE, Limited::new(body, MOST).collect()).await {
        Ok(Ok(body)) => {
            let text = String::from_utf8(body.to_bytes().to_vec()).map_err(|_| bad("the form is no text"))?;
            // As forms write spaces.
            Ok(text.replace('+', " "))
        }
        Ok(Err(_)) => Err(bad("the form is too long, or ended before its time")),
        Err(_) => Err(bad("the form came too slowly")),
    }
}

async fn whoever(state: &AppState, form: &Query<'_>, peer: Peer) -> Result<Principal, V2Error> {
    let Some(from) = peer.address() else { return Ok(Principal::LocalAdmin) };
    let field = |name: &str| form.get(name).unwrap_or_default();
    match &*field("grant_type") {
        "password" => {
            let (name, password) = (field("username"), field("password"));
            state.access_control.log_in(&name, password.as_bytes(), from).await.map_err(denied)
        }
        "refresh_token" => {
            let now = state.registry.clock().now();
            state.access_control.renew(field("refresh_token").as_bytes(), from, now).map_err(denied)
        }
        _ => Err(V2Error::bad(ErrorCode::Unsupported, "grant_type must be password or refresh_token")),
    }
}

/// A token for what is asked for, and one to go on with where that is permission.
async fn told(
    state: &AppState,
    principal: &Principal,
    asked: &Query<'_>,
    offline: bool,
) -> Result<Reply, V2Error> {
    let scopes: Vec<_> = asked.all("scope").collect();
    // Several come as several parameters or in one with spaces, which forms write as `+`; no scope has one.
    let token = state
        .access_control
        .token(principal, scopes.iter().flat_map(|scope| scope.split([' ', '+'])))
        .map_err(denied)?;
    let mut refresh = None;
    if offline {
        let client = asked.get("client_id").unwrap_or_default();
        let now = state.registry.clock().now();
        refresh = state.access_control.refresh_token(principal, &client, now).await.unwrap_or_else(|error| {
            // The password does as well.
            tracing::error!(%error, "a refresh token could not be made");
            None
        });
    }
    Ok(answer(&token, refresh))
}

/// Under both names: Docker's, and that of OAuth 2, which other clients read.
fn answer(token: &Token, refresh: Option<String>) -> Reply {
    let mut told = json!({
        "token": token.text,
        "access_token": token.text,
        "expires_in": token.lifetime.as_secs(),
        "issued_at": token.issued_at.rfc3339(),
    });
    if let Some(refresh) = refresh {
        told["refresh_token"] = refresh.into();
    }
    Reply::json(StatusCode::OK, &told).with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
