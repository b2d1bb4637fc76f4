//! The audit log.

use super::*;
use crate::clock::Timestamp;
use crate::metadata::{AuditAction, AuditOutcome, AuditQuery, AuditTimes, Audited, Origin, Scope};

fn scope(text: &str) -> Scope {
    text.parse().expect("a scope")
}

fn pushed(user: &str, to: &str) -> Audited {
    Audited {
        user: Some(user.into()),
        token: Some("7f".into()),
        from: Origin::Address([192, 0, 2, 1].into()),
        action: AuditAction::ManifestPush,
        scope: scope(to),
        subject: Some("v1".into()),
        outcome: AuditOutcome::Allowed,
        status: Some(201),
    }
}

fn refused(user: &str) -> Audited {
    Audited {
        action: AuditAction::Login,
        outcome: AuditOutcome::Denied,
        status: None,
        token: None,
        subject: None,
        from: Origin::LocalAdmin,
        ..pushed(user, "")
    }
}

/// Records entries, one per hour from `hours` on.
async fn record(s: &Scene, entries: impl IntoIterator<Item = Audited>, hours: i64) -> Vec<i64> {
    let new = entries.into_iter().zip(hours..).map(|(entry, hour)| (entry, AuditTimes::once(at(hour))));
    s.store.record_audit(new.collect(), Vec::new()).await.expect("recorded")
}

/// Returns the first times of the entries that match a query.
async fn found(s: &Scene, query: AuditQuery) -> Vec<Timestamp> {
    let found = s.store.audit(&query, 100).await.expect("read").items;
    found.iter().map(|entry| entry.times.first).collect()
}

/// Entries are returned newest first; repetitions are counted.
pub async fn audit_entries_are_returned_newest_first(s: &Scene) {
    let lost =
        Audited { user: None, from: Origin::Registry, action: AuditAction::EntriesLost, ..refused("") };
    let entries = [pushed("ann", "team/app"), refused("bob"), lost];
    let ids = record(s, entries.clone(), 1).await;
    let more = AuditTimes { first: at(5), last: at(6), count: 3 };
    s.store.record_audit(Vec::new(), vec![(ids[0], more), (1000, more)]).await.expect("recorded");
    let found = s.store.audit(&AuditQuery::default(), 10).await.expect("read").items;
    assert!(found.iter().map(|entry| entry.id).eq(ids.iter().rev().copied()));
    assert!(found.iter().map(|entry| &entry.audited).eq(entries.iter().rev()));
    assert_eq!(found[2].times, AuditTimes { first: at(1), last: at(6), count: 4 });
}

/// Each filter alone, and all together.
pub async fn audit_log_is_filtered(s: &Scene) {
    let entries = [
        pushed("ann", "team/app"),
        pushed("bob", "team/app"),
        pushed("ann", "teamwork"),
        refused("ann"),
        pushed("ann", "team/"),
    ];
    let ids = record(s, entries, 1).await;
    let query = AuditQuery::default();
    let ann = AuditQuery { user: Some("ann".into()), ..query.clone() };
    assert_eq!(found(s, ann.clone()).await, [at(5), at(4), at(3), at(1)]);
    let below = |text| AuditQuery { scope: scope(text), ..query.clone() };
    assert_eq!(found(s, below("team/")).await, [at(5), at(2), at(1)]);
    assert_eq!(found(s, below("team/app")).await, [at(2), at(1)]);
    assert_eq!(found(s, below("team")).await, []);
    let denied = AuditQuery { outcome: Some(AuditOutcome::Denied), ..query.clone() };
    assert_eq!(found(s, denied).await, [at(4)]);
    let logins = AuditQuery { action: Some(AuditAction::Login), ..query.clone() };
    assert_eq!(found(s, logins).await, [at(4)]);
    let between = AuditQuery { since: Some(at(2)), until: Some(at(4)), ..query.clone() };
    assert_eq!(found(s, between).await, [at(3), at(2)]);
    let all = AuditQuery { scope: scope("team/"), before: Some(ids[4]), until: Some(at(5)), ..ann };
    assert_eq!(found(s, all).await, [at(1)]);
    assert_eq!(s.store.audit(&query, 2).await.expect("read").items.len(), 2);
}

/// In batches, except for the newest entry. Without a trusted clock no entry is too old.
pub async fn old_audit_entries_are_deleted(s: &Scene) {
    record(s, (0..6).map(|_| pushed("ann", "app")), 0).await;
    let forget = async |cutoff, max, limit| {
        let batch = s.store.forget_audit(cutoff, max, limit).await.expect("deleted");
        (batch.changed, batch.more)
    };
    assert_eq!(forget(None, 100, 10).await, (0, false));
    assert_eq!(forget(Some(at(3)), 100, 3).await, (3, true));
    assert_eq!(forget(Some(at(3)), 100, 3).await, (1, false));
    forget(Some(at(9)), 100, 10).await;
    assert_eq!(found(s, AuditQuery::default()).await, [at(5)]);
}

/// Many denied requests do not push out the record of changes.
pub async fn audit_entries_are_limited_per_outcome(s: &Scene) {
    record(s, [pushed("ann", "app")], 0).await;
    record(s, (1..9).map(|_| refused("bob")), 1).await;
    while s.store.forget_audit(None, 2, 3).await.expect("deleted").more {}
    assert_eq!(found(s, AuditQuery::default()).await, [at(8), at(7), at(0)]);
}
