//! Writes, reads and trims the audit log.

use crate::clock::Timestamp;
use crate::metadata::ops::log_limits::RowLimits;
use crate::metadata::sql::{Connection, Row, as_text, limit_plus_one, params};
use crate::metadata::{
    AuditAction, AuditEntry, AuditOutcome, AuditPage, AuditQuery, AuditTimes, Audited, Batch, Durability,
    MAX_EXAMINED, Metadata, Operation, Origin, Page, Result, sql,
};

as_text!(AuditAction, AuditOutcome, Origin);

/// Limits audit entries by age, and by number for each outcome.
const LIMITS: RowLimits = RowLimits {
    old: "SELECT id FROM audit WHERE last_at <= ?1 AND id < (SELECT max(id) FROM audit) ORDER BY last_at LIMIT ?2",
    first_too_many: "SELECT id FROM audit WHERE outcome = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2",
    too_many: "SELECT id FROM audit WHERE outcome = ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    delete: "DELETE FROM audit WHERE id = ?1",
    kinds: || AuditOutcome::ALL.iter().map(ToString::to_string).collect(),
};

impl Metadata {
    /// Records, lazily, the `new` entries, and the repetitions `again` of existing ones. Returns the positions
    /// of the new entries.
    pub async fn record_audit(
        &self,
        new: Vec<(Audited, AuditTimes)>,
        again: Vec<(i64, AuditTimes)>,
    ) -> Result<Vec<i64>> {
        self.change_in_background(Operation::RecordAudit, Durability::Lazy, move |c| {
            let mut count =
                c.prepare_cached("UPDATE audit SET count = count + ?2, last_at = ?3 WHERE id = ?1")?;
            for (id, times) in &again {
                count.execute(params![id, times.count, times.last])?;
            }
            new.iter().map(|(audited, times)| insert(c, audited, times)).collect()
        })
        .await
    }

    /// Returns a page of entries, newest first. Reads at most [`MAX_EXAMINED`] entries: rare entries are
    /// searched page by page, because an index for each query would make every entry more expensive.
    ///
    /// [`MAX_EXAMINED`]: crate::metadata::MAX_EXAMINED
    pub async fn audit(&self, query: &AuditQuery, limit: usize) -> Result<AuditPage> {
        let query = query.clone();
        self.query_page(Operation::Audit, move |c| read_page(c, &query, limit)).await
    }

    /// Deletes, lazily, up to about `limit` entries: those from `cutoff` or before and, for each outcome, all
    /// but the newest `max`, so that many denied requests do not push out the record of changes. The newest
    /// entry of all stays, so that its position is not assigned again.
    pub async fn forget_audit(&self, cutoff: Option<Timestamp>, most: usize, limit: usize) -> Result<Batch> {
        self.perform(Operation::ForgetAudit, self.delete_superfluous(&LIMITS, cutoff, most, limit)).await
    }
}

fn read_page(c: &dyn Connection, query: &AuditQuery, limit: usize) -> sql::Result<AuditPage> {
    let AuditQuery { user, scope, action, outcome, since, until, before } = query;
    let before = before.unwrap_or(i64::MAX);
    let Some(examined) = find_examined(c, before)? else {
        return Ok(AuditPage { items: Vec::new(), next: None });
    };
    let mut found = c.prepare_cached(
        "SELECT id, at, last_at, count, account, token, origin, action, scope, subject, outcome, status
         FROM audit
         WHERE id < ?1 AND id >= ?9 AND (account = ?2 OR ?2 IS NULL) AND (action = ?3 OR ?3 IS NULL)
           AND (outcome = ?4 OR ?4 IS NULL) AND last_at >= ?5 AND at < ?6
           AND (?7 = '' OR scope = ?7 OR (?7 LIKE '%/' AND substr(scope, 1, length(?7)) = ?7))
         ORDER BY id DESC LIMIT ?8",
    )?;
    let values = params![
        before,
        user,
        action,
        outcome,
        since.unwrap_or(Timestamp(i64::MIN)),
        until.unwrap_or(Timestamp(i64::MAX)),
        scope,
        limit_plus_one(limit),
        examined.last
    ];
    let Page { items, more } = Page::read(found.query_map(values, read_entry)?, limit)?;
    let next = match items.last() {
        Some(last) if more => Some(last.id),
        _ => Some(examined.last).filter(|_| examined.more),
    };
    Ok(AuditPage { items, next })
}

/// The entries to examine for a page.
struct Examined {
    last: i64,
    more: bool,
}

/// Finds the entries before `before`; `None` if there are none.
fn find_examined(c: &dyn Connection, before: i64) -> sql::Result<Option<Examined>> {
    let mut query = c.prepare_cached(
        "SELECT min(id), count(*) FROM (SELECT id FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2) newest",
    )?;
    let limit = MAX_EXAMINED;
    query.query_row(params![before, limit], |row| {
        let more = row.get::<usize>(1)? >= limit;
        Ok(row.get::<Option<i64>>(0)?.map(|last| Examined { last, more }))
    })
}

fn insert(c: &dyn Connection, audited: &Audited, times: &AuditTimes) -> sql::Result<i64> {
    let Audited { user, token, from, action, scope, subject, outcome, status } = audited;
    let at = times.first;
    let last_at = times.last;
    let count = times.count;
    c.prepare_cached(
        "INSERT INTO audit (at, last_at, count, account, token, origin, action, scope, subject, outcome, status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .insert(params![at, last_at, count, user, token, from, action, scope, subject, outcome, status])
}

fn read_entry(row: Row<'_>) -> sql::Result<AuditEntry> {
    let count = row.get::<u64>(3)?;
    Ok(AuditEntry {
        id: row.get(0)?,
        times: AuditTimes { first: row.get(1)?, last: row.get(2)?, count },
        audited: Audited {
            user: row.get(4)?,
            token: row.get(5)?,
            from: row.get(6)?,
            action: row.get(7)?,
            scope: row.get(8)?,
            subject: row.get(9)?,
            outcome: row.get(10)?,
            status: row.get(11)?,
        },
    })
}
