//! `/auth/token`: issues a token for a password, for a refresh token, or for an anonymous user
//! (<https://distribution.github.io/distribution/spec/auth/token/>,
//! <https://distribution.github.io/distribution/spec/auth/oauth/>).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;

use super::layers::authentication::{authenticate, is_cross_site_request};
use super::listen::Peer;
use super::query::Query;
use super::rejection::AuthRejection;
use super::reply::{Reply, routed};
use super::state::AppState;
use super::v2::V2Error;
use crate::auth::{AuthError, ClaimedIdentity, Principal, Token};
use crate::errors::Chain;
use crate::oci::ErrorCode;

/// The largest accepted form in bytes.
const MAX_FORM_BYTES: usize = 16 << 10;

/// How long a client may take to send a form.
const FORM_READ_TIMEOUT: Duration = Duration::from_secs(15);

/// GET: issues a token to a client that sends a password in the `Authorization` header, or to an anonymous one.
pub(super) async fn issue(State(state): State<Arc<AppState>>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let peer = peer(&head);
    let reply = async {
        let principal = authenticate(&state, &head, peer).await.map_err(denied)?;
        let query = Query::new(head.uri.query());
        let offline = query.get("offline_token").is_some_and(|value| value == "true");
        // A page of another site can make a browser send this request but cannot read the response. A refresh token
        // would only replace an older one.
        let offline = offline && !is_cross_site_request(&head);
        issue_token(&state, &principal, &query, offline).await
    };
    routed(reply.await.unwrap_or_else(Reply::from))
}

/// POST: issues a token to a client that sends a password or a refresh token in a form.
pub(super) async fn exchange(State(state): State<Arc<AppState>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let peer = peer(&head);
    // Free the head: the form may take a long time to arrive.
    drop(head);
    let mut claimed = None;
    let reply = async {
        let form = read_form(body).await?;
        let form = Query::new(Some(&form));
        let secret = form.get("refresh_token").or_else(|| form.get("password"));
        claimed = Some(ClaimedIdentity::from_form(form.get("username").as_deref(), secret.as_deref()));
        let principal = authenticate_form(&state, &form, peer).await?;
        // A client that sent a refresh token keeps using it.
        let renews = form.get("grant_type").is_some_and(|kind| kind == "refresh_token");
        let offline = !renews && form.get("access_type").is_some_and(|value| value == "offline");
        issue_token(&state, &principal, &form, offline).await
    };
    let mut response = routed(reply.await.unwrap_or_else(Reply::from));
    // For the audit log.
    if let Some(claimed) = claimed {
        response.extensions_mut().insert(claimed);
    }
    response
}

pub(super) fn peer(head: &Parts) -> Peer {
    head.extensions.get::<Peer>().copied().unwrap_or(Peer::Unix)
}

fn denied(error: AuthError) -> V2Error {
    AuthRejection::for_token(error).into()
}

async fn read_form(body: Body) -> Result<String, V2Error> {
    let bad = |why: &str| V2Error::bad(ErrorCode::Unsupported, why);
    match tokio::time::timeout(FORM_READ_TIMEOUT, Limited::new(body, MAX_FORM_BYTES).collect()).await {
        Ok(Ok(body)) => {
            let text =
                String::from_utf8(body.to_bytes().to_vec()).map_err(|_| bad("the form is not UTF-8"))?;
            // Forms encode a space as `+`.
            Ok(text.replace('+', " "))
        }
        Ok(Err(_)) => Err(bad("the form is too long or incomplete")),
        Err(_) => Err(bad("the form was not received in time")),
    }
}

/// Authenticates the sender of a form by its password or refresh token.
async fn authenticate_form(state: &AppState, form: &Query<'_>, peer: Peer) -> Result<Principal, V2Error> {
    let Some(from) = peer.address() else { return Ok(Principal::LocalAdmin) };
    let field = |name: &str| form.get(name).unwrap_or_default();
    match &*field("grant_type") {
        "password" => {
            let name = field("username");
            let password = field("password");
            state.access_control.log_in(&name, password.as_bytes(), from).await.map_err(denied)
        }
        "refresh_token" => {
            let now = state.registry.clock().now();
            state
                .access_control
                .authenticate_refresh_token(field("refresh_token").as_bytes(), from, now)
                .map_err(denied)
        }
        _ => Err(V2Error::bad(ErrorCode::Unsupported, "grant_type must be password or refresh_token")),
    }
}

/// Issues a token for the requested scopes, and a refresh token if `offline`.
async fn issue_token(
    state: &AppState,
    principal: &Principal,
    request: &Query<'_>,
    offline: bool,
) -> Result<Reply, V2Error> {
    let scopes: Vec<_> = request.all("scope").collect();
    // Several scopes are sent as several parameters, or in one with spaces, which forms encode as `+`. No scope
    // contains either.
    let token = state
        .access_control
        .issue_token(principal, scopes.iter().flat_map(|scope| scope.split([' ', '+'])))
        .map_err(denied)?;
    let mut refresh = None;
    if offline {
        let client = request.get("client_id").unwrap_or_default();
        let now = state.registry.clock().now();
        refresh = state.access_control.create_refresh_token(principal, &client, now).await.unwrap_or_else(
            |error| {
                // The client can use its password instead.
                tracing::error!(error = %Chain(&error), "failed to create a refresh token");
                None
            },
        );
    }
    Ok(token_reply(&token, refresh))
}

/// The reply with a token under both names: Docker's, and the one of OAuth 2, which other clients read.
fn token_reply(token: &Token, refresh: Option<String>) -> Reply {
    let mut body = json!({
        "token": token.text,
        "access_token": token.text,
        "expires_in": token.lifetime.as_secs(),
        "issued_at": token.issued_at.rfc3339(),
    });
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.into();
    }
    Reply::json(StatusCode::OK, &body).with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
