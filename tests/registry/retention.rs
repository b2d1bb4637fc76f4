//! Tests retention on a real registry: a run does exactly what its plan lists.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use orlop::clock::Clock;
use orlop::jobs::retention::{
    PlanReport, PolicyChangeError, PolicySet, Retention, RetentionError, RetentionSettings,
};
use orlop::jobs::{Collector, CollectorSettings};
use orlop::memory::{MemoryBudget, Purpose};
use orlop::metadata::{RunCause, SnapshotQuery};
use orlop::oci::{ImageDetails, RepoName};
use orlop::registry::Repository;
use orlop::retention::{Action, Needs, Policies, Policy, Rule};

use crate::kit::*;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses policies from TOML.
pub fn policies(toml: &str) -> Policies {
    toml::from_str(toml).expect("policies")
}

/// Retention with these policies, which also protect the registry's immutable tags and restrict its collector.
pub async fn retention(kit: &mut Kit, policies: Policies) -> Retention {
    let policies = Arc::new(PolicySet::from_file(policies).expect("sound policies"));
    policies.load(kit.registry.metadata().as_ref()).await.expect("loaded");
    kit.registry.guard_tags(Arc::clone(&policies) as _);
    let rules = CollectorSettings {
        trash: TRASH,
        untagged: Some(UNTAGGED),
        upload_expiry: Duration::from_secs(1000),
        batch: 3,
    };
    kit.collector = Collector::new(Arc::clone(&kit.registry), rules).with_policies(Arc::clone(&policies));
    let settings = RetentionSettings { batch: 3 };
    Retention::new(Arc::clone(&kit.registry), policies, settings)
}

/// The tags that a plan expires.
pub fn expired_tags(plan: &PlanReport) -> Vec<String> {
    let tag = |(repo, row): (&RepoName, &orlop::jobs::retention::Row)| {
        row.decision.expiry()?;
        row.tag.as_ref().map(|tag| format!("{repo}:{tag}"))
    };
    plan.rows().filter_map(tag).collect()
}

pub async fn tags(repo: &Repository) -> Vec<String> {
    let page = repo.tags(None, 1000).await.expect("tags");
    page.items.iter().map(ToString::to_string).collect()
}

const OLD: &str = r#"
[[policies]]
name = "builds"
[[policies.rules]]
name = "releases"
action = "keep"
tags = ["v*"]
[[policies.rules]]
name = "old"
action = "expire"
pushed_before = "1d"
[[immutable]]
tags = ["fixed*"]
"#;

#[tokio::test]
async fn planning_changes_nothing_and_applying_does_what_was_planned() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    for tag in ["a", "b", "v1", "fixed"] {
        push_image(&repo, tag, tag).await;
    }
    kit.clock.advance(2 * DAY);
    push_image(&repo, "new", "new").await;
    let retention = retention(&mut kit, policies(OLD)).await;
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(expired_tags(&plan), ["app:a", "app:b"]);
    assert_eq!(tags(&repo).await, ["a", "b", "fixed", "new", "v1"]);
    let explanations =
        plan.rows().map(|(_, row)| row.decision.explain(plan.now).to_string()).collect::<Vec<_>>();
    assert!(
        explanations[0].starts_with("expired by rule `old` of policy `builds`: pushed 2d ago"),
        "{}",
        explanations[0]
    );
    assert_eq!(retention.stored_plan(plan.id).expect("stored").id, plan.id);

    let done = retention.apply(&plan, true, None).await.expect("applied");
    assert_eq!((done.tags, done.manifests, done.skipped, done.stopped), (2, 2, 0, false));
    assert_eq!(tags(&repo).await, ["fixed", "new", "v1"]);
    let runs = kit.registry.metadata().retention_runs(None, 10).await.expect("runs").items;
    assert_eq!((runs.len(), runs[0].tags, runs[0].cause), (1, 2, RunCause::Request));
    let metadata = kit.registry.metadata();
    let tag = "a".parse().expect("tag");
    let history = metadata.tag_history(repo.name(), Some(&tag), None, 1).await.expect("history");
    assert_eq!(history.items[0].reason.as_deref(), Some("rule `old` of policy `builds`"));
}

