//! Accounts: the users and robots that may log in.

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{InPath, WithBody};
use super::problem::{ChangeErrors, Errors};
use super::rights::{Requester, SignedIn};
use super::routes::{Routes, routes};
use super::{Problem, Time};
use crate::auth::{AccountError, Directory, NewAccount};
use crate::errors::Chain;
use crate::metadata::{AccountKind, AccountRecord, GrantRecord, Grantee, Role, Scope};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Whether it belongs to a person or a program.
    pub kind: AccountKind,
    /// Whether login with it is disabled.
    pub disabled: bool,
    /// The teams that it belongs to.
    pub teams: Vec<String>,
    /// The roles granted to the account itself.
    pub roles: Vec<RoleThere>,
    /// When it was created.
    pub created_at: Time,
    /// Who created it.
    #[schema(required)]
    pub by: Option<String>,
}

/// A role and the scope that it applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleThere {
    /// The role.
    pub role: Role,
    /// A repository, or a prefix that ends with a slash; empty for all repositories.
    #[serde(default)]
    #[schema(value_type = String)]
    pub scope: Scope,
}

/// The account to create.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountRequest {
    /// The password; by default one is generated and returned.
    pub password: Option<String>,
    /// Whether a program uses it.
    pub robot: bool,
    /// The roles to grant to it.
    pub roles: Vec<RoleThere>,
}

/// A change of an account. Only the fields given are changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountUpdate {
    /// Its new password.
    pub password: Option<String>,
    /// Whether to generate a new password and return it.
    pub new_password: bool,
    /// Whether login is to be disabled.
    pub disabled: Option<bool>,
}

/// An account, and its password if that was generated. The password is shown only once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountMade {
    /// The account.
    pub account: Account,
    /// The generated password.
    #[schema(required)]
    pub password: Option<String>,
}

/// The path parameters of an account.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct AccountPath {
    /// The account.
    #[param(max_length = 64, example = "ann", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    pub(super) account: String,
}

impl Account {
    pub(in crate::http) fn new(record: &AccountRecord, directory: &Directory) -> Self {
        let name = &record.name;
        let records = directory.records();
        let teams = records.members.iter().filter(|(_, member)| member == name);
        let is_own = |grant: &&GrantRecord| matches!(&grant.grantee, Grantee::User(user) if user == name);
        let role = |grant: &GrantRecord| RoleThere { role: grant.role, scope: grant.scope.clone() };
        Self {
            name: name.clone(),
            kind: record.kind,
            disabled: record.disabled,
            teams: teams.map(|(team, _)| team.to_string()).collect(),
            roles: records.grants.iter().filter(is_own).map(role).collect(),
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
            AccountError::Metadata(error) => error.into(),
            AccountError::Secret(cause) => {
                tracing::error!(cause = %Chain(&*cause), "generating a secret failed");
                Self::failed()
            }
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(get, add, update, remove))
}

/// Lists all accounts. Users of a password file are not included.
#[utoipa::path(
    get, path = "/accounts", operation_id = "listAccounts", tag = "accounts",
    responses((status = OK, description = "All accounts.", body = Vec<Account>), Errors)
)]
async fn list(SignedIn(requester): SignedIn) -> Result<Json<Vec<Account>>, Problem> {
    let directory = requester.access_control_for(&Scope::All)?.accounts().current();
    let accounts = directory.records().accounts.iter();
    Ok(Json(accounts.map(|record| Account::new(record, &directory)).collect()))
}

/// Creates an account, if the client is an administrator. Returns the password if it was generated.
pub(in crate::http) async fn add_account(
    requester: &Requester,
    name: String,
    request: AccountRequest,
) -> Result<Option<String>, Problem> {
    let access_control = requester.access_control_for(&Scope::All)?;
    let AccountRequest { password, robot, roles } = request;
    let grants = roles.into_iter().map(|RoleThere { role, scope }| (scope, role)).collect();
    let new = NewAccount { name, robot, password, grants };
    Ok(access_control.add_account(new, requester.change_author(&requester.name())).await?)
}

/// Returns an account. Users may read their own.
#[utoipa::path(
    get, path = "/accounts/{account}", operation_id = "getAccount", tag = "accounts",
    params(AccountPath),
    responses((status = OK, description = "The account.", body = Account), Errors)
)]
async fn get(
    SignedIn(requester): SignedIn,
    InPath(AccountPath { account }): InPath<AccountPath>,
) -> Result<Json<Account>, Problem> {
    let access_control = requester.access_control_for_user(&account)?;
    find_account(&access_control.accounts().current(), &account).map(Json)
}

fn find_account(directory: &Directory, name: &str) -> Result<Account, Problem> {
    let record = directory.account(name);
    let record = record.ok_or_else(|| Problem::unknown(format_args!("there is no user {name}")))?;
    Ok(Account::new(record, directory))
}

/// Creates an account.
#[utoipa::path(
    put, path = "/accounts/{account}", operation_id = "addAccount", tag = "accounts",
    params(AccountPath), request_body = AccountRequest,
    responses(
        (status = CREATED, description = "The account is created.", body = AccountMade),
        Errors, ChangeErrors
    )
)]
async fn add(
    WithBody { right, parameters, body: request, audit }: WithBody<
        SignedIn,
        AccountRequest,
        InPath<AccountPath>,
    >,
) -> Result<(StatusCode, Json<AccountMade>), Problem> {
    let SignedIn(requester) = right;
    let InPath(AccountPath { account: name }) = parameters;
    let password = add_account(&requester, name.clone(), request).await?;
    audit.mark_done();
    let access_control = requester.access_control_for(&Scope::All)?;
    let account = find_account(&access_control.accounts().current(), &name)?;
    Ok((StatusCode::CREATED, Json(AccountMade { account, password })))
}

/// Changes an account. Users may change their own password.
#[utoipa::path(
    patch, path = "/accounts/{account}", operation_id = "updateAccount", tag = "accounts",
    params(AccountPath), request_body = AccountUpdate,
    responses(
        (status = OK, description = "The account is changed.", body = AccountMade),
        Errors, ChangeErrors
    )
)]
async fn update(
    WithBody { right, parameters, body: update, audit }: WithBody<
        SignedIn,
        AccountUpdate,
        InPath<AccountPath>,
    >,
) -> Result<Json<AccountMade>, Problem> {
    let SignedIn(requester) = right;
    let InPath(AccountPath { account: name }) = parameters;
    let access_control = match update.disabled {
        Some(_) => requester.access_control_for(&Scope::All)?,
        None => requester.access_control_for_user(&name)?,
    };
    let AccountUpdate { password, new_password, disabled } = update;
    let mut generated = None;
    if password.is_some() || new_password {
        generated = access_control.set_password(&name, password).await?;
        audit.mark_done();
    }
    if let Some(disabled) = disabled {
        access_control.set_disabled(&name, disabled).await?;
        audit.mark_done();
    }
    let account = find_account(&access_control.accounts().current(), &name)?;
    Ok(Json(AccountMade { account, password: generated }))
}

/// Removes an account with its tokens, team memberships and grants.
#[utoipa::path(
    delete, path = "/accounts/{account}", operation_id = "removeAccount", tag = "accounts",
    params(AccountPath),
    responses((status = NO_CONTENT, description = "The account is removed."), Errors, ChangeErrors)
)]
async fn remove(
    SignedIn(requester): SignedIn,
    InPath(AccountPath { account }): InPath<AccountPath>,
) -> Result<StatusCode, Problem> {
    requester.access_control_for(&Scope::All)?.remove_account(&account).await?;
    Ok(StatusCode::NO_CONTENT)
}
