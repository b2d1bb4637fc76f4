//! Policies and the results of retention runs.

use super::*;
use crate::metadata::{PolicyRecord, RetentionRun, RunCause};

fn record(name: &str, policy: &str, hours: i64) -> PolicyRecord {
    PolicyRecord { name: name.into(), policy: policy.into(), set_at: at(hours), by: Some("alice".into()) }
}

/// Policies are listed in the order in which they were first set, and their changes newest first.
pub async fn policies_are_recorded_with_their_history(s: &Scene) {
    for (name, policy, hours) in [("b", "1", 1), ("a", "2", 2), ("b", "3", 3)] {
        s.store.set_policy(record(name, policy, hours)).await.expect("set");
    }
    let found = s.store.policies().await.expect("read");
    assert_eq!(found, [record("b", "3", 3), record("a", "2", 2)]);
    assert!(s.store.remove_policy("b", at(4), None).await.expect("removed"));
    assert!(!s.store.remove_policy("b", at(5), None).await.expect("an answer"));
    assert_eq!(s.store.policies().await.expect("read"), [record("a", "2", 2)]);
    let history = s.store.policy_history(None, 2).await.expect("read").items;
    let summary =
        |change: &crate::metadata::PolicyChange| (change.name.clone(), change.policy.clone(), change.at);
    assert_eq!(
        history.iter().map(summary).collect::<Vec<_>>(),
        [("b".into(), None, at(4)), ("b".into(), Some("3".into()), at(3))]
    );
    assert_eq!(history[0].by, None);
    assert_eq!(s.store.policy_history(Some(history[1].id), 9).await.expect("read").items.len(), 2);
}

/// Newest first, page by page.
pub async fn runs_are_listed_newest_first(s: &Scene) {
    for (tags, cause) in [(1, RunCause::Interval), (2, RunCause::Pressure), (3, RunCause::Request)] {
        let run = RetentionRun {
            began_at: at(1),
            ended_at: at(2),
            tags,
            cause,
            bytes: Some(7),
            ..RetentionRun::default()
        };
        s.store.record_retention_run(run).await.expect("recorded");
    }
    let found = s.store.retention_runs(None, 2).await.expect("read").items;
    assert_eq!(
        found.iter().map(|run| (run.tags, run.cause)).collect::<Vec<_>>(),
        [(3, RunCause::Request), (2, RunCause::Pressure)]
    );
    assert_eq!((found[0].began_at, found[0].ended_at, found[0].bytes), (at(1), at(2), Some(7)));
    assert_eq!(s.store.retention_runs(Some(found[1].id), 9).await.expect("read").items[0].tags, 1);
}
