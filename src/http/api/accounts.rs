//! Accounts: who may come in.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::SignedIn;
use super::extract::{InPath, WithBody};
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, Problem, Time};
use crate::auth::{AccountError, Directory, NewAccount};
use crate::metadata::{AccountKind, AccountRecord, GrantRecord, Grantee, Role, Scope};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: AccountKind,
    /// Whether nothing opens it.
    pub disabled: bool,
    /// The teams that it is in.
    pub teams: Vec<String>,
    /// What it was granted by its own name.
    pub roles: Vec<RoleThere>,
    /// Since when there is one.
    pub created_at: Time,
    /// Who made it.
    #[schema(required)]
    pub by: Option<String>,
}

/// A role, and where somebody has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleThere {
    /// What.
    pub role: Role,
    /// A repository, or a prefix with a slash at its end; empty for all.
    #[serde(default)]
    #[schema(value_type = String)]
    pub scope: Scope,
}

/// An account to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountRequest {
    /// Its password; where none is said, one is made and answered.
    pub password: Option<String>,
    /// Whether a program has it.
    pub robot: bool,
    /// What it may do.
    pub roles: Vec<RoleThere>,
}

/// A change of an account: of what is said.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountUpdate {
    /// Its new password.
    pub password: Option<String>,
    /// Whether a new password is to be made, and answered.
    pub new_password: bool,
    /// Whether nothing opens it any more.
    pub disabled: Option<bool>,
}

/// An account, with its password where that was made: it is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountMade {
    /// The account.
    pub account: Account,
    /// The password that was made.
    #[schema(required)]
    pub password: Option<String>,
}

/// An account in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfAccount {
    /// The account.
    #[param(max_length = 64, example = "ann", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    pub(super) account: String,
}

impl Account {
    fn new(record: &AccountRecord, directory: &Directory) -> Self {
        let name = &record.name;
        let records = directory.records();
        let teams = records.members.iter().filter(|(_, member)| member == name);
        let theirs = |grant: &&GrantRecord| matches!(&grant.grantee, Grantee::User(user) if user == name);
        let role = |grant: &GrantRecord| RoleThere { role: grant.role, scope: grant.scope.clone() };
        Self {
            name: name.clone(),
            kind: record.kind,
            disabled: record.disabled,
            teams: teams.map(|(team, _)| team.to_string()).collect(),
            roles: records.grants.iter().filter(theirs).map(role).collect(),
            created_at: record.created_at.into(),
            by: record.by.clone(),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Name(..) | AccountError::Password => Self::bad(error),
            AccountError::Taken(_)
            | AccountError::LooksAlike { .. }
            | AccountError::Administrator
            | AccountError::LastUser(_)
            | AccountError::InFile(_)
            | AccountError::TooMany => Self::new(StatusCode::CONFLICT, error),
            AccountError::Unknown(_) => Self::unknown(error),
            AccountError::Metadata(error) => crate::registry::ServiceError::from(error).into(),
            AccountError::Secret(cause) => {
                tracing::error!(cause, "no secret could be made");
                Self::failed()
            }
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, add, update, remove))
}

/// All accounts. Users of a password file are none.
#[utoipa::path(
    get, path = "/accounts", operation_id = "listAccounts", tag = "accounts",
    responses((status = OK, description = "All of them.", body = Vec<Account>), Refusals)
)]
async fn list(SignedIn(asker): SignedIn) -> Result<Json<Vec<Account>>, Problem> {
    let directory = asker.administers(&Scope::All)?.accounts().now();
    let accounts = directory.records().accounts.iter();
    Ok(Json(accounts.map(|record| Account::new(record, &directory)).collect()))
}

/// An account. Everybody may see their own.
#[utoipa::path(
    get, path = "/accounts/{account}", operation_id = "getAccount", tag = "accounts",
    params(OfAccount),
    responses((status = OK, description = "The account.", body = Account), Refusals)
)]
async fn get(
    SignedIn(asker): SignedIn,
    InPath(OfAccount { account }): InPath<OfAccount>,
) -> Result<Json<Account>, Problem> {
    let access_control = asker.is_or_administers(&account)?;
    found(&access_control.accounts().now(), &account).map(Json)
}

fn found(directory: &Directory, name: &str) -> Result<Account, Problem> {
    let record = directory.account(name);
    let record = record.ok_or_else(|| Problem::unknown(format_args!("there is no user {name}")))?;
    Ok(Account::new(record, directory))
}

/// Makes an account.
#[utoipa::path(
    put, path = "/accounts/{account}", operation_id = "addAccount", tag = "accounts",
    params(OfAccount), request_body = AccountRequest,
    responses((status = CREATED, description = "It is there.", body = AccountMade), Refusals, ChangeRefusals)
)]
async fn add(
    WithBody { right, head, body: request, slot }: WithBody<SignedIn, AccountRequest, InPath<OfAccount>>,
) -> Result<(StatusCode, Json<AccountMade>), Problem> {
    let SignedIn(asker) = right;
    let InPath(OfAccount { account: name }) = head;
    let access_control = asker.administers(&Scope::All)?;
    let AccountRequest { password, robot, roles } = request;
    let grants = roles.into_iter().map(|RoleThere { role, scope }| (scope, role)).collect();
    let new = NewAccount { name: name.clone(), robot, password, grants };
    let password = access_control.add_account(new, asker.by(&asker.name())).await?;
    slot.mark_done();
    let account = found(&access_control.accounts().now(), &name)?;
    Ok((StatusCode::CREATED, Json(AccountMade { account, password })))
}

/// Changes an account. Everybody may change their own password.
#[utoipa::path(
    patch, path = "/accounts/{account}", operation_id = "updateAccount", tag = "accounts",
    params(OfAccount), request_body = AccountUpdate,
    responses((status = OK, description = "It is changed.", body = AccountMade), Refusals, ChangeRefusals)
)]
async fn update(
    WithBody { right, head, body: update, slot }: WithBody<SignedIn, AccountUpdate, InPath<OfAccount>>,
) -> Result<Json<AccountMade>, Problem> {
    let SignedIn(asker) = right;
    let InPath(OfAccount { account: name }) = head;
    let access_control = match update.disabled {
        Some(_) => asker.administers(&Scope::All)?,
        None => asker.is_or_administers(&name)?,
    };
    let AccountUpdate { password, new_password, disabled } = update;
    let mut made = None;
    if password.is_some() || new_password {
        made = access_control.set_password(&name, password).await?;
        slot.mark_done();
    }
    if let Some(disabled) = disabled {
        access_control.set_disabled(&name, disabled).await?;
        slot.mark_done();
    }
    let account = found(&access_control.accounts().now(), &name)?;
    Ok(Json(AccountMade { account, password: made }))
}

/// Removes an account with its tokens, its places in teams and what it was granted.
#[utoipa::path(
    delete, path = "/accounts/{account}", operation_id = "removeAccount", tag = "accounts",
    params(OfAccount),
    responses((status = NO_CONTENT, description = "It is gone."), Refusals, ChangeRefusals)
)]
async fn remove(
    SignedIn(asker): SignedIn,
    InPath(OfAccount { account }): InPath<OfAccount>,
) -> Result<StatusCode, Problem> {
    asker.administers(&Scope::All)?.remove_account(&account).await?;
    Ok(StatusCode::NO_CONTENT)
}
