//! The presets keep what their comments promise.

use super::*;

fn preset(name: &str) -> CompiledPolicies {
    let (compiled, warnings) = policies(&format!("[[policies]]\npreset = '{name}'")).compile().expect(name);
    assert!(warnings.is_empty(), "{warnings:?}");
    compiled
}

/// Returns a repository with one push per hour, the last one now: tags `main-<sha>`, the newest also `latest`.
fn ci_history() -> RepoSnapshot {
    let sha = |number: u8| format!("main-{:07x}", 0xabc_0000 + u32::from(number));
    let mut tags: Vec<_> =
        (0..100).map(|number| tag(&sha(number), number, 100 - i64::from(number))).collect();
    tags.push(tag("latest", 99, 1));
    tags.push(tag("1.2.3", 5, 95));
    tags.push(tag("v2.0.0-rc1", 6, 94));
    tags.push(tag("0123abc", 7, 93));
    tags.push(tag(&format!("sha256-{}.sig", digest(5).hex()), 150, 95));
    tags.push(tag(&format!("sha256-{}.sig", digest(8).hex()), 151, 92));
    let mut manifests: Vec<_> = (0..100).map(|number| manifest(number, 100 - i64::from(number))).collect();
    manifests.extend([manifest(150, 95), manifest(151, 92), manifest(160, 30), manifest(170, 0)]);
    // A child of a release and of an old build.
    manifests[5].children = vec![digest(160)];
    manifests[6].children = vec![digest(160)];
    repo(tags, manifests)
}

fn kept(snapshot: &RepoSnapshot, plan: &RepoPlan) -> Vec<String> {
    let tags = snapshot.tags.iter().zip(&plan.tags).filter(|(_, decision)| decision.expiry().is_none());
    tags.map(|(tag, _)| tag.name.to_string()).collect()
}

#[test]
fn ci_keeps_releases_the_last_ten_builds_and_their_attachments() {
    let snapshot = ci_history();
    let plan = evaluate(&snapshot, &preset("ci"), NOW, false);
    let kept = kept(&snapshot, &plan);
    let (builds, rest): (Vec<_>, Vec<_>) = kept.iter().partition(|tag| tag.starts_with("main-"));
    assert_eq!(builds.len(), 10, "{kept:?}");
    let signature = format!("sha256-{}.sig", digest(5).hex());
    assert_eq!(rest, ["latest", "1.2.3", "0123abc", &signature]);
    // The ten builds, the release, the build without a branch, their signature and child, and the manifest pushed
    // just now.
    assert_eq!(
        plan.manifests.iter().filter(|decision| decision.expiry().is_none()).count(),
        10 + 1 + 1 + 2 + 1
    );
}

#[test]
fn ci_keeps_the_newest_builds_and_releases_under_pressure() {
    let snapshot = ci_history();
    let plan = evaluate(&snapshot, &preset("ci"), NOW, true);
    let newest = ["main-abc0061", "main-abc0062", "main-abc0063"];
    let kept = kept(&snapshot, &plan);
    assert!(kept.ends_with(&[format!("sha256-{}.sig", digest(5).hex())]), "{kept:?}");
    assert!(["latest", "1.2.3"].iter().all(|tag| kept.contains(&(*tag).to_owned())));
    assert_eq!(
        kept.iter().filter(|tag| tag.starts_with("main-")).collect::<Vec<_>>(),
        newest[1..].iter().collect::<Vec<_>>()
    );
}

#[test]
fn ci_separates_the_branch_from_the_build() {
    let compiled = preset("ci");
    let mut rules = compiled.policies.iter().flat_map(|policy| &policy.rules);
    let per = rules.find_map(|rule| rule.newest.as_ref()?.per.clone()).expect("builds");
    for (tag, branch) in [
        ("abc1234", Some("")),
        ("17", Some("")),
        ("main-abc1234", Some("main")),
        ("feature-x-17", Some("feature-x")),
        ("main-abc1234-1700000000", Some("main")),
        ("main-20240101-abc1234", Some("main")),
        ("latest", None),
        ("1.2.3", None),
        ("v1.2.3-rc1", None),
        ("main", None),
    ] {
        assert_eq!(per.capture(tag), branch, "{tag}");
    }
}

#[test]
fn home_keeps_used_images_and_the_newest_few() {
    let mut tags: Vec<_> =
        (0..10).map(|number| tag(&format!("t{number}"), number, 200 - i64::from(number))).collect();
    tags.extend((20..25).map(|number| tag(&format!("1.{number}"), number, 400)));
    let mut manifests: Vec<_> = (0..30).map(|number| manifest(number, 400)).collect();
    manifests[0].pulled_at = Some(days_ago(5));
    let snapshot = repo(tags, manifests);
    let kept_in = |pressure| kept(&snapshot, &evaluate(&snapshot, &preset("home"), NOW, pressure));
    assert_eq!(kept_in(false), ["t0", "t5", "t6", "t7", "t8", "t9", "1.22", "1.23", "1.24"]);
    assert_eq!(kept_in(true), ["t5", "t6", "t7", "t8", "t9", "1.22", "1.23", "1.24"]);
}

#[test]
fn keep_everything_overrides_other_policies() {
    let both = "[[policies]]\npreset = 'ci'\n[[policies]]\npreset = 'keep-everything'";
    let snapshot = ci_history();
    let compiled = compiled(both);
    assert!(
        [false, true]
            .iter()
            .all(|pressure| evaluate(&snapshot, &compiled, NOW, *pressure).steps().is_empty())
    );
    assert!(!preset("keep-everything").may_expire(&snapshot.repo, true));
}
