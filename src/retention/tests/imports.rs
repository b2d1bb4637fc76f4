//! Other registries' policies.

use serde_json::json;

use super::import::{import_ecr, import_zot};
use super::*;

fn gone_after(policies: &Policies, snapshot: &RepoSnapshot) -> Vec<String> {
    let (compiled, _) = policies.compile().expect("imported");
    gone(snapshot, &evaluate(snapshot, &compiled, NOW, false))
}

fn ecr_rule(priority: u64, selection: serde_json::Value) -> serde_json::Value {
    json!({ "rulePriority": priority, "selection": selection, "action": { "type": "expire" } })
}

#[test]
fn an_ecr_rule_never_sees_what_one_before_it_matched() {
    let policy = json!({ "rules": [
        ecr_rule(3, json!({ "tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14 })),
        ecr_rule(1, json!({ "tagStatus": "tagged", "tagPrefixList": ["prod"], "countType": "imageCountMoreThan", "countNumber": 1 })),
        ecr_rule(2, json!({ "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 60 })),
    ] });
    let imported = import_ecr(&policy.to_string(), "ecr", &["team/**".into()]).expect("imports");
    let tags = vec![tag("prod-1", 1, 30), tag("prod-2", 2, 20), tag("dev", 3, 20), tag("new", 4, 1)];
    let mut manifests: Vec<_> = (1..=4).map(|number| manifest(number, 30)).collect();
    manifests.push(manifest(5, 30));
    let snapshot = repo(tags, manifests);
    assert_eq!(gone_after(&imported.policies, &snapshot), ["prod-1", "dev"]);
    let (compiled, _) = imported.policies.compile().expect("imported");
    let plan = evaluate(&snapshot, &compiled, NOW, false);
    assert!(plan.manifests[4].expiry().is_none(), "the rule for untagged images has taken it");
    assert_eq!(plan.steps()[0].1.rule.rule, "rule-1");
    assert!(imported.notes.iter().any(|note| note.contains("left out in part")), "{:?}", imported.notes);
    let wrapped = json!({ "registryId": "1", "lifecyclePolicyText": policy.to_string() });
    assert_eq!(import_ecr(&wrapped.to_string(), "ecr", &["team/**".into()]).expect("imports"), imported);
}

#[test]
fn what_ecr_has_alone_is_reported_and_kept() {
    let policy = json!({ "rules": [
        ecr_rule(1, json!({ "tagStatus": "tagged", "tagPatternList": ["a*", "*b"], "countType": "imageCountMoreThan", "countNumber": 1, "new": 1 })),
        { "rulePriority": 2, "selection": { "tagStatus": "tagged", "tagPatternList": ["c*"], "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 9 },
          "action": { "type": "transition", "targetStorageClass": "archive" } },
        ecr_rule(3, json!({ "tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 9 })),
    ] });
    let imported = import_ecr(&policy.to_string(), "ecr", &[]).expect("imports");
    let tags = vec![tag("a1", 1, 30), tag("xb", 1, 30), tag("c", 1, 30), tag("d", 1, 30)];
    assert_eq!(gone_after(&imported.policies, &repo(tags, vec![manifest(1, 30)])), ["d"]);
    let notes = imported.notes.join("\n");
    for word in
        ["rule 1: `new` is not known", "rule 1: an image that has", "rule 2: the action \"transition\""]
    {
        assert!(notes.contains(word), "{notes}");
    }
    assert!(import_ecr("{}", "ecr", &[]).is_err() && import_ecr("", "ecr", &[]).is_err());
}

#[test]
fn zot_s_first_matches_are_the_only_ones() {
    let config = json!({ "storage": { "subPaths": { "/a": {} }, "retention": {
        "dryRun": true,
        "delay": "48h",
        "policies": [
            { "repositories": ["other/**"], "keepTags": [] },
            { "repositories": ["team/*"], "deleteReferrers": true, "keepTags": [
                { "patterns": ["^v.*"], "mostRecentlyPushedCount": 1 },
                { "mostRecentlyPushedCount": 2, "pulledWithin": "240h" },
            ] },
            { "repositories": ["**"], "deleteUntagged": false, "keepTags": [] },
        ]
    } } });
    let imported = import_zot(&config.to_string(), "zot").expect("imports");
    let tags = vec![
        tag("v1", 1, 30),
        tag("v2", 1, 1),
        tag("a", 1, 50),
        tag("b", 1, 40),
        tag("c", 1, 30),
        tag("d", 2, 60),
    ];
    let mut pulled = manifest(2, 60);
    pulled.pulled_at = Some(days_ago(5));
    let snapshot = repo(tags, vec![manifest(1, 60), pulled, manifest(3, 1), manifest(4, 3)]);
    assert_eq!(gone_after(&imported.policies, &snapshot), ["v1", "a"]);
    let (compiled, _) = imported.policies.compile().expect("imported");
    let plan = evaluate(&snapshot, &compiled, NOW, false);
    assert_eq!(plan.steps().iter().filter(|(target, _)| *target == StepTarget::Manifest(3)).count(), 1);
    assert_eq!(plan.steps().len(), 3);
    let notes = imported.notes.join("\n");
    assert!(notes.contains("dryRun") && notes.contains("\"/a\""), "{notes}");
    let names = |repo: &str| compiled.may_expire(&repo.parse().expect("name"), false);
    assert!(names("other") && names("other/x/y") && !names("x"));
}

#[test]
fn zot_s_block_may_stand_alone_and_must_be_one() {
    let block =
        json!({ "policies": [{ "repoNames": ["a"], "keepTags": [{ "patterns": ["x"] }], "more": 1 }] });
    let imported = import_zot(&block.to_string(), "zot").expect("imports");
    assert!(imported.notes.iter().any(|note| note.contains("policy 1: `more`")), "{:?}", imported.notes);
    assert!(import_zot("{}", "zot").is_err());
    let broken = json!({ "policies": [{ "repositories": ["a"], "keepTags": [{ "patterns": ["("] }] }] });
    assert!(import_zot(&broken.to_string(), "zot").expect_err("refused").to_string().contains("keep-1"));
}
