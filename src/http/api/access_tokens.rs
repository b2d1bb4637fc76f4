//! Access tokens: secrets that give a user's rights, or a part of them, to a client.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{InPath, InQuery, WithBody};
use super::problem::{ChangeErrors, Errors};
use super::rights::{Requester, SignedIn};
use super::routes::{Routes, routes};
use super::{Problem, Time};
use crate::auth::NewAccessToken;
use crate::metadata::{Role, Scope, TokenRecord};
use crate::registry::ServiceError;

/// An access token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessToken {
    /// The token's identifier.
    pub id: String,
    /// The account that it belongs to.
    pub account: String,
    /// The token's name.
    pub name: String,
    /// The highest role that it allows.
    pub role: Role,
    /// The scope that it is limited to: a repository, or a prefix that ends with a slash; empty for no limit.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// When it was created.
    pub created_at: Time,
    /// When it expires; `null` if never.
    #[schema(required)]
    pub expires_at: Option<Time>,
    /// When it was last used, to within a few minutes.
    #[schema(required)]
    pub used_at: Option<Time>,
}

/// A new access token and its secret, which is shown only once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenMade {
    /// The token.
    pub token: AccessToken,
    /// The secret, to be used in place of the password.
    pub secret: String,
}

/// The access token to create.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The account that it belongs to.
    pub account: String,
    /// The token's name.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub name: String,
    /// The highest role that it allows.
    pub role: Role,
    /// The scope that it is limited to: a repository, or a prefix that ends with a slash; by default it is
    /// not limited.
    #[serde(default)]
    #[schema(value_type = String)]
    pub scope: Scope,
    /// The lifetime in seconds; by default the token is valid until it is revoked.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub seconds: Option<u64>,
}

/// Selects access tokens.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenParameters {
    /// Only tokens of this account.
    #[param(example = "ann")]
    pub account: Option<String>,
}

/// The path parameters of a token.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TokenPath {
    /// The token's identifier.
    #[param(example = "0123456789ab", pattern = "^[0-9a-f]{12}$")]
    id: String,
}

impl From<&TokenRecord> for AccessToken {
    fn from(record: &TokenRecord) -> Self {
        Self {
            id: record.id.clone(),
            account: record.account.clone(),
            name: record.name.clone(),
            role: record.role,
            scope: record.scope.clone(),
            created_at: record.created_at.into(),
            expires_at: record.expires_at.map(Time),
            used_at: record.used_at.map(Time),
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list, add)).routes(routes!(revoke)).routes(routes!(rotate))
}

/// The access tokens of an account, or all. Users may list their own, administrators all.
pub(in crate::http) fn list_tokens(
    requester: &Requester,
    account: Option<&str>,
) -> Result<Vec<TokenRecord>, Problem> {
    let access_control = match account {
        Some(account) => requester.access_control_for_user(account)?,
        None => requester.access_control_for(&Scope::All)?,
    };
    let directory = access_control.accounts().current();
    let tokens = directory.records().tokens.iter();
    let selected = tokens.filter(|token| account.is_none_or(|account| account == token.account));
    Ok(selected.cloned().collect())
}

/// Creates an access token, and returns its record and its secret. Users may create their own.
pub(in crate::http) async fn add_token(
    requester: &Requester,
    request: TokenRequest,
) -> Result<(TokenRecord, String), Problem> {
    let TokenRequest { account, name, role, scope, seconds } = request;
    let access_control = requester.access_control_for_user(&account)?;
    if name.len() > 100 {
        return Err(Problem::bad("name: must have at most 100 bytes"));
    }
    if seconds == Some(0) {
        return Err(Problem::bad("seconds: must be at least 1"));
    }
    let lifetime = seconds.map(Duration::from_secs);
    let new = NewAccessToken { account, name, role, scope, lifetime };
    Ok(access_control.add_token(new, requester.change_author(&requester.name())).await?)
}

/// Revokes an access token. Users may revoke their own.
pub(in crate::http) async fn revoke_token(requester: &Requester, id: &str) -> Result<(), Problem> {
    let directory = requester.access_control_if_signed_in()?.accounts().current();
    let token = directory.records().tokens.iter().find(|token| token.id == id);
    let access_control = match token {
        Some(token) => requester.access_control_for_user(&token.account),
        None => requester.access_control_for(&Scope::All),
    };
    // Fails in the same way for a token of another user and for one that does not exist.
    access_control?.revoke_token(id).await?;
    Ok(())
}

/// Lists access tokens. Users may list their own, administrators all.
#[utoipa::path(
    get, path = "/tokens", operation_id = "listTokens", tag = "accounts", params(TokenParameters),
    responses((status = OK, description = "The access tokens.", body = Vec<AccessToken>), Errors)
)]
async fn list(
    SignedIn(requester): SignedIn,
    InQuery(TokenParameters { account }): InQuery<TokenParameters>,
) -> Result<Json<Vec<AccessToken>>, Problem> {
    let tokens = list_tokens(&requester, account.as_deref())?;
    Ok(Json(tokens.iter().map(AccessToken::from).collect()))
}

/// Creates an access token. Users may create their own. It never allows more than its user may do.
#[utoipa::path(
    post, path = "/tokens", operation_id = "addToken", tag = "accounts", request_body = TokenRequest,
    responses(
        (status = CREATED, description = "The token is created.", body = TokenMade),
        Errors, ChangeErrors
    )
)]
async fn add(
    WithBody { right: SignedIn(requester), body: request, .. }: WithBody<SignedIn, TokenRequest>,
) -> Result<(StatusCode, Json<TokenMade>), Problem> {
    let (record, secret) = add_token(&requester, request).await?;
    Ok((StatusCode::CREATED, Json(TokenMade { token: (&record).into(), secret })))
}

/// Revokes an access token, effective at once. Users may revoke their own.
#[utoipa::path(
    delete, path = "/tokens/{id}", operation_id = "revokeToken", tag = "accounts", params(TokenPath),
    responses((status = NO_CONTENT, description = "The token is revoked."), Errors, ChangeErrors)
)]
async fn revoke(
    SignedIn(requester): SignedIn,
    InPath(TokenPath { id }): InPath<TokenPath>,
) -> Result<StatusCode, Problem> {
    revoke_token(&requester, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How to replace the signing key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateRequest {
    /// Whether to revoke the old key immediately, so that clients must request new tokens. By default tokens
    /// that it signed stay valid until they expire.
    pub at_once: bool,
}

/// Replaces the key that signs the short-lived tokens that clients get for a few minutes. Access tokens are
/// not signed and stay valid.
#[utoipa::path(
    post, path = "/token-keys/rotate", operation_id = "rotateKey", tag = "accounts",
    request_body = RotateRequest,
    responses((status = NO_CONTENT, description = "The new key is in use."), Errors, ChangeErrors)
)]
async fn rotate(
    WithBody { right: SignedIn(requester), body, .. }: WithBody<SignedIn, RotateRequest>,
) -> Result<StatusCode, Problem> {
    let RotateRequest { at_once } = body;
    let access_control = Arc::clone(requester.access_control_for(&Scope::All)?);
    let now = requester.change_author("").now;
    let rotated = tokio::task::spawn_blocking(move || access_control.tokens().rotate(at_once, now));
    rotated.await.map_err(ServiceError::from)?.map_err(|error| {
        tracing::error!(%error, "the token signing key was not rotated");
        Problem::failed()
    })?;
    Ok(StatusCode::NO_CONTENT)
}
