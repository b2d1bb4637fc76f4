//! `GET /auth/token`: a token for a password, or for nobody
//! (<https://distribution.github.io/distribution/spec/auth/token/>).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::AppState;
use super::challenge::Denied;
use super::listen::Peer;
use super::operations::response;
use super::query::Query;
use super::reply::Reply;
use super::status::Refusal;
use crate::auth::{Denial, Token};

pub(super) async fn issue(State(state): State<Arc<AppState>>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let issued = token(&state, &head).await;
    response(match issued {
        Ok(token) => told(&token),
        Err(denial) => Refusal::from(Denied::for_token(denial)).into(),
    })
}

async fn token(state: &AppState, head: &Parts) -> Result<Token, Denial> {
    let peer = head.extensions.get::<Peer>().copied().unwrap_or(Peer::Unix);
    let caller = state.admit(head, peer).await?;
    let scopes: Vec<_> = Query::new(head.uri.query()).all("scope").collect();
    // Several come as several parameters or in one with spaces, which forms write as `+`; no scope has one.
    state.door.token(&caller, scopes.iter().flat_map(|scope| scope.split([' ', '+'])))
}

/// Under both names: Docker's, and that of OAuth 2, which other clients read.
fn told(token: &Token) -> Reply {
    let told = json!({
        "token": token.text,
        "access_token": token.text,
        "expires_in": token.lifetime.as_secs(),
        "issued_at": token.issued_at.rfc3339(),
    });
    Reply::json(StatusCode::OK, &told).with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