#[tokio::test]
async fn a_plan_reserves_its_memory_and_omits_kept_rows_if_memory_is_short() {
    let mut kit = Kit::with(|settings| settings.memory = MemoryBudget::new(256 << 10));
    let memory = kit.registry.memory().clone();
    let few = kit.repo("few");
    let many = kit.repo("many");
    push_image(&few, "old", "old").await;
    let (manifest, ..) = push_image(&many, "a", "a").await;
    let point = |number: usize| many.point_tag(format!("v{number}").parse().expect("tag"), &manifest);
    join_all((0..250).map(point)).await.into_iter().collect::<Result<(), _>>().expect("tagged");
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(OLD)).await;
    let reserved = || memory.reserved_for(Purpose::Snapshots);
    let before = reserved();

    let few = retention.plan(Some(few.name()), false).await.expect("planned");
    assert!(!few.kept_left_out && reserved() > before);
    let all = retention.plan(None, false).await.expect("planned");
    assert_eq!((all.totals.tags, all.totals.tags_kept, all.kept_left_out), (2, 250, true));
    assert_eq!(expired_tags(&all), ["few:old", "many:a"]);
    assert!(reserved() < memory.limit() / 4, "{}", reserved());
    let done = retention.apply(&all, true, None).await.expect("applied");
    assert_eq!((done.tags, done.stopped), (2, false));
    drop((few, all, retention));
    assert_eq!(reserved(), before);
}

#[tokio::test]
async fn stores_a_few_plans_and_drops_the_oldest_first() {
    let mut kit = Kit::new();
    push_image(&kit.repo("app"), "a", "a").await;
    let retention = retention(&mut kit, policies(OLD)).await;
    let first = retention.plan(None, false).await.expect("planned");
    for _ in 0..7 {
        retention.plan(None, false).await.expect("planned");
    }
    assert_eq!(retention.stored_plan(first.id).expect("stored").id, first.id);
    let last = retention.plan(None, false).await.expect("planned");
    assert!(matches!(retention.stored_plan(first.id), Err(RetentionError::NoPlan(_))));
    assert_eq!(retention.stored_plan(last.id).expect("stored").id, last.id);
}

#[tokio::test]
async fn an_apply_skips_changed_rows_or_stops_if_strict() {
    for strict in [false, true] {
        let mut kit = Kit::new();
        let repo = kit.repo("app");
        let (first, ..) = push_image(&repo, "a", "a").await;
        for tag in ["b", "c", "d"] {
            kit.clock.advance(Duration::from_secs(1));
            push_image(&repo, tag, tag).await;
        }
        kit.clock.advance(2 * DAY);
        let retention = retention(&mut kit, policies(OLD)).await;
        let plan = retention.plan(Some(repo.name()), false).await.expect("planned");
        assert_eq!(plan.steps(), 4);
        // One tag is moved, and one image is pulled.
        kit.clock.advance(Duration::from_secs(1));
        repo.point_tag("b".parse().expect("tag"), &first).await.expect("moved");
        let pulled = repo.without_push().manifest(&"c".parse().expect("reference")).await.expect("there");
        repo.record_pull(&pulled.digest);
        let done = retention.apply(&plan, strict, None).await.expect("applied");
        let skipped: Vec<_> =
            done.skips.iter().filter_map(|skip| skip.tag.as_ref()).map(orlop::oci::Tag::as_str).collect();
        if strict {
            assert_eq!((skipped, done.tags, done.stopped), (vec!["b"], 1, true));
            assert_eq!(tags(&repo).await, ["b", "c", "d"]);
        } else {
            assert_eq!((skipped, done.tags, done.stopped), (vec!["b", "c"], 2, false));
            assert_eq!(tags(&repo).await, ["b", "c"]);
        }
        // The moved tag keeps the manifest.
        assert!(has(&repo, first.as_str()).await);
        assert!(matches!(retention.stored_plan(uuid::Uuid::nil()), Err(RetentionError::NoPlan(_))));
    }
}

#[tokio::test]
async fn the_job_does_what_the_plan_lists() {
    let mut kit = Kit::new();
    for name in ["a", "b", "c"] {
        for tag in ["1", "2", "3", "4", "v1"] {
            push_image(&kit.repo(name), tag, &format!("{name}{tag}")).await;
        }
    }
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(OLD)).await;
    assert_eq!(expired_tags(&retention.plan(None, false).await.expect("planned")).len(), 12);
    retention.run_to_end().await.expect("run");
    for name in ["a", "b", "c"] {
        assert_eq!(tags(&kit.repo(name)).await, ["v1"]);
    }
    let status = retention.status();
    assert_eq!((status.tags, status.skipped, status.paused), (12, 0, None));
    retention.run_to_end().await.expect("run");
    assert_eq!(kit.registry.metadata().retention_runs(None, 10).await.expect("runs").items.len(), 1);
}

