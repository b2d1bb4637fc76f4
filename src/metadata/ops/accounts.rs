//! Stores accounts, access tokens, organisations, teams and grants.

use super::sessions;
use crate::clock::Timestamp;
use crate::metadata::sql::{Connection, Params, Row, params};
use crate::metadata::{
    AccountChange, AccountOutcome, AccountRecord, AccountRecords, Durability, GrantRecord, Grantee,
    MAX_TOKENS_PER_ACCOUNT, Metadata, Operation, Result, Role, Scope, Team, TokenRecord, sql,
};

impl Metadata {
    /// Returns all account records.
    pub async fn accounts(&self) -> Result<AccountRecords> {
        self.query(Operation::Accounts, |c| {
            Ok(AccountRecords {
                accounts: list(
                    c,
                    "SELECT name, kind, password, disabled, created_at, actor, identity FROM accounts ORDER BY name",
                    read_account,
                )?,
                tokens: list(
                    c,
                    "SELECT id, account, name, hash, role, scope, bound, created_at, expires_at, used_at
                     FROM access_tokens ORDER BY account, created_at, id",
                    read_token,
                )?,
                sessions: sessions::list(c)?,
                organisations: list(c, "SELECT name FROM organisations ORDER BY name", |row| row.get(0))?,
                teams: list(c, "SELECT organisation, name FROM teams ORDER BY organisation, name", read_team)?,
                members: list(
                    c,
                    "SELECT organisation, team, account FROM members ORDER BY organisation, team, account",
                    |row| Ok((read_team(row)?, row.get(2)?)),
                )?,
                grants: list(
                    c,
                    "SELECT grantee, scope, role, set_at, actor FROM grants ORDER BY grantee, scope",
                    read_grant,
                )?,
            })
        }).await
    }

    /// Makes a change completely or not at all.
    pub async fn change_accounts(&self, change: AccountChange) -> Result<AccountOutcome> {
        self.change(Operation::ChangeAccounts, Durability::Full, move |c| apply(c, &change)).await
    }

    /// Records, lazily, when tokens were last used.
    pub async fn record_token_uses(&self, uses: Vec<(String, Timestamp)>) -> Result<()> {
        self.change_in_background(Operation::RecordTokenUses, Durability::Lazy, move |c| {
            let mut update = c.prepare_cached(
                "UPDATE access_tokens SET used_at = ?2 WHERE id = ?1 AND (used_at IS NULL OR used_at < ?2)",
            )?;
            uses.iter().try_for_each(|(id, at)| update.execute(params![id, at]).map(drop))
        })
        .await
    }

    /// Removes expired tokens. Returns how many.
    pub async fn forget_tokens(&self, now: Timestamp) -> Result<usize> {
        self.change_in_background(Operation::ForgetTokens, Durability::Lazy, move |c| {
            c.prepare_cached("DELETE FROM access_tokens WHERE expires_at <= ?1")?.execute([now])
        })
        .await
    }
}

