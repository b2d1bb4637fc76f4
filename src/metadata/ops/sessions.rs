//! Stores the browser sessions of users.

use crate::clock::Timestamp;
use crate::metadata::sql::{self, Connection, Row, params};
use crate::metadata::{
    AccountOutcome, Durability, MAX_SESSIONS_PER_ACCOUNT, Metadata, Operation, Result, SessionRecord,
};

impl Metadata {
    /// Records, lazily, when sessions were last used.
    pub async fn record_session_uses(&self, uses: Vec<(String, Timestamp)>) -> Result<()> {
        self.change_in_background(Operation::RecordSessionUses, Durability::Lazy, move |c| {
            let mut update =
                c.prepare_cached("UPDATE sessions SET used_at = ?2 WHERE id = ?1 AND used_at < ?2")?;
            uses.iter().try_for_each(|(id, at)| update.execute(params![id, at]).map(drop))
        })
        .await
    }

    /// Removes, lazily, sessions that have ended.
    pub async fn forget_sessions(&self, ids: Vec<String>) -> Result<()> {
        self.change_in_background(Operation::ForgetSessions, Durability::Lazy, move |c| {
            ids.iter().try_for_each(|id| end(c, id).map(drop))
        })
        .await
    }
}

/// All sessions, by account, the least recently used first.
pub(super) fn list(c: &dyn Connection) -> sql::Result<Vec<SessionRecord>> {
    c.prepare_cached(
        "SELECT id, hash, account, fingerprint, address, client, created_at, used_at
         FROM sessions ORDER BY account, used_at, id",
    )?
    .query_map([], read)?
    .collect()
}

fn read(row: Row<'_>) -> sql::Result<SessionRecord> {
    Ok(SessionRecord {
        id: row.get(0)?,
        hash: row.get(1)?,
        account: row.get(2)?,
        credential_fingerprint: row.get(3)?,
        address: row.get(4)?,
        client: row.get(5)?,
        created_at: row.get(6)?,
        used_at: row.get(7)?,
    })
}

/// Adds a session. At the limit it replaces the least recently used one of the account.
pub(super) fn add(c: &dyn Connection, session: &SessionRecord) -> sql::Result<AccountOutcome> {
    let SessionRecord { id, hash, account, credential_fingerprint, address, client, created_at, used_at } =
        session;
    let count = c
        .prepare_cached("SELECT count(*) FROM sessions WHERE account = ?1")?
        .query_row([account], |row| row.get::<i64>(0))?;
    if count >= MAX_SESSIONS_PER_ACCOUNT {
        c.prepare_cached(
            "DELETE FROM sessions WHERE id IN (
                 SELECT id FROM sessions WHERE account = ?1 ORDER BY used_at, id LIMIT ?2)",
        )?
        .execute(params![account, count - MAX_SESSIONS_PER_ACCOUNT + 1])?;
    }
    let rows = c
        .prepare_cached(
            "INSERT INTO sessions (id, hash, account, fingerprint, address, client, created_at, used_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?
        .execute(params![id, hash, account, credential_fingerprint, address, client, created_at, used_at])?;
    Ok(if rows > 0 { AccountOutcome::Done } else { AccountOutcome::Taken })
}

/// Ends a session.
pub(super) fn end(c: &dyn Connection, id: &str) -> sql::Result<AccountOutcome> {
    let rows = c.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([id])?;
    Ok(if rows > 0 { AccountOutcome::Done } else { AccountOutcome::Unknown })
}

/// Ends all sessions of an account, except one.
pub(super) fn end_all(c: &dyn Connection, account: &str, except: Option<&str>) -> sql::Result<()> {
    let mut delete =
        c.prepare_cached("DELETE FROM sessions WHERE account = ?1 AND id IS DISTINCT FROM ?2")?;
    delete.execute(params![account, except]).map(drop)
}