#[tokio::test]
async fn immutable_tags_cannot_be_moved_or_deleted_but_can_be_pushed_again() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let (digest, config, layer) = push_image(&repo, "fixed", "one").await;
    let (other, ..) = push_image(&repo, "free", "two").await;
    let _retention = retention(&mut kit, policies(OLD)).await;
    assert!(repo.point_tag("fixed".parse().expect("tag"), &other).await.is_err());
    assert!(repo.delete_tag(&"fixed".parse().expect("tag")).await.is_err());
    assert_eq!(put(&repo, &["fixed"], &image(&config, &[&layer])).await.expect("the same"), digest);
}

const PAST: &str = r#"
[[policies]]
name = "back"
[[policies.rules]]
name = "moving"
action = "keep"
tags = ["latest"]
keep_history = 2
[[policies.rules]]
name = "rest"
action = "expire"
tags = ["build-*"]
pushed_before = "1s"
"#;

#[tokio::test]
async fn kept_history_outlives_its_tags_and_the_collector() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let mut past = Vec::new();
    for build in 0..4 {
        let (digest, ..) = push_image(&repo, "latest", &format!("build {build}")).await;
        repo.point_tag(format!("build-{build}").parse().expect("tag"), &digest).await.expect("tagged");
        kit.clock.advance(Duration::from_secs(10));
        past.push(digest);
    }
    let retention = retention(&mut kit, policies(PAST)).await;
    // Nothing untagged is collected before retention has evaluated it.
    repo.delete_tag(&"build-0".parse().expect("tag")).await.expect("deleted");
    kit.pass(2 * UNTAGGED).await;
    assert!(has(&repo, past[0].as_str()).await);
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(expired_tags(&plan).len(), 3);
    retention.run_to_end().await.expect("run");
    assert_eq!(tags(&repo).await, ["latest"]);
    for _ in 0..4 {
        retention.run_to_end().await.expect("run");
        kit.pass(UNTAGGED).await;
    }
    let there = [
        has(&repo, past[0].as_str()).await,
        has(&repo, past[1].as_str()).await,
        has(&repo, past[2].as_str()).await,
    ];
    assert_eq!(there, [false, true, true]);
    let back = repo.rollback(&"latest".parse().expect("tag"), Some(&past[1])).await.expect("rolled back");
    assert_eq!((back.to, back.restored), (past[1].clone(), Vec::new()));
    // The manifest that `latest` leaves becomes history, and the next push pushes the older history out.
    push_image(&repo, "latest", "another").await;
    retention.run_to_end().await.expect("run");
    kit.pass(2 * UNTAGGED).await;
    assert!(has(&repo, past[1].as_str()).await && has(&repo, past[3].as_str()).await);
    for _ in 0..2 {
        retention.run_to_end().await.expect("run");
        kit.pass(2 * UNTAGGED).await;
    }
    assert!(!has(&repo, past[2].as_str()).await);
    assert_eq!(kit.registry.metadata().verify().await.expect("verified"), Vec::<String>::new());
}

#[tokio::test]
async fn an_untagged_manifest_kept_by_a_rule_is_not_collected() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let config = push(&repo, b"{}").await;
    let layer = push(&repo, b"layer").await;
    let kept = put(&repo, &[], &image(&config, &[&layer])).await.expect("manifest");
    let text = "[[policies]]\nname = \"all\"\n[[policies.rules]]\nname = \"untagged\"\naction = \"keep\"\nuntagged = true";
    let retention = retention(&mut kit, policies(text)).await;
    retention.run_to_end().await.expect("run");
    for _ in 0..3 {
        kit.pass(2 * UNTAGGED).await;
        retention.run_to_end().await.expect("run");
    }
    assert!(has(&repo, kept.as_str()).await);
    let pin = kit.registry.metadata().pin(repo.name(), &kept).await.expect("read");
    assert_eq!(pin.as_deref(), Some("kept: rule `untagged` of policy `all`"));
    // Without the rule it is collected at once, because it is old enough.
    let retention = self::retention(&mut kit, Policies::default()).await;
    retention.run_to_end().await.expect("run");
    kit.pass(Duration::ZERO).await;
    assert!(!has(&repo, kept.as_str()).await);
}