fn list<T>(
    c: &dyn Connection,
    sql: &str,
    read: impl FnMut(Row<'_>) -> sql::Result<T>,
) -> sql::Result<Vec<T>> {
    c.prepare_cached(sql)?.query_map([], read)?.collect()
}

fn read_account(row: Row<'_>) -> sql::Result<AccountRecord> {
    Ok(AccountRecord {
        name: row.get(0)?,
        kind: row.get(1)?,
        password: row.get(2)?,
        disabled: row.get(3)?,
        created_at: row.get(4)?,
        by: row.get(5)?,
        identity: row.get(6)?,
    })
}

fn read_token(row: Row<'_>) -> sql::Result<TokenRecord> {
    Ok(TokenRecord {
        id: row.get(0)?,
        account: row.get(1)?,
        name: row.get(2)?,
        hash: row.get(3)?,
        role: row.get(4)?,
        scope: row.get(5)?,
        bound: row.get(6)?,
        created_at: row.get(7)?,
        expires_at: row.get(8)?,
        used_at: row.get(9)?,
    })
}

fn read_team(row: Row<'_>) -> sql::Result<Team> {
    Ok(Team { organisation: row.get(0)?, name: row.get(1)? })
}

fn read_grant(row: Row<'_>) -> sql::Result<GrantRecord> {
    Ok(GrantRecord {
        grantee: row.get(0)?,
        scope: row.get(1)?,
        role: row.get(2)?,
        set_at: row.get(3)?,
        by: row.get(4)?,
    })
}

fn apply(c: &dyn Connection, change: &AccountChange) -> sql::Result<AccountOutcome> {
    use AccountChange::{
        Add, AddOrganisation, AddSession, AddTeam, AddToken, EndSession, EndSessions, Grant, Join, Leave,
        Remove, RemoveOrganisation, RemoveTeam, RemoveToken, Revoke, SetDisabled, SetPassword,
    };
    match change {
        Add(account, grants) => add(c, account, grants),
        SetPassword(name, hash) => set_password(c, name, hash),
        SetDisabled(name, disabled) => set_disabled(c, name, *disabled),
        Remove(name) => remove(c, name),
        AddToken(token) => add_token(c, token),
        RemoveToken(id) => update_outcome(execute(c, "DELETE FROM access_tokens WHERE id = ?1", [id])?),
        AddSession(session) => sessions::add(c, session),
        EndSession(id) => sessions::end(c, id),
        EndSessions(account, except) => {
            sessions::end_all(c, account, except.as_deref()).map(|()| AccountOutcome::Done)
        }
        AddOrganisation(name, at, by) => insert_outcome(execute(
            c,
            "INSERT INTO organisations (name, created_at, actor) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![name, at, by],
        )?),
        RemoveOrganisation(name) => remove_organisation(c, name),
        AddTeam(team) => add_team(c, team),
        RemoveTeam(team) => remove_team(c, team),
        Join(team, account) => join(c, team, account),
        Leave(Team { organisation, name }, account) => update_outcome(execute(
            c,
            "DELETE FROM members WHERE organisation = ?1 AND team = ?2 AND account = ?3",
            [organisation, name, account],
        )?),
        Grant(grant) => add_grant(c, grant),
        Revoke(grantee, scope) => update_outcome(execute(
            c,
            "DELETE FROM grants WHERE grantee = ?1 AND scope = ?2",
            params![grantee, scope],
        )?),
    }
}

fn execute(c: &dyn Connection, sql: &str, params: impl Params) -> sql::Result<usize> {
    c.prepare_cached(sql)?.execute(params)
}

/// Outcome of an insertion that added this many rows.
fn insert_outcome(rows: usize) -> sql::Result<AccountOutcome> {
    Ok(if rows > 0 { AccountOutcome::Done } else { AccountOutcome::Taken })
}

/// Outcome of a change that needed an existing row and changed this many.
fn update_outcome(rows: usize) -> sql::Result<AccountOutcome> {
    Ok(if rows > 0 { AccountOutcome::Done } else { AccountOutcome::Unknown })
}

fn set_password(c: &dyn Connection, name: &str, hash: &str) -> sql::Result<AccountOutcome> {
    // Anyone who knew the old password may have created these tokens and sessions. A robot's tokens were created for it.
    sessions::end_all(c, name, None)?;
    execute(
        c,
        "DELETE FROM access_tokens WHERE account = ?1 AND (bound IS NOT NULL OR EXISTS (
             SELECT 1 FROM accounts WHERE name = ?1 AND kind <> 'robot'))",
        [name],
    )?;
    update_outcome(execute(c, "UPDATE accounts SET password = ?2 WHERE name = ?1", [name, hash])?)
}

fn set_disabled(c: &dyn Connection, name: &str, disabled: bool) -> sql::Result<AccountOutcome> {
    if disabled {
        sessions::end_all(c, name, None)?;
    }
    let rows = execute(c, "UPDATE accounts SET disabled = ?2 WHERE name = ?1", params![name, disabled])?;
    update_outcome(rows)
}

fn remove(c: &dyn Connection, name: &str) -> sql::Result<AccountOutcome> {
    let removed = execute(c, "DELETE FROM accounts WHERE name = ?1", [name])?;
    if removed > 0 {
        remove_dependents(c, name)?;
    }
    update_outcome(removed)
}

fn remove_organisation(c: &dyn Connection, name: &str) -> sql::Result<AccountOutcome> {
    execute(c, "DELETE FROM members WHERE organisation = ?1", [name])?;
    execute(
        c,
        "DELETE FROM grants WHERE grantee IN (SELECT ?1 || '/' || name FROM teams WHERE organisation = ?1)",
        [name],
    )?;
    execute(c, "DELETE FROM teams WHERE organisation = ?1", [name])?;
    update_outcome(execute(c, "DELETE FROM organisations WHERE name = ?1", [name])?)
}

fn add_team(c: &dyn Connection, Team { organisation, name }: &Team) -> sql::Result<AccountOutcome> {
    if !c.prepare_cached("SELECT 1 FROM organisations WHERE name = ?1")?.exists([organisation])? {
        return Ok(AccountOutcome::Unknown);
    }
    insert_outcome(execute(
        c,
        "INSERT INTO teams (organisation, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        [organisation, name],
    )?)
}

