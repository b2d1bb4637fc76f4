//! Accounts as records.

use async_trait::async_trait;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params};

use super::{Durability, SqliteMetadata};
use crate::clock::Timestamp;
use crate::metadata::{
    AccountChange, AccountKind, AccountOutcome, AccountRecord, AccountRecords, Accounts, GrantRecord,
    Grantee, MOST_TOKENS, Result, Role, Scope, Team, TokenRecord,
};

#[async_trait]
impl Accounts for SqliteMetadata {
    async fn accounts(&self) -> Result<AccountRecords> {
        self.read(|c| {
            Ok(AccountRecords {
                accounts: all(
                    c,
                    "SELECT name, kind, password, disabled, created_at, actor FROM accounts ORDER BY name",
                    account,
                )?,
                tokens: all(
                    c,
                    "SELECT id, account, name, hash, role, scope, bound, created_at, expires_at, used_at
                     FROM access_tokens ORDER BY account, created_at, id",
                    token,
                )?,
                organisations: all(c, "SELECT name FROM organisations ORDER BY name", |row| row.get(0))?,
                teams: all(c, "SELECT organisation, name FROM teams ORDER BY organisation, name", team)?,
                members: all(
                    c,
                    "SELECT organisation, team, account FROM members ORDER BY organisation, team, account",
                    |row| Ok((team(row)?, row.get(2)?)),
                )?,
                grants: all(
                    c,
                    "SELECT grantee, scope, role, set_at, actor FROM grants ORDER BY grantee, scope",
                    grant,
                )?,
            })
        })
    }

    async fn change_accounts(&self, change: AccountChange) -> Result<AccountOutcome> {
        self.write(Durability::Full, move |c| make(c, &change)).await
    }

    async fn note_token_uses(&self, uses: Vec<(String, Timestamp)>) -> Result<()> {
        self.write_behind(Durability::Lazy, move |c| {
            let mut note = c.prepare_cached(
                "UPDATE access_tokens SET used_at = ?2 WHERE id = ?1 AND coalesce(used_at < ?2, 1)",
            )?;
            uses.iter().try_for_each(|(id, at)| note.execute(params![id, at]).map(drop))
        })
        .await
    }

    async fn forget_tokens(&self, now: Timestamp) -> Result<usize> {
        self.write_behind(Durability::Lazy, move |c| {
            c.prepare_cached("DELETE FROM access_tokens WHERE expires_at <= ?1")?.execute([now])
        })
        .await
    }
}

fn all<T>(
    c: &Connection,
    sql: &str,
    of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    c.prepare_cached(sql)?.query_map([], of)?.collect()
}