#[tokio::test]
async fn under_pressure_expires_step_by_step_until_the_goal_is_reached() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    for tag in ["1", "2", "3", "4"] {
        kit.clock.advance(Duration::from_secs(10));
        push_image(&repo, tag, tag).await;
    }
    kit.clock.advance(Duration::from_secs(3600));
    let pulled = repo.without_push().manifest(&"1".parse().expect("reference")).await.expect("there");
    repo.record_pull(&pulled.digest);
    kit.clock.advance(Duration::from_secs(3600));
    let text = "[[policies]]\nname = \"p\"\n[[policies.rules]]\nname = \"full\"\naction = \"expire\"\nwhen = \"pressure\"\npushed_before = \"1h\"";
    let retention = retention(&mut kit, policies(text)).await;
    retention.run_to_end().await.expect("run");
    assert_eq!(tags(&repo).await.len(), 4);
    let done =
        retention.apply_under_pressure(|done| std::future::ready(Ok(done.tags == 2))).await.expect("applied");
    assert_eq!(done.tags, 2);
    assert_eq!(tags(&repo).await, ["1", "4"]);
}

#[tokio::test]
async fn rejects_a_plan_made_with_other_policies_or_for_pressure_that_does_not_exist() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    push_image(&repo, "a", "a").await;
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, Policies::default()).await;
    retention.policy_set().put(&kit.registry, &old_rule("mine"), None).await.expect("set");
    let plan = retention.plan(None, false).await.expect("planned");
    let pressure_plan = retention.plan(None, true).await.expect("planned");
    assert_eq!((plan.steps(), pressure_plan.steps()), (1, 1));
    let error = retention.apply(&pressure_plan, false, None).await.expect_err("the store is not full");
    assert!(matches!(error, RetentionError::UnderPressure(_)), "{error}");
    let keep = Policy { preset: Some("keep-everything".into()), ..Policy::default() };
    retention.policy_set().put(&kit.registry, &keep, None).await.expect("set");
    let error = retention.apply(&plan, false, None).await.expect_err("the policies changed");
    assert!(matches!(error, RetentionError::OtherPolicies(_)), "{error}");
    assert_eq!(tags(&repo).await, ["a"]);
}

fn old_rule(name: &str) -> Policy {
    let rule = Rule { pushed_before: Some("1d".into()), ..Rule::new("old", Action::Expire) };
    Policy { name: name.into(), rules: vec![rule], ..Policy::default() }
}

#[tokio::test]
async fn setting_and_removing_policies_records_their_history() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    push_image(&repo, "a", "a").await;
    kit.clock.advance(2 * DAY);
    let retention =
        retention(&mut kit, policies("[[policies]]\npreset = \"keep-everything\"\nrepositories = [\"x\"]"))
            .await;
    assert_eq!(retention.plan(None, false).await.expect("planned").steps(), 0);
    let policies = retention.policy_set();
    let registry = &kit.registry;
    policies.put(registry, &old_rule("mine"), Some("alice")).await.expect("set");
    assert_eq!(retention.plan(None, false).await.expect("planned").steps(), 1);
    let error = policies.put(registry, &old_rule("keep-everything"), None).await.expect_err("in the file");
    assert!(matches!(error, PolicyChangeError::InFile(_)), "{error}");
    let invalid = Policy { rules: vec![Rule::new("all", Action::Expire)], ..old_rule("mine") };
    let error = policies.put(registry, &invalid, None).await.expect_err("invalid").to_string();
    assert!(error.starts_with("rule `all` of retention policy `mine`"), "{error}");
    assert_eq!(retention.plan(None, false).await.expect("planned").steps(), 1);

    // A new process loads them too.
    let reloaded = PolicySet::from_file(Policies::default()).expect("sound");
    reloaded.load(registry.metadata().as_ref()).await.expect("loaded");
    assert_eq!(reloaded.in_force().policies.len(), 1);
    policies.remove(registry, "mine", None).await.expect("removed");
    assert!(policies.remove(registry, "mine", None).await.is_err());
    assert_eq!(retention.plan(None, false).await.expect("planned").steps(), 0);
    let history = registry.metadata().policy_history(None, 10).await.expect("history").items;
    let changes: Vec<_> = history.iter().map(|c| (c.policy.is_some(), c.by.as_deref())).collect();
    assert_eq!(changes, [(false, None), (true, Some("alice"))]);
}