fn remove_team(c: &dyn Connection, team: &Team) -> sql::Result<AccountOutcome> {
    let key = [&team.organisation, &team.name];
    execute(c, "DELETE FROM members WHERE organisation = ?1 AND team = ?2", key)?;
    execute(c, "DELETE FROM grants WHERE grantee = ?1", [team.to_string()])?;
    update_outcome(execute(c, "DELETE FROM teams WHERE organisation = ?1 AND name = ?2", key)?)
}

fn join(c: &dyn Connection, team: &Team, account: &str) -> sql::Result<AccountOutcome> {
    if !has_team(c, team)? {
        return Ok(AccountOutcome::Unknown);
    }
    insert_outcome(execute(
        c,
        "INSERT INTO members (organisation, team, account) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        [&team.organisation, &team.name, account],
    )?)
}

fn add_grant(c: &dyn Connection, grant: &GrantRecord) -> sql::Result<AccountOutcome> {
    match &grant.grantee {
        Grantee::Team(team) if !has_team(c, team)? => Ok(AccountOutcome::Unknown),
        _ => update_outcome(set_grant(c, grant)?),
    }
}

fn add(c: &dyn Connection, account: &AccountRecord, grants: &[(Scope, Role)]) -> sql::Result<AccountOutcome> {
    let AccountRecord { name, kind, password, identity, disabled, created_at, by } = account;
    let rows = c
        .prepare_cached(
            "INSERT INTO accounts (name, kind, password, disabled, created_at, actor, identity)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )?
        .execute(params![name, kind, password, disabled, created_at, by, identity])?;
    if rows > 0 {
        // A user from a file may have had the same name: the new account must not inherit its tokens and roles.
        remove_dependents(c, name)?;
        for (scope, role) in grants {
            let grantee = Grantee::User(name.clone());
            let scope = scope.clone();
            let by = by.clone();
            set_grant(c, &GrantRecord { grantee, scope, role: *role, set_at: *created_at, by })?;
        }
    }
    insert_outcome(rows)
}

/// Removes the tokens, sessions, team memberships and grants of the user with this name.
fn remove_dependents(c: &dyn Connection, name: &str) -> sql::Result<()> {
    execute(c, "DELETE FROM access_tokens WHERE account = ?1", [name])?;
    sessions::end_all(c, name, None)?;
    execute(c, "DELETE FROM members WHERE account = ?1", [name])?;
    execute(c, "DELETE FROM grants WHERE grantee = ?1", [name])?;
    Ok(())
}

fn set_grant(c: &dyn Connection, grant: &GrantRecord) -> sql::Result<usize> {
    let GrantRecord { grantee, scope, role, set_at, by } = grant;
    c.prepare_cached(
        "INSERT INTO grants (grantee, scope, role, set_at, actor) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (grantee, scope) DO UPDATE SET role = excluded.role, set_at = excluded.set_at,
                                                   actor = excluded.actor",
    )?
    .execute(params![grantee, scope, role, set_at, by])
}

fn add_token(c: &dyn Connection, token: &TokenRecord) -> sql::Result<AccountOutcome> {
    let account = &token.account;
    let bound = token.bound.is_some();
    let count = c
        .prepare_cached("SELECT count(*) FROM access_tokens WHERE account = ?1 AND (bound IS NOT NULL) = ?2")?
        .query_row(params![account, bound], |row| row.get::<i64>(0))?;
    if count >= MAX_TOKENS_PER_ACCOUNT {
        if !bound {
            return Ok(AccountOutcome::Full);
        }
        c.prepare_cached(
            "DELETE FROM access_tokens WHERE id IN (
                 SELECT id FROM access_tokens WHERE account = ?1 AND bound IS NOT NULL
                 ORDER BY coalesce(used_at, created_at) LIMIT ?2)",
        )?
        .execute(params![account, count - MAX_TOKENS_PER_ACCOUNT + 1])?;
    }
    let rows = c
        .prepare_cached(
            "INSERT INTO access_tokens (id, account, name, hash, role, scope, bound, created_at, expires_at,
                                        used_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            token.id,
            token.account,
            token.name,
            token.hash,
            token.role,
            token.scope,
            token.bound,
            token.created_at,
            token.expires_at,
            token.used_at
        ])?;
    insert_outcome(rows)
}

fn has_team(c: &dyn Connection, team: &Team) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM teams WHERE organisation = ?1 AND name = ?2")?
        .exists([&team.organisation, &team.name])
}
