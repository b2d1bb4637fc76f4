//! How manifests and tags follow each other, in small repositories.

use super::*;

const OLD: &[(&str, &str, &str)] =
    &[("v", "keep", "tags = ['v*']"), ("old", "expire", "pushed_before = '30d'")];

#[test]
fn keep_wins_and_manifest_expires_with_its_last_tag() {
    let tags = vec![tag("v1", 1, 90), tag("build-1", 1, 90), tag("build-2", 2, 90), tag("new", 3, 1)];
    let snapshot = repo(tags, vec![manifest(1, 90), manifest(2, 90), manifest(3, 1)]);
    let plan = plan(&snapshot, &rules(OLD));
    assert_eq!(expired_tags(&snapshot, &plan), ["build-1", "build-2"]);
    let text = |decision: &Decision| decision.explain(NOW).to_string();
    assert_eq!(text(&plan.tags[0]), "kept: rule `v` of policy `p`");
    assert_eq!(text(&plan.tags[1]), "expired by rule `old` of policy `p`: pushed 90d ago, never pulled");
    assert_eq!(text(&plan.tags[3]), "kept: no rule selects it");
    assert_eq!(text(&plan.manifests[0]), "kept: tag `v1`");
    let with_tags =
        "expired by rule `old` of policy `p` with the last of its tags: pushed 90d ago, never pulled";
    assert_eq!(text(&plan.manifests[1]), with_tags);
}

#[test]
fn children_referrers_and_cosign_tags_follow() {
    let mut index = manifest(1, 90);
    let mut child = manifest(2, 90);
    let mut sbom = manifest(3, 90);
    index.children = vec![digest(2)];
    sbom.subject = Some(digest(2));
    child.pulled_at = Some(days_ago(40));
    let signature = format!("sha256-{}.sig", digest(1).hex());
    let mut snapshot =
        repo(vec![tag("a", 1, 90), tag(&signature, 4, 1)], vec![index, child, sbom, manifest(4, 1)]);
    let old = rules(&[("old", "expire", "pulled_before = '30d'")]);
    let expiring = plan(&snapshot, &old);
    assert_eq!(expired_tags(&snapshot, &expiring), ["a", &signature]);
    assert!(expiring.manifests.iter().all(|decision| decision.expiry().is_some()), "{expiring:?}");
    assert_eq!(
        expiring.steps().iter().map(|(target, _)| *target).collect::<Vec<_>>(),
        [StepTarget::Tag(0), StepTarget::Tag(1)]
    );
    snapshot.manifests[1].pulled_at = Some(days_ago(20));
    assert_eq!(expired_tags(&snapshot, &plan(&snapshot, &old)), Vec::<String>::new());
}

#[test]
fn orphaned_signature_expires_only_by_a_rule_for_orphans() {
    let signature = format!("sha256-{}.sig", digest(9).hex());
    let mut referrer = manifest(2, 90);
    referrer.subject = Some(digest(9));
    let snapshot = repo(vec![tag(&signature, 1, 90)], vec![manifest(1, 90), referrer]);
    let both = rules(&[("old", "expire", "tagged = true\nuntagged = true\npushed_before = '1d'")]);
    assert!(plan(&snapshot, &both).steps().is_empty());
    let orphans = rules(&[("old", "expire", "orphaned = true\npushed_before = '1d'")]);
    assert_eq!(plan(&snapshot, &orphans).steps().len(), 2);
}

#[test]
fn newest_does_not_count_cosign_tags() {
    let signature = format!("sha256-{}.sig", digest(2).hex());
    let tags = vec![tag("a", 1, 3), tag("b", 2, 2), tag(&signature, 3, 1)];
    let snapshot = repo(tags, vec![manifest(1, 3), manifest(2, 2), manifest(3, 1)]);
    let two = rules(&[("but-two", "expire", "newest = 2")]);
    assert_eq!(expired_tags(&snapshot, &plan(&snapshot, &two)), Vec::<String>::new());
    let one = rules(&[("but-one", "expire", "newest = 1")]);
    assert_eq!(expired_tags(&snapshot, &plan(&snapshot, &one)), ["a"]);
}

#[test]
fn age_of_untagged_manifest_counts_from_when_it_became_unreferenced() {
    let mut recent = manifest(1, 90);
    let long = manifest(2, 90);
    recent.alone_at = Some(days_ago(0));
    let snapshot = repo(Vec::new(), vec![recent, long]);
    let untagged = rules(&[("u", "expire", "untagged = true\npushed_before = '1d'")]);
    assert_eq!(plan(&snapshot, &untagged).steps().len(), 1);
    assert_eq!(plan(&snapshot, &rules(OLD)).steps().len(), 0);
}

#[test]
fn items_with_unknown_details_are_kept() {
    let snapshot = repo(vec![tag("a", 1, 90), tag("b", 9, 90)], vec![manifest(1, 90)]);
    let arm = "platforms = ['linux/arm64']";
    assert!(plan(&snapshot, &rules(&[("arm", "expire", arm)])).steps().is_empty());
    let kept = plan(&snapshot, &rules(&[("arm", "keep", arm), ("old", "expire", "pushed_before = '1d'")]));
    assert!(matches!(&kept.tags[0], Decision::Keep { by } if matches!(by[..], [KeepReason::Unknown(_)])));
    assert_eq!(kept.tags[1], Decision::Keep { by: vec![KeepReason::NoManifest] });
}