#[tokio::test]
async fn an_unusable_policy_record_pauses_retention() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    push_image(&repo, "a", "a").await;
    kit.clock.advance(2 * DAY);
    let record = orlop::metadata::PolicyRecord {
        name: "later".into(),
        policy: r#"{"name":"later","rules":[],"whatever":1}"#.into(),
        set_at: orlop::clock::Timestamp(0),
        by: None,
    };
    kit.registry.metadata().set_policy(record).await.expect("set");
    let retention = retention(&mut kit, policies(OLD)).await;
    let error = retention.plan(None, false).await.expect_err("unusable").to_string();
    assert!(error.contains("`later`"), "{error}");
    retention.run_to_end().await.expect("a pause");
    assert!(retention.status().paused.is_some());
    kit.pass(2 * UNTAGGED).await;
    assert_eq!(tags(&repo).await, ["a"]);
}

#[tokio::test]
async fn expires_nothing_while_the_clock_is_suspect() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    push_image(&repo, "a", "a").await;
    let retention = retention(&mut kit, policies(OLD)).await;
    retention.run_to_end().await.expect("run");
    kit.clock.jump_to(orlop::clock::Timestamp(1_000_000_000 + 10 * 86_400_000));
    retention.run_to_end().await.expect("a pause");
    assert!(retention.status().paused.is_some());
    let plan = retention.plan(None, false).await.expect("planned");
    assert!(matches!(retention.apply(&plan, false, None).await, Err(RetentionError::Clock(_))));
    assert_eq!(tags(&repo).await, ["a"]);
}

/// A small machine without a battery-backed clock continues at the time of its shutdown until it gets the time from the
/// network.
#[tokio::test]
async fn images_pushed_before_the_clock_was_corrected_are_not_old() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    push_image(&repo, "a", "a").await;
    let retention = retention(&mut kit, policies(&OLD.replace("1d", "30d"))).await;
    kit.clock.advance(Duration::from_secs(60));
    kit.clock.jump_to(kit.clock.now().plus(400 * DAY));
    retention.run_to_end().await.expect("a pause");
    assert!(retention.status().paused.is_some());
    // The probation of the clock, and a little longer.
    kit.clock.advance(DAY + Duration::from_secs(60));
    retention.run_to_end().await.expect("run");
    assert_eq!(retention.status().paused, None);
    assert_eq!(tags(&repo).await, ["a"]);
}

#[tokio::test]
async fn a_push_records_platforms_and_labels() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let config = push(
        &repo,
        br#"{"os":"linux","architecture":"arm64","variant":"v8","config":{"Labels":{"team":"a"}}}"#,
    )
    .await;
    let odd = push(&repo, b"no json at all").await;
    let layer = push(&repo, b"layer").await;
    let arm = put(&repo, &["arm"], &image(&config, &[&layer])).await.expect("manifest");
    put(&repo, &["odd"], &image(&odd, &[&layer])).await.expect("manifest");
    put(&repo, &["index"], &index(&[&arm])).await.expect("index");
    let helm = image(&config, &[&layer]).replace("vnd.oci.image.config.v1", "vnd.cncf.helm.config.v1");
    put(&repo, &["chart"], &helm).await.expect("manifest");
    let needs = Needs { labels: ["team".to_owned()].into(), platforms: true, ..Needs::default() };
    let query = SnapshotQuery { past: 0, needs };
    let loaded =
        kit.registry.metadata().retention_snapshot(repo.name(), &query).await.expect("read").expect("there");
    let mut snapshot = loaded.snapshot;
    snapshot.inherit_details();
    let of = |tag: &str| {
        let tag = snapshot.tags.iter().find(|found| found.name.as_str() == tag).expect("a tag");
        let found =
            snapshot.manifests.iter().find(|manifest| manifest.digest == tag.digest).expect("a manifest");
        ImageDetails { platforms: found.platforms.clone(), labels: found.labels.clone(), incomplete: false }
    };
    assert_eq!(of("arm").platforms.expect("known"), ["linux/arm64/v8"]);
    assert_eq!(of("arm").labels.expect("known")["team"], "a");
    assert_eq!(of("index"), of("arm"));
    assert_eq!((of("odd"), of("chart")), (ImageDetails::default(), ImageDetails::of_artifact()));
    let entry = kit.registry.metadata().tag_entry(repo.name(), &"arm".parse().expect("tag")).await;
    assert_eq!(entry.expect("read").expect("an entry").manifest.platforms, ["linux/arm64/v8"]);
}
