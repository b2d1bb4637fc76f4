//! Records of retention policies, their history and the runs of retention.

use crate::clock::Timestamp;
use crate::metadata::ops::events;
use crate::metadata::sql::{Connection, limit_plus_one, params};
use crate::metadata::{
    Durability, EventDetails, MAX_POLICY_RECORDS, Metadata, Operation, Page, PolicyChange, PolicyRecord,
    Result, RetentionRun, sql,
};

impl Metadata {
    /// Returns all policies in the order in which they were first set.
    pub async fn policies(&self) -> Result<Vec<PolicyRecord>> {
        self.query(Operation::Policies, |c| {
            let mut query =
                c.prepare_cached("SELECT name, policy, set_at, actor FROM policies ORDER BY id")?;
            let rows = query.query_map([], |row| {
                Ok(PolicyRecord {
                    name: row.get(0)?,
                    policy: row.get(1)?,
                    set_at: row.get(2)?,
                    by: row.get(3)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// Sets a policy. It replaces a policy of the same name.
    pub async fn set_policy(&self, record: PolicyRecord) -> Result<()> {
        self.change(Operation::SetPolicy, Durability::Full, move |c| {
            let PolicyRecord { name, policy, set_at, by } = &record;
            c.prepare_cached(
                "INSERT INTO policies (name, policy, set_at, actor) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET policy = excluded.policy, set_at = excluded.set_at,
                                                  actor = excluded.actor",
            )?
            .execute(params![name, policy, set_at, by])?;
            record_change(c, name, Some(policy), *set_at, by.as_deref())
        })
        .await
    }

    /// Removes a policy. Returns `false` if it does not exist.
    pub async fn remove_policy(&self, name: &str, now: Timestamp, by: Option<&str>) -> Result<bool> {
        let name = name.to_owned();
        let by = by.map(str::to_owned);
        self.change(Operation::RemovePolicy, Durability::Full, move |c| {
            let removed = c.prepare_cached("DELETE FROM policies WHERE name = ?1")?.execute([&name])?;
            if removed > 0 {
                record_change(c, &name, None, now, by.as_deref())?;
            }
            Ok(removed > 0)
        })
        .await
    }

    /// Returns a page of changes before the position `before`, newest first.
    pub async fn policy_history(&self, before: Option<i64>, limit: usize) -> Result<Page<PolicyChange>> {
        self.query(Operation::PolicyHistory, |c| {
            let mut query = c.prepare_cached(
                "SELECT id, name, policy, at, actor FROM policy_history WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let values = params![before.unwrap_or(i64::MAX), limit_plus_one(limit)];
            let rows = query.query_map(values, |row| {
                Ok(PolicyChange {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    policy: row.get(2)?,
                    at: row.get(3)?,
                    by: row.get(4)?,
                })
            })?;
            Page::read(rows, limit)
        }).await
    }
}

fn record_change(
    c: &dyn Connection,
    name: &str,
    policy: Option<&String>,
    at: Timestamp,
    by: Option<&str>,
) -> sql::Result<()> {
    let id = c
        .prepare_cached("INSERT INTO policy_history (name, policy, at, actor) VALUES (?1, ?2, ?3, ?4)")?
        .insert(params![name, policy, at, by])?;
    c.prepare_cached("DELETE FROM policy_history WHERE id <= ?1")?.execute([id - MAX_POLICY_RECORDS])?;
    let name = name.to_owned();
    let by = by.map(str::to_owned);
    let event = match policy {
        Some(_) => EventDetails::PolicySet { name, by },
        None => EventDetails::PolicyRemoved { name, by },
    };
    events::record(c, at, &event)
}

impl Metadata {
    /// Records a run.
    pub async fn record_retention_run(&self, run: RetentionRun) -> Result<()> {
        self.change(Operation::RecordRetentionRun, Durability::Lazy, move |c| {
            let id = c
                .prepare_cached(
                    "INSERT INTO retention_runs (began_at, ended_at, actor, cause, tags, manifests, skipped,
                                                 bytes, stopped)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .insert(params![
                    run.began_at,
                    run.ended_at,
                    run.by,
                    run.cause,
                    run.tags,
                    run.manifests,
                    run.skipped,
                    run.bytes,
                    run.stopped
                ])?;
            c.prepare_cached("DELETE FROM retention_runs WHERE id <= ?1")?
                .execute([id - MAX_POLICY_RECORDS])?;
            events::record(c, run.ended_at, &EventDetails::from(&run))
        })
        .await
    }

    /// Returns a page of runs before the position `before`, newest first.
    pub async fn retention_runs(&self, before: Option<i64>, limit: usize) -> Result<Page<RetentionRun>> {
        self.query(Operation::RetentionRuns, |c| {
            let mut query = c.prepare_cached(
                "SELECT id, began_at, ended_at, actor, cause, tags, manifests, skipped, bytes, stopped
                 FROM retention_runs WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let values = params![before.unwrap_or(i64::MAX), limit_plus_one(limit)];
            let rows = query.query_map(values, |row| {
                let count = |column| row.get::<u64>(column);
                Ok(RetentionRun {
                    id: row.get(0)?,
                    began_at: row.get(1)?,
                    ended_at: row.get(2)?,
                    by: row.get(3)?,
                    cause: row.get(4)?,
                    tags: count(5)?,
                    manifests: count(6)?,
                    skipped: count(7)?,
                    bytes: row.get::<Option<u64>>(8)?,
                    stopped: row.get(9)?,
                })
            })?;
            Page::read(rows, limit)
        })
        .await
    }
}