fn account(row: &Row<'_>) -> rusqlite::Result<AccountRecord> {
    Ok(AccountRecord {
        name: row.get(0)?,
        kind: row.get(1)?,
        password: row.get(2)?,
        disabled: row.get(3)?,
        created_at: row.get(4)?,
        by: row.get(5)?,
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
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

fn team(row: &Row<'_>) -> rusqlite::Result<Team> {
    Ok(Team { organisation: row.get(0)?, name: row.get(1)? })
}

fn grant(row: &Row<'_>) -> rusqlite::Result<GrantRecord> {
    Ok(GrantRecord {
        grantee: row.get(0)?,
        scope: row.get(1)?,
        role: row.get(2)?,
        set_at: row.get(3)?,
        by: row.get(4)?,
    })
}

fn make(c: &Connection, change: &AccountChange) -> rusqlite::Result<AccountOutcome> {
    let execute = |sql: &str, params: &[&dyn ToSql]| c.prepare_cached(sql)?.execute(params);
    let added = |rows: usize| if rows > 0 { AccountOutcome::Done } else { AccountOutcome::Taken };
    let found = |rows: usize| if rows > 0 { AccountOutcome::Done } else { AccountOutcome::Unknown };
    match change {
        AccountChange::Add(account, grants) => add(c, account, grants).map(added),
        AccountChange::SetPassword(name, hash) => {
            // Whoever knew the old password may have made them. A robot's were made for it.
            execute(
                "DELETE FROM access_tokens WHERE account = ?1 AND (bound IS NOT NULL OR EXISTS (
                     SELECT 1 FROM accounts WHERE name = ?1 AND kind <> 'robot'))",
                &[name],
            )?;
            execute("UPDATE accounts SET password = ?2 WHERE name = ?1", &[name, hash]).map(found)
        }
        AccountChange::SetDisabled(name, disabled) => {
            execute("UPDATE accounts SET disabled = ?2 WHERE name = ?1", &[name, disabled]).map(found)
        }
        AccountChange::Remove(name) => {
            let removed = execute("DELETE FROM accounts WHERE name = ?1", &[name])?;
            if removed > 0 {
                forget(c, name)?;
            }
            Ok(found(removed))
        }
        AccountChange::AddToken(token) => add_token(c, token),
        AccountChange::RemoveToken(id) => {
            execute("DELETE FROM access_tokens WHERE id = ?1", &[id]).map(found)
        }
        AccountChange::AddOrganisation(name, at, by) => execute(
            "INSERT INTO organisations (name, created_at, actor) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            &[name, at, by],
        )
        .map(added),
        AccountChange::RemoveOrganisation(name) => {
            execute("DELETE FROM members WHERE organisation = ?1", &[name])?;
            execute(
                "DELETE FROM grants WHERE grantee IN (SELECT ?1 || '/' || name FROM teams WHERE organisation = ?1)",
                &[name],
            )?;
            execute("DELETE FROM teams WHERE organisation = ?1", &[name])?;
            execute("DELETE FROM organisations WHERE name = ?1", &[name]).map(found)
        }
        AccountChange::AddTeam(Team { organisation, name }) => {
            let mut known = c.prepare_cached("SELECT 1 FROM organisations WHERE name = ?1")?;
            if !known.exists([organisation])? {
                return Ok(AccountOutcome::Unknown);
            }
            execute(
                "INSERT INTO teams (organisation, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                &[organisation, name],
            )
            .map(added)
        }
        AccountChange::RemoveTeam(team @ Team { organisation, name }) => {
            execute("DELETE FROM members WHERE organisation = ?1 AND team = ?2", &[organisation, name])?;
            execute("DELETE FROM grants WHERE grantee = ?1", &[&team.to_string()])?;
            execute("DELETE FROM teams WHERE organisation = ?1 AND name = ?2", &[organisation, name])
                .map(found)
        }
        AccountChange::Join(team, account) => {
            if !has_team(c, team)? {
                return Ok(AccountOutcome::Unknown);
            }
            execute(
                "INSERT INTO members (organisation, team, account) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                &[&team.organisation, &team.name, account],
            )
            .map(added)
        }
        AccountChange::Leave(Team { organisation, name }, account) => execute(
            "DELETE FROM members WHERE organisation = ?1 AND team = ?2 AND account = ?3",
            &[organisation, name, account],
        )
        .map(found),
        AccountChange::Grant(grant) => {
            if let Grantee::Team(team) = &grant.grantee
                && !has_team(c, team)?
            {
                return Ok(AccountOutcome::Unknown);
            }
            set_grant(c, grant).map(found)
        }
        AccountChange::Revoke(grantee, scope) => {
            execute("DELETE FROM grants WHERE grantee = ?1 AND scope = ?2", &[grantee, scope]).map(found)
        }
    }
}

fn add(c: &Connection, account: &AccountRecord, grants: &[(Scope, Role)]) -> rusqlite::Result<usize> {
    let AccountRecord { name, kind, password, disabled, created_at, by } = account;
    let added = c
        .prepare_cached(
            "INSERT INTO accounts (name, kind, password, disabled, created_at, actor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )?
        .execute(params![name, kind, password, disabled, created_at, by])?;
    if added > 0 {
        // Nobody inherits what a user of a file had who was called the same.
        forget(c, name)?;
        for (scope, role) in grants {
            let grantee = Grantee::User(name.clone());
            let (scope, role, set_at, by) = (scope.clone(), *role, *created_at, by.clone());
            set_grant(c, &GrantRecord { grantee, scope, role, set_at, by })?;
        }
    }
    Ok(added)
}

/// Takes away all that somebody of this name has.
fn forget(c: &Connection, name: &str) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM access_tokens WHERE account = ?1")?.execute([name])?;
    c.prepare_cached("DELETE FROM members WHERE account = ?1")?.execute([name])?;
    c.prepare_cached("DELETE FROM grants WHERE grantee = ?1")?.execute([name])?;
    Ok(())
}

fn set_grant(c: &Connection, grant: &GrantRecord) -> rusqlite::Result<usize> {
    let GrantRecord { grantee, scope, role, set_at, by } = grant;
    c.prepare_cached(
        "INSERT INTO grants (grantee, scope, role, set_at, actor) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (grantee, scope) DO UPDATE SET role = excluded.role, set_at = excluded.set_at,
                                                   actor = excluded.actor",
    )?
    .execute(params![grantee, scope, role, set_at, by])
}

fn add_token(c: &Connection, token: &TokenRecord) -> rusqlite::Result<AccountOutcome> {
    let (account, bound) = (&token.account, token.bound.is_some());
    let there = c
        .prepare_cached("SELECT count(*) FROM access_tokens WHERE account = ?1 AND (bound IS NOT NULL) = ?2")?
        .query_row(params![account, bound], |row| row.get::<_, i64>(0))?;
    if there >= MOST_TOKENS {
        if !bound {
            return Ok(AccountOutcome::Full);
        }
        c.prepare_cached(
            "DELETE FROM access_tokens WHERE id IN (
                 SELECT id FROM access_tokens WHERE account = ?1 AND bound IS NOT NULL
                 ORDER BY coalesce(used_at, created_at) LIMIT ?2)",
        )?
        .execute(params![account, there - MOST_TOKENS + 1])?;
    }
    let added = c
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
    Ok(if added > 0 { AccountOutcome::Done } else { AccountOutcome::Taken })
}

fn has_team(c: &Connection, team: &Team) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM teams WHERE organisation = ?1 AND name = ?2")?
        .exists([&team.organisation, &team.name])
}

/// Texts that have a grammar.
macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.to_string().into())
            }
        }

        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(FromSqlError::other)
            }
        }
    )* };
}

pub(super) use as_text;

as_text!(Role, Scope, Grantee);

impl ToSql for AccountKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Bootstrap => "bootstrap",
            Self::Person => "person",
            Self::Robot => "robot",
        }
        .into())
    }
}

impl FromSql for AccountKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "bootstrap" => Ok(Self::Bootstrap),
            "person" => Ok(Self::Person),
            "robot" => Ok(Self::Robot),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