#[test]
fn multi_platform_image_expires_only_if_all_platforms_match() {
    let mut both = manifest(1, 90);
    both.platforms = Some(vec!["linux/amd64".into(), "linux/arm64".into(), "unknown/unknown".into()]);
    let snapshot = repo(vec![tag("a", 1, 90)], vec![both]);
    let steps = |platforms: &str| {
        plan(&snapshot, &rules(&[("e", "expire", &format!("platforms = {platforms}"))])).steps().len()
    };
    assert_eq!((steps("['linux/arm64']"), steps("['linux/arm64', 'linux/amd64']")), (0, 1));
}

#[test]
fn keep_history_keeps_earlier_versions_of_a_tag() {
    let mut latest = tag("latest", 1, 1);
    latest.past = vec![digest(2), digest(1), digest(2), digest(3), digest(4)];
    let snapshot = repo(vec![latest], (1..=4).map(|number| manifest(number, 90)).collect());
    let toml = rules(&[
        ("k", "keep", "tags = ['latest']\nkeep_history = 2"),
        ("u", "expire", "untagged = true\npushed_before = '1d'"),
    ]);
    let plan = plan(&snapshot, &toml);
    assert_eq!(plan.steps().iter().map(|(target, _)| *target).collect::<Vec<_>>(), [StepTarget::Manifest(3)]);
    assert_eq!(
        plan.manifests[1].explain(NOW).to_string(),
        "kept: history of tag `latest` by rule `k` of policy `p`"
    );
}

#[test]
fn protected_and_immutable_tags_are_kept() {
    let lists =
        "[[protected]]\ntags = ['v*']\nexcept = ['*-rc*']\n[[immutable]]\nrepositories = ['prod/**']\n";
    let toml = lists.to_owned() + &rules(&[("old", "expire", "pushed_before = '30d'")]);
    let snapshot = repo(vec![tag("v1", 1, 90), tag("v1-rc1", 1, 90)], vec![manifest(1, 90)]);
    assert_eq!(expired_tags(&snapshot, &plan(&snapshot, &toml)), ["v1-rc1"]);
    let name = |text: &str| text.parse().expect("name");
    let compiled = compiled(&toml);
    let latest = "latest".parse().expect("tag");
    assert!(
        compiled.is_immutable(&name("prod/a/b"), &latest) && !compiled.is_immutable(&name("dev"), &latest)
    );
    assert!(compiled.is_protected(&name("prod/a"), &latest) && compiled.may_expire(&name("dev"), false));
}

#[test]
fn steps_are_ordered_by_rule_and_then_by_last_use() {
    let tags = vec![tag("b-1", 1, 50), tag("a-1", 2, 40), tag("a-2", 3, 60), tag("b-2", 4, 70)];
    let mut snapshot = repo(tags, (1..=4).map(|number| manifest(number, 90)).collect());
    snapshot.manifests[3].pulled_at = Some(days_ago(1));
    let list = [("a", "expire", "tags = ['a-*']\nwhen = 'pressure'"), ("b", "expire", "tags = ['b-*']")];
    let compiled = compiled(&rules(&list));
    let order = |pressure| {
        let plan = evaluate(&snapshot, &compiled, NOW, pressure);
        plan.steps().iter().map(|(target, _)| *target).collect::<Vec<_>>()
    };
    assert_eq!(order(false), [0, 3].map(StepTarget::Tag));
    assert_eq!(order(true), [2, 1, 0, 3].map(StepTarget::Tag));
}

#[test]
fn tags_attached_to_each_other_are_kept() {
    let of = |number: u8| format!("sha256-{}.sig", digest(number).hex());
    let snapshot = repo(vec![tag(&of(1), 2, 90), tag(&of(2), 1, 90)], vec![manifest(1, 90), manifest(2, 90)]);
    let all = "tagged = true\nuntagged = true\norphaned = true\npushed_before = '1d'";
    let plan = plan(&snapshot, &rules(&[("all", "expire", all)]));
    assert!(plan.steps().is_empty() && plan.manifests.iter().all(|decision| decision.expiry().is_none()));
}

#[test]
fn needs_list_the_details_of_rules_in_force() {
    let rules = rules(&[
        ("keep", "keep", "labels = { team = 'a' }\nplatforms = ['linux/*']"),
        ("calm", "keep", "when = 'calm'\nannotations = { keep = 'yes' }"),
        ("elsewhere", "keep", "repositories = ['other']\nlabels = { secret = '*' }"),
    ]);
    let compiled = compiled(&rules);
    let repo = "team/app".parse().expect("name");
    let calm = compiled.needs(&repo, false);
    assert_eq!(calm.labels.into_iter().collect::<Vec<_>>(), ["team"]);
    assert_eq!(calm.annotations.into_iter().collect::<Vec<_>>(), ["keep"]);
    assert!(calm.platforms);
    assert!(compiled.needs(&repo, true).annotations.is_empty());
    assert_eq!(CompiledPolicies::default().needs(&repo, false), Needs::default());
}
