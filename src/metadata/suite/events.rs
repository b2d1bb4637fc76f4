//! Events.

use super::*;
use crate::metadata::{
    ChangeKind, Event, EventDetails, EventKind, NameRange, PolicyRecord, RetentionRun, RunCause, Visible,
};

/// Returns all events, oldest first.
async fn events(s: &Scene) -> Vec<Event> {
    let mut found = s.store.events(None, None, 1000).await.expect("read").items;
    found.reverse();
    found
}

async fn kinds(s: &Scene) -> Vec<EventKind> {
    events(s).await.iter().map(|event| event.details.kind()).collect()
}

/// Records whether the disk is full. Returns whether that was a new event.
async fn disk(s: &Scene, full: bool, hours: i64) -> bool {
    let free = 7;
    let min_free = 9;
    let state = match full {
        true => EventDetails::DiskFull { free, min_free },
        false => EventDetails::DiskAmple { free, min_free },
    };
    s.store.record_state(at(hours), state).await.expect("recorded")
}

/// With the reason, the time, and the repository that the content was pushed to.
pub async fn damage_and_repair_are_events(s: &Scene) {
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
    assert_eq!(events(s).await.len(), 2, "pushing an intact blob repairs nothing");
}

/// Each check of a damaged blob finds it damaged again. Generations that are not current are ignored.
pub async fn unchanged_blob_state_is_not_an_event(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    assert!(s.mark(&key, false, 2).await);
    assert!(s.mark(&key, true, 3).await && s.mark(&key, true, 4).await);
    assert!(s.mark(&key, false, 5).await && s.mark(&key, false, 6).await);
    s.push("app", "layer", 7).await;
    assert!(!s.mark(&key, true, 8).await);
    assert_eq!(kinds(s).await, [EventKind::BlobDamaged, EventKind::BlobSound]);
}

