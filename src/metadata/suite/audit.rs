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
        from: Origin::Machine,
        ..pushed(user, "")
    }
}

/// Notes entries, one an hour from `hours` on.
async fn note(s: &Scene, entries: impl IntoIterator<Item = Audited>, hours: i64) -> Vec<i64> {
    let new = entries.into_iter().zip(hours..).map(|(entry, hour)| (entry, AuditTimes::once(at(hour))));
    s.store.note_audit(new.collect(), Vec::new()).await.expect("noted")
}

/// When the entries were that a query finds.
async fn found(s: &Scene, query: AuditQuery) -> Vec<Timestamp> {
    let found = s.store.audit(&query, 100).await.expect("read").items;
    found.iter().map(|entry| entry.times.first).collect()
}

/// What is recorded is read again, newest first; what happens again counts.
pub async fn what_was_audited_is_told(s: &Scene) {
    let lost =
        Audited { user: None, from: Origin::Registry, action: AuditAction::EntriesLost, ..refused("") };
    let entries = [pushed("ann", "team/app"), refused("bob"), lost];
    let ids = note(s, entries.clone(), 1).await;
    let more = AuditTimes { first: at(5), last: at(6), count: 3 };
    s.store.note_audit(Vec::new(), vec![(ids[0], more), (1000, more)]).await.expect("noted");
    let found = s.store.audit(&AuditQuery::default(), 10).await.expect("read").items;
    assert!(found.iter().map(|entry| entry.id).eq(ids.iter().rev().copied()));
    assert!(found.iter().map(|entry| &entry.audited).eq(entries.iter().rev()));
    assert_eq!(found[2].times, AuditTimes { first: at(1), last: at(6), count: 4 });
}

/// Each filter, and all together.
pub async fn the_audit_log_is_searched(s: &Scene) {
    let entries = [
        pushed("ann", "team/app"),
        pushed("bob", "team/app"),
        pushed("ann", "teamwork"),
        refused("ann"),
        pushed("ann", "team/"),
    ];
    let ids = note(s, entries, 1).await;
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

/// In batches, apart from the newest of all; by a clock that is not trusted none is too old.
pub async fn old_audit_entries_are_forgotten(s: &Scene) {
    note(s, (0..6).map(|_| pushed("ann", "app")), 0).await;
    let forget = async |cutoff, most, limit| {
        let batch = s.store.forget_audit(cutoff, most, limit).await.expect("forgotten");
        (batch.changed, batch.more)
    };
    assert_eq!(forget(None, 100, 10).await, (0, false));
    assert_eq!(forget(Some(at(3)), 100, 3).await, (3, true));
    assert_eq!(forget(Some(at(3)), 100, 3).await, (1, false));
    forget(Some(at(9)), 100, 10).await;
    assert_eq!(found(s, AuditQuery::default()).await, [at(5)]);
}

/// What is denied to a crowd does not push out what was done.
pub async fn audit_entries_are_bounded_for_each_outcome(s: &Scene) {
    note(s, [pushed("ann", "app")], 0).await;
    note(s, (1..9).map(|_| refused("bob")), 1).await;
    while s.store.forget_audit(None, 2, 3).await.expect("forgotten").more {}
    assert_eq!(found(s, AuditQuery::default()).await, [at(8), at(7), at(0)]);
}
