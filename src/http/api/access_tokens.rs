//! Access tokens: secrets that stand for a user in a part of what they may do.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::SignedIn;
use super::extract::{InPath, InQuery, WithBody};
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, Problem, Time};
use crate::auth::NewAccessToken;
use crate::metadata::{Role, Scope, TokenRecord};

/// An access token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessToken {
    /// What it is found by.
    pub id: String,
    /// Whose.
    pub account: String,
    /// What it is called.
    pub name: String,
    /// The most that it is good for.
    pub role: Role,
    /// And where: a repository, or a prefix with a slash at its end; empty for everywhere.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// Since when there is one.
    pub created_at: Time,
    /// When it ends by itself.
    #[schema(required)]
    pub expires_at: Option<Time>,
    /// When it was last used, give or take a few minutes.
    #[schema(required)]
    pub used_at: Option<Time>,
}

/// A new access token, with its secret: it is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenMade {
    /// The token.
    pub token: AccessToken,
    /// What is shown in the place of the password.
    pub secret: String,
}

/// An access token to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Whose.
    pub account: String,
    /// What it is called.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub name: String,
    /// The most that it is good for.
    pub role: Role,
    /// And where: a repository, or a prefix with a slash at its end; everywhere where nothing is said.
    #[serde(default)]
    #[schema(value_type = String)]
    pub scope: Scope,
    /// For how many seconds it is good; until it is revoked where nothing is said.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub seconds: Option<u64>,
}

/// Whose tokens.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenParameters {
    /// Only those of this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(example = "ann")]
    pub account: Option<String>,
}

/// A token in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfToken {
    /// What it is found by.
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

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(revoke)).routes(routes!(rotate))
}

/// Access tokens. Everybody may see their own.
#[utoipa::path(
    get, path = "/tokens", operation_id = "listTokens", tag = "accounts", params(TokenParameters),
    responses((status = OK, description = "All of them.", body = Vec<AccessToken>), Refusals)
)]
async fn list(
    SignedIn(asker): SignedIn,
    InQuery(TokenParameters { account }): InQuery<TokenParameters>,
) -> Result<Json<Vec<AccessToken>>, Problem> {
    let access_control = match &account {
        Some(account) => asker.is_or_administers(account)?,
        None => asker.administers(&Scope::All)?,
    };
    let directory = access_control.accounts().now();
    let tokens = directory.records().tokens.iter();
    let theirs = tokens.filter(|token| account.as_ref().is_none_or(|account| *account == token.account));
    Ok(Json(theirs.map(AccessToken::from).collect()))
}

/// Makes an access token. Everybody may make their own. It is never good for more than its user may do.
#[utoipa::path(
    post, path = "/tokens", operation_id = "addToken", tag = "accounts", request_body = TokenRequest,
    responses((status = CREATED, description = "It is good.", body = TokenMade), Refusals, ChangeRefusals)
)]
async fn add(
    WithBody { right: SignedIn(asker), body: request, .. }: WithBody<SignedIn, TokenRequest>,
) -> Result<(StatusCode, Json<TokenMade>), Problem> {
    let TokenRequest { account, name, role, scope, seconds } = request;
    let access_control = asker.is_or_administers(&account)?;
    if name.len() > 100 {
        return Err(Problem::bad("name: may have at most 100 bytes"));
    }
    if seconds == Some(0) {
        return Err(Problem::bad("seconds: must be at least 1"));
    }
    let lifetime = seconds.map(Duration::from_secs);
    let new = NewAccessToken { account, name, role, scope, lifetime };
    let (record, secret) = access_control.add_token(new, asker.by(&asker.name())).await?;
    Ok((StatusCode::CREATED, Json(TokenMade { token: (&record).into(), secret })))
}

/// Ends an access token at once. Everybody may end their own.
#[utoipa::path(
    delete, path = "/tokens/{id}", operation_id = "revokeToken", tag = "accounts", params(OfToken),
    responses((status = NO_CONTENT, description = "It is good no more."), Refusals, ChangeRefusals)
)]
async fn revoke(
    SignedIn(asker): SignedIn,
    InPath(OfToken { id }): InPath<OfToken>,
) -> Result<StatusCode, Problem> {
    let directory = asker.signed_in()?.accounts().now();
    let token = directory.records().tokens.iter().find(|token| token.id == id);
    let access_control = match token {
        Some(token) => asker.is_or_administers(&token.account),
        None => asker.administers(&Scope::All),
    };
    // Whose it is, or whether there is such a one, is nobody else's to know.
    access_control?.revoke_token(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How to take another key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateRequest {
    /// Whether what the key before has signed is good no more; where nothing is said, it is until its end.
    pub at_once: bool,
}

/// Signs the tokens that clients get for a few minutes with another key. Access tokens are not signed, and stay.
#[utoipa::path(
    post, path = "/token-keys/rotate", operation_id = "rotateKey", tag = "accounts",
    request_body = RotateRequest,
    responses((status = NO_CONTENT, description = "It is in use."), Refusals, ChangeRefusals)
)]
async fn rotate(
    WithBody { right: SignedIn(asker), body, .. }: WithBody<SignedIn, RotateRequest>,
) -> Result<StatusCode, Problem> {
    let RotateRequest { at_once } = body;
    let access_control = Arc::clone(asker.administers(&Scope::All)?);
    let now = asker.by("").now;
    let rotated = tokio::task::spawn_blocking(move || access_control.tokens().rotate(at_once, now)).await;
    match rotated {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(error)) => {
            tracing::error!(%error, "there is no other key for tokens");
            Err(Problem::failed())
        }
        Err(_) => Err(Problem::failed()),
    }
}
