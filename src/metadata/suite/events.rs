//! What happened to the store.

use super::*;
use crate::metadata::{Event, EventDetails, EventKind, PolicyRecord, RetentionRun, RunCause};

/// All events, the oldest first.
async fn events(s: &Scene) -> Vec<Event> {
    let mut found = s.store.events(None, None, 1000).await.expect("read").items;
    found.reverse();
    found
}

async fn kinds(s: &Scene) -> Vec<EventKind> {
    events(s).await.iter().map(|event| event.details.kind()).collect()
}

/// Notes how full the disk is.
async fn disk(s: &Scene, full: bool, hours: i64) -> bool {
    let (free, min_free) = (7, 9);
    let state = match full {
        true => EventDetails::DiskFull { free, min_free },
        false => EventDetails::DiskAmple { free, min_free },
    };
    s.store.note_state(at(hours), state).await.expect("noted")
}

/// With the reason, when, and where the bytes came back.
pub async fn damage_and_healing_are_events(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    assert!(s.mark(&key, true, 2).await);
    s.push("other", "layer", 3).await;
    let layer = digest("layer");
    let expected = [
        (at(2), EventDetails::BlobDamaged { digest: layer.clone(), reason: "it is short".into() }),
        (at(3), EventDetails::BlobHealed { digest: layer, repository: repo("other") }),
    ];
    let found = events(s).await.into_iter().map(|event| (event.at, event.details));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    s.push("app", "layer", 4).await;
    assert_eq!(events(s).await.len(), 2, "a push of what is sound heals nothing");
}

/// Each look at a damaged blob finds it damaged; and what is not current is no matter.
pub async fn a_mark_that_is_there_already_is_no_event(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    assert!(s.mark(&key, false, 2).await);
    assert!(s.mark(&key, true, 3).await && s.mark(&key, true, 4).await);
    assert!(s.mark(&key, false, 5).await && s.mark(&key, false, 6).await);
    s.push("app", "layer", 7).await;
    assert!(!s.mark(&key, true, 8).await);
    assert_eq!(kinds(s).await, [EventKind::BlobDamaged, EventKind::BlobSound]);
}