/// Changes of policies, and what policies removed.
pub async fn policy_changes_and_runs_are_events(s: &Scene) {
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
    s.store.record_retention_run(run.clone()).await.expect("recorded");
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

/// Recorded once, at the start.
pub async fn repository_changes_are_events(s: &Scene) {
    let app = repo("app");
    let new = repo("new");
    let change = at(2).into();
    s.put("app", image("a").tag("v1"), 1).await;
    for _ in 0..2 {
        s.store.start_deletion(&app, &change).await.expect("an answer").expect("started");
    }
    while s.store.advance_repository(&app, 10, &change).await.expect("advanced").is_some() {}
    assert_eq!(s.store.start_deletion(&app, &change).await.expect("an answer"), None);
    s.store.start_restoration(&app, None, &change).await.expect("an answer").expect("started");
    while s.store.advance_repository(&app, 10, &change).await.expect("advanced").is_some() {}
    s.store.rename_repository(&app, &new, &change).await.expect("renamed");
    s.store.rename_repository(&app, &new, &change).await.expect("an answer");
    let expected = [
        EventDetails::RepositoryDeleted { repository: app.clone(), manifests: 1, by: None },
        EventDetails::RepositoryRestored { repository: app.clone(), manifests: 1, by: None },
        EventDetails::RepositoryRenamed { from: app, to: new, by: None },
    ];
    let found = events(s).await.into_iter().map(|event| event.details);
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

/// Also across a restart: the last recorded state counts. An initial good state is not an event.
pub async fn each_new_state_is_an_event(s: &Scene) {
    let checks = [(false, 1), (true, 2), (true, 3), (false, 4), (false, 5), (true, 6)];
    let mut recorded = Vec::new();
    for (full, hours) in checks {
        recorded.push(disk(s, full, hours).await);
    }
    assert_eq!(recorded, [false, true, false, true, false, true]);
    let trusted = s.store.record_state(at(7), EventDetails::ClockTrusted {}).await.expect("recorded");
    assert!(!trusted, "no state of the clock was recorded before");
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

/// In batches, except for the newest event. Without a trusted clock no event is too old.
pub async fn old_events_are_deleted(s: &Scene) {
    for hours in 0..6 {
        disk(s, hours % 2 == 0, hours).await;
    }
    let none = s.store.forget_events(None, 100, 10).await.expect("deleted");
    assert_eq!((none.changed, none.more), (0, false));
    let some = s.store.forget_events(Some(at(3)), 100, 3).await.expect("deleted");
    assert_eq!((some.changed, some.more), (3, true));
    let rest = s.store.forget_events(Some(at(3)), 100, 3).await.expect("deleted");
    assert_eq!((rest.changed, rest.more), (1, false));
    s.store.forget_events(Some(at(9)), 100, 10).await.expect("deleted");
    assert_eq!(events(s).await.iter().map(|event| event.at).collect::<Vec<_>>(), [at(5)]);
}

/// Frequent events do not push out rare ones.
pub async fn events_are_limited_per_kind(s: &Scene) {
    let key = s.push("app", "layer", 0).await;
    s.mark(&key, true, 0).await;
    for hours in 1..9 {
        disk(s, hours % 2 == 1, hours).await;
    }
    while s.store.forget_events(None, 1, 2).await.expect("deleted").more {}
    let found = events(s).await;
    assert_eq!(found.iter().map(|event| event.at).collect::<Vec<_>>(), [at(0), at(7), at(8)]);
}

/// Events of other repositories and of the registry as a whole are left out.
pub async fn only_events_of_visible_repositories_are_listed(s: &Scene) {
    for (hours, name) in (1..).zip(["team/a", "secret", "team/b"]) {
        s.put(name, image("m").tag("t"), hours).await;
        s.store.start_deletion(&repo(name), &at(hours).into()).await.expect("started");
    }
    assert!(disk(s, true, 4).await);
    assert_eq!(kinds(s).await.len(), 4);
    let team = Visible::from_ranges([NameRange::prefix("team/")]);
    let page = s.store.visible_events(&team, None, 10).await.expect("an answer");
    let names: Vec<_> = page.items.iter().flat_map(|event| event.details.repositories()).collect();
    assert_eq!((names, page.next), (vec![&repo("team/b"), &repo("team/a")], None));
    let first = s.store.visible_events(&team, None, 1).await.expect("an answer");
    let second = s.store.visible_events(&team, first.next, 1).await.expect("an answer");
    assert_eq!([first.items, second.items].concat(), page.items);
    let nothing = s.store.visible_events(&Visible::default(), None, 10).await.expect("an answer");
    assert_eq!(nothing.items, []);
}

/// The repositories in which tags have changed are listed once, from any change on.
pub async fn changed_repositories_are_listed(s: &Scene) {
    assert_eq!(s.store.last_tag_change().await.expect("an answer"), 0);
    s.put("a", image("one").tag("v1"), 1).await;
    let first = s.store.last_tag_change().await.expect("an answer");
    s.put("b", image("one").tag("v1"), 2).await;
    s.put("b", image("two").tag("v1"), 3).await;
    s.put("c", image("one").tag("v1"), 4).await;
    let changed = async |after, limit| s.store.changed_repositories(after, limit).await.expect("an answer");
    let all = changed(first, 10).await;
    assert_eq!(all.names, [repo("b"), repo("c")]);
    assert_eq!(all.last, s.store.last_tag_change().await.expect("an answer"));
    let part = changed(first, 2).await;
    assert_eq!(part.names, [repo("b")]);
    assert_eq!(changed(part.last, 2).await.names, [repo("c")]);
    assert_eq!(changed(all.last, 2).await.names, []);
}

/// The space of repositories is divided into what is shared and what is not.
pub async fn exclusive_space_is_listed(s: &Scene) {
    for (name, blobs) in
        [("team/a", &["base", "a1", "a2"][..]), ("team/b", &["base", "b1"]), ("other", &["o1"])]
    {
        let mut pushed = image("one");
        for blob in blobs {
            s.push(name, blob, 0).await;
            pushed = pushed.blob(blob);
        }
        s.put(name, pushed.tag("v1"), 1).await;
    }
    let division = s.store.space_division(&rules(2), 2).await.expect("an answer");
    assert_eq!(division.largest[0].repo, repo("team/a"));
    assert_eq!((division.repositories, division.other_repositories), (3, 1));
    assert!(division.shared > 0 && division.largest[0].bytes > division.largest[1].bytes);
    let team = Visible::from_ranges([NameRange::prefix("team/")]);
    let found = s.store.largest_visible(&team, 10).await.expect("an answer");
    let names: Vec<_> = found.items.iter().map(|item| item.repo.clone()).collect();
    assert_eq!((names, found.others), (vec![repo("team/a"), repo("team/b")], false));
}

/// The latest pushes come first, with what happened, and only those of visible repositories.
pub async fn latest_pushes_are_listed(s: &Scene) {
    s.put("team/a", image("one").tag("v1").tag("latest"), 1).await;
    s.put("secret", image("one").tag("v1"), 2).await;
    s.put("team/b", image("one").tag("v1"), 3).await;
    s.put("team/a", image("two").tag("latest"), 4).await;
    s.put("team/a", image("three"), 5).await;
    let pushes = async |visible: &Visible, limit| {
        let found = s.store.recent_pushes(visible, limit).await.expect("an answer");
        found
            .into_iter()
            .map(|push| (push.repo.to_string(), push.tag.to_string(), push.at))
            .collect::<Vec<_>>()
    };
    let of = |repo: &str, tag: &str, hours| (repo.to_owned(), tag.to_owned(), at(hours));
    let all =
        [of("team/a", "latest", 4), of("team/b", "v1", 3), of("secret", "v1", 2), of("team/a", "v1", 1)];
    assert_eq!(pushes(&Visible::all(), 10).await, all);
    assert_eq!(pushes(&Visible::all(), 2).await, all[..2]);
    let team = Visible::from_ranges([NameRange::prefix("team/")]);
    assert_eq!(pushes(&team, 10).await, [all[0].clone(), all[1].clone(), all[3].clone()]);
    assert_eq!(pushes(&Visible::default(), 10).await, []);
    let found = s.store.recent_pushes(&Visible::all(), 1).await.expect("an answer");
    assert_eq!((&found[0].digest, found[0].kind), (&digest("two"), Some(ChangeKind::Move)));
}