/// Policies that change, and what they let go.
pub async fn what_policies_and_people_do_is_an_event(s: &Scene) {
    let by = Some("alice".to_owned());
    let record = PolicyRecord { name: "ci".into(), policy: "{}".into(), set_at: at(1), by: by.clone() };
    s.store.set_policy(record).await.expect("set");
    let run = RetentionRun {
        began_at: at(2),
        ended_at: at(3),
        cause: RunCause::Pressure,
        tags: 4,
        manifests: 5,
        ..RetentionRun::default()
    };
    s.store.note_run(run.clone()).await.expect("noted");
    assert!(s.store.remove_policy("ci", at(4), None).await.expect("removed"));
    assert!(!s.store.remove_policy("ci", at(5), None).await.expect("an answer"));
    let expected = [
        (at(1), EventDetails::PolicySet { name: "ci".into(), by }),
        (at(3), EventDetails::from(&run)),
        (at(4), EventDetails::PolicyRemoved { name: "ci".into(), by: None }),
    ];
    let found = events(s).await.into_iter().map(|event| (event.at, event.details));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

/// When it begins, and once.
pub async fn what_is_done_to_a_repository_is_an_event(s: &Scene) {
    let (app, new, change) = (repo("app"), repo("new"), at(2).into());
    s.put("app", image("a").tag("v1"), 1).await;
    for _ in 0..2 {
        s.store.begin_deletion(&app, &change).await.expect("an answer").expect("begun");
    }
    while s.store.advance_repository(&app, 10, &change).await.expect("advanced").is_some() {}
    assert_eq!(s.store.begin_deletion(&app, &change).await.expect("an answer"), None);
    s.store.begin_restoration(&app, None, &change).await.expect("an answer").expect("begun");
    while s.store.advance_repository(&app, 10, &change).await.expect("advanced").is_some() {}
    s.store.rename_repository(&app, &new, &change).await.expect("renamed");
    s.store.rename_repository(&app, &new, &change).await.expect("an answer");
    let (repository, manifests, by) = (app.clone(), 1, None);
    let expected = [
        EventDetails::RepositoryDeleted { repository: repository.clone(), manifests, by: by.clone() },
        EventDetails::RepositoryRestored { repository, manifests, by: by.clone() },
        EventDetails::RepositoryRenamed { from: app, to: new, by },
    ];
    let found = events(s).await.into_iter().map(|event| event.details);
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

/// Also across a restart: what counts is what was recorded last. That all is well goes without saying.
pub async fn each_new_state_is_an_event(s: &Scene) {
    let looks = [(false, 1), (true, 2), (true, 3), (false, 4), (false, 5), (true, 6)];
    let mut news = Vec::new();
    for (full, hours) in looks {
        news.push(disk(s, full, hours).await);
    }
    assert_eq!(news, [false, true, false, true, false, true]);
    let trusted = s.store.note_state(at(7), EventDetails::ClockTrusted {}).await.expect("noted");
    assert!(!trusted, "of the clock nothing was recorded");
    assert_eq!(kinds(s).await, [EventKind::DiskFull, EventKind::DiskAmple, EventKind::DiskFull]);
}

/// Newest first.
pub async fn events_are_listed_by_kind_and_page(s: &Scene) {
    for hours in 0..6 {
        disk(s, hours % 2 == 0, hours).await;
    }
    let first = s.store.events(None, None, 4).await.expect("read").items;
    assert_eq!(first.iter().map(|event| event.at).collect::<Vec<_>>(), [at(5), at(4), at(3), at(2)]);
    let rest = s.store.events(None, Some(first[3].id), 4).await.expect("read").items;
    assert_eq!(rest.iter().map(|event| event.at).collect::<Vec<_>>(), [at(1), at(0)]);
    let full = |before| s.store.events(Some(EventKind::DiskFull), before, 2);
    let first = full(None).await.expect("read").items;
    assert_eq!(first.iter().map(|event| event.at).collect::<Vec<_>>(), [at(4), at(2)]);
    let rest = full(Some(first[1].id)).await.expect("read").items;
    assert_eq!(rest.iter().map(|event| event.at).collect::<Vec<_>>(), [at(0)]);
    let none = s.store.events(Some(EventKind::BlobDamaged), None, 2).await.expect("read").items;
    assert_eq!(none, []);
}

/// In batches, apart from the newest of all; by a clock that is not trusted none is too old.
pub async fn old_events_are_forgotten(s: &Scene) {
    for hours in 0..6 {
        disk(s, hours % 2 == 0, hours).await;
    }
    let none = s.store.forget_events(None, 100, 10).await.expect("forgotten");
    assert_eq!((none.changed, none.more), (0, false));
    let some = s.store.forget_events(Some(at(3)), 100, 3).await.expect("forgotten");
    assert_eq!((some.changed, some.more), (3, true));
    let rest = s.store.forget_events(Some(at(3)), 100, 3).await.expect("forgotten");
    assert_eq!((rest.changed, rest.more), (1, false));
    s.store.forget_events(Some(at(9)), 100, 10).await.expect("forgotten");
    assert_eq!(events(s).await.iter().map(|event| event.at).collect::<Vec<_>>(), [at(5)]);
}

/// What happens often does not push out what happens seldom.
pub async fn events_are_bounded_for_each_kind(s: &Scene) {
    let key = s.push("app", "layer", 0).await;
    s.mark(&key, true, 0).await;
    for hours in 1..9 {
        disk(s, hours % 2 == 1, hours).await;
    }
    while s.store.forget_events(None, 1, 2).await.expect("forgotten").more {}
    let found = events(s).await;
    assert_eq!(found.iter().map(|event| event.at).collect::<Vec<_>>(), [at(0), at(7), at(8)]);
}
