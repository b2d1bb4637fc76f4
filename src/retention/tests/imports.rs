//! Imports of other registries' policies.

use serde_json::{Value, json};

use super::import::{Imported, import_ecr, import_zot};
use super::*;

fn evaluated(imported: &Imported, snapshot: &RepoSnapshot) -> RepoPlan {
    let (compiled, _) = imported.policies.compile().expect("imported");
    evaluate(snapshot, &compiled, NOW, false)
}

fn expired_tags_after(imported: &Imported, snapshot: &RepoSnapshot) -> Vec<String> {
    expired_tags(snapshot, &evaluated(imported, snapshot))
}

/// Returns the manifests that expire, by index.
fn expired_manifests(imported: &Imported, snapshot: &RepoSnapshot) -> Vec<usize> {
    let plan = evaluated(imported, snapshot);
    (0..plan.manifests.len()).filter(|place| plan.manifests[*place].expiry().is_some()).collect()
}

/// Returns the expire rules with their policies.
fn expiries(imported: &Imported) -> Vec<(&str, &str)> {
    let policies = imported.policies.policies.iter();
    let rules = policies.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
    let expiries = rules.filter(|(_, rule)| rule.action == Action::Expire);
    expiries.map(|(policy, rule)| (policy.name.as_str(), rule.name.as_str())).collect()
}

fn zot(block: &Value) -> Imported {
    import_zot(&block.to_string(), "zot").expect("imports")
}

/// Imports a zot policy for all repositories with these keys.
fn zot_policy(keys: &Value) -> Imported {
    let mut policy = json!({ "repositories": ["**"] });
    policy.as_object_mut().expect("an object").extend(keys.as_object().expect("an object").clone());
    zot(&json!({ "delay": "24h", "policies": [policy] }))
}

fn ecr(rules: &Value) -> Imported {
    import_ecr(&json!({ "rules": rules }).to_string(), "ecr", &["team/**".into()]).expect("imports")
}

fn ecr_rule(priority: u64, selection: &Value) -> Value {
    json!({ "rulePriority": priority, "selection": selection, "action": { "type": "expire" } })
}

#[test]
fn ecr_rule_never_applies_to_images_an_earlier_rule_matched() {
    let rules = json!([
        ecr_rule(
            3,
            &json!({ "tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14 })
        ),
        ecr_rule(
            1,
            &json!({ "tagStatus": "tagged", "tagPrefixList": ["prod"], "countType": "imageCountMoreThan", "countNumber": 1 })
        ),
        ecr_rule(
            2,
            &json!({ "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 60 })
        ),
    ]);
    let imported = ecr(&rules);
    let tags = vec![
        tag("prod-1", 1, 30),
        tag("prod-2", 2, 20),
        tag("of-prod-2", 2, 20),
        tag("dev", 3, 20),
        tag("new", 4, 1),
    ];
    let mut manifests: Vec<_> = (1..=4).map(|number| manifest(number, 30)).collect();
    manifests.push(manifest(5, 30));
    let snapshot = repo(tags, manifests);
    assert_eq!(expired_tags_after(&imported, &snapshot), ["prod-1", "dev"]);
    assert_eq!(
        expired_manifests(&imported, &snapshot),
        [0, 2],
        "the rule for untagged images matched the last one"
    );
    let text = json!({ "rules": rules }).to_string();
    let wrapped = json!({ "registryId": "1", "lifecyclePolicyText": text });
    assert_eq!(import_ecr(&wrapped.to_string(), "ecr", &["team/**".into()]).expect("imports"), imported);
}

#[test]
fn ecr_counts_images_not_tags() {
    let count = |status: &str, list: &str, number: u64| {
        let mut selection =
            json!({ "tagStatus": status, "countType": "imageCountMoreThan", "countNumber": number });
        if status == "tagged" {
            selection["tagPrefixList"] = json!([list]);
        }
        ecr(&json!([ecr_rule(1, &selection)]))
    };
    let tags = (1..=5_u8).flat_map(|number| {
        ["a", "b", "c"].map(|name| tag(&format!("v{number}{name}"), number, 10 - i64::from(number)))
    });
    let mut snapshot = repo(tags.collect(), (1..=5).map(|number| manifest(number, 10)).collect());
    let tagged = count("tagged", "v", 3);
    assert_eq!(expired_tags_after(&tagged, &snapshot), ["v1a", "v1b", "v1c", "v2a", "v2b", "v2c"]);
    assert_eq!(expired_manifests(&tagged, &snapshot), [0, 1], "three of five images stay");

    // Tagged and untagged images are counted together.
    snapshot.manifests.extend([manifest(6, 1), manifest(7, 9)]);
    assert_eq!(expired_manifests(&count("any", "", 4), &snapshot), [0, 1, 6]);
}

#[test]
fn unsupported_ecr_rules_are_reported_and_keep_what_they_match() {
    let rules = json!([
        ecr_rule(1, &json!({ "tagStatus": "tagged", "tagPatternList": ["a*", "*b"], "countType": "imageCountMoreThan", "countNumber": 1 })),
        { "rulePriority": 2, "selection": { "tagStatus": "tagged", "tagPatternList": ["c*"], "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 9 },
          "action": { "type": "transition", "targetStorageClass": "archive" } },
        ecr_rule(3, &json!({ "tagStatus": "tagged", "tagPatternList": ["e*"], "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 9, "unless": 1 })),
        ecr_rule(4, &json!({ "tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 9 })),
    ]);
    let imported = ecr(&rules);
    let tags = vec![tag("a1", 1, 30), tag("xb", 2, 30), tag("c", 3, 30), tag("d", 4, 30), tag("e", 5, 30)];
    let manifests: Vec<_> = (1..=5).map(|number| manifest(number, 30)).collect();
    assert_eq!(expired_tags_after(&imported, &repo(tags, manifests)), ["d"]);
    let notes = imported.notes.join("\n");
    for word in
        ["rule 1: an image that has", "rule 2: the action \"transition\"", "rule 3: `unless` is unknown"]
    {
        assert!(notes.contains(word), "{notes}");
    }
    assert!(import_ecr("{}", "ecr", &[]).is_err() && import_ecr("", "ecr", &[]).is_err());
}

#[test]
fn unknown_settings_of_an_ecr_policy_make_nothing_expire() {
    let age =
        json!({ "tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1 });
    let with = |key: &str, value: Value| {
        let mut selection = age.clone();
        selection[key] = value;
        ecr_rule(1, &selection)
    };
    let mut action = ecr_rule(1, &age);
    action["action"]["except"] = json!("x");
    for rule in [with("tagStatus", json!("signed")), with("countType", json!("sinceImageScanned")), action] {
        assert_eq!(expiries(&ecr(&json!([rule, ecr_rule(2, &age)]))), [("ecr", "rule-2")], "{rule}");
        let snapshot = repo(vec![tag("a", 1, 30)], vec![manifest(1, 30), manifest(2, 30)]);
        assert!(expired_manifests(&ecr(&json!([rule, ecr_rule(2, &age)])), &snapshot).is_empty(), "{rule}");
    }
    let whole = json!({ "rules": [ecr_rule(1, &age)], "unless": "paused" });
    let imported = import_ecr(&whole.to_string(), "ecr", &[]).expect("imports");
    assert!(expiries(&imported).is_empty(), "{imported:?}");
}

#[test]
fn zot_first_match_wins() {
    let imported = zot(&json!({ "storage": { "retention": {
        "dryRun": true,
        "delay": "48h",
        "policies": [
            { "repositories": ["other/**"], "keepTags": [] },
            { "repositories": ["team/*"], "deleteReferrers": true, "keepTags": [
                { "patterns": ["^v.*"], "mostRecentlyPushedCount": 1 },
                { "mostRecentlyPushedCount": 2, "pulledWithin": "240h" },
            ] },
            { "repositories": ["**"], "deleteUntagged": false, "keepTags": [{ "patterns": ["^a$"] }] },
        ]
    } } }));
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
    assert_eq!(
        expired_tags_after(&imported, &snapshot),
        ["v1", "a"],
        "the policy for ** does not apply to team/app"
    );
    let plan = evaluated(&imported, &snapshot);
    assert_eq!(plan.steps().iter().filter(|(target, _)| *target == StepTarget::Manifest(3)).count(), 1);
    assert_eq!(plan.steps().len(), 3);
    assert!(imported.notes.join("\n").contains("dryRun"), "{:?}", imported.notes);
    let (compiled, _) = imported.policies.compile().expect("imported");
    let may_expire = |repo: &str| compiled.may_expire(&repo.parse().expect("name"), false);
    assert!(may_expire("other") && may_expire("other/x/y") && may_expire("x"));
}

#[test]
fn zot_keep_untagged_keeps_untagged_manifests() {
    let keep = json!({
        "deleteUntagged": true,
        "keepTags": [{ "patterns": ["v.*"] }],
        "keepUntagged": { "pulledWithin": "168h", "pushedWithin": "72h", "mostRecentlyPushedCount": 1 },
    });
    let mut pulled = manifest(1, 30);
    pulled.pulled_at = Some(days_ago(6));
    let mut pulled_before = manifest(2, 30);
    pulled_before.pulled_at = Some(days_ago(8));
    // In zot, a push counts as a pull.
    let manifests = vec![pulled, pulled_before, manifest(3, 2), manifest(4, 6), manifest(5, 9)];
    let snapshot = repo(Vec::new(), manifests);
    assert_eq!(expired_manifests(&zot_policy(&keep), &snapshot), [1, 4]);
    let without = json!({ "deleteUntagged": true, "keepUntagged": {} });
    assert_eq!(expired_manifests(&zot_policy(&without), &snapshot), [0, 1, 2, 3, 4]);
    let never = json!({ "deleteUntagged": false, "keepUntagged": { "mostRecentlyPulledCount": 1 } });
    assert!(expired_manifests(&zot_policy(&never), &snapshot).is_empty());
}

#[test]
fn zot_keys_are_case_insensitive() {
    let usual = json!({ "Storage": { "GC": true, "Retention": { "Delay": "24h", "Policies": [{
        "Repositories": ["**"], "DeleteUntagged": false, "DeleteReferrers": false,
        "KeepTags": [{ "Patterns": ["v.*"], "MostRecentlyPushedCount": 5, "PulledWithin": "1h", "PushedWithin": "2h" }],
        "KeepUntagged": { "MostRecentlyPulledCount": 1 },
    }] } } });
    let lower = usual.to_string().to_lowercase();
    assert_eq!(zot(&usual), import_zot(&lower, "zot").expect("imports"));
    let imported = zot(&usual);
    assert_eq!(expiries(&imported), [("zot-1", "rest")]);
    let keeps: Vec<_> = imported.policies.policies[0].rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(
        keeps,
        ["rest", "keep-1-newest", "keep-1-pushed", "keep-1-pulled", "keep-untagged-newest-pulled"]
    );
    let twice = json!({ "deleteUntagged": true, "DeleteUntagged": false });
    assert!(expiries(&zot_policy(&twice)).is_empty(), "it is unclear which one counts");
}

#[test]
fn unknown_settings_of_a_zot_policy_make_nothing_expire_by_it() {
    for unclear in [
        json!({ "keepDigests": ["sha256:a"] }),
        json!({ "keepTags": [{ "patterns": ["a"], "keepIfSigned": true }] }),
        json!({ "keepTags": [{ "patterns": ["("] }] }),
        json!({ "keepTags": [{ "patterns": "a" }] }),
        json!({ "keepTags": [{ "patterns": ["a"], "mostRecentlyPushedCount": -1 }] }),
        json!({ "keepTags": [{ "patterns": ["a"], "pulledWithin": "7d" }] }),
        json!({ "keepTags": [{ "patterns": ["a"], "pulledWithin": "0s" }] }),
        json!({ "keepTags": {} }),
        json!({ "keepTags": ["a"] }),
        json!({ "keepUntagged": { "forever": true } }),
        json!({ "keepUntagged": true }),
        json!({ "deleteUntagged": "no" }),
    ] {
        let imported = zot_policy(&unclear);
        assert!(expiries(&imported).is_empty(), "{unclear}: {imported:?}");
        let why = imported.notes.iter().find(|note| note.ends_with("so nothing expires by this policy"));
        assert!(why.is_some_and(|why| why.starts_with("policy 1: ")), "{unclear}: {:?}", imported.notes);
    }
    let one = json!({ "keepTags": [{ "patterns": ["a"] }], "repositories": ["a/**"], "new": 1 });
    let other = json!({ "repositories": ["**"], "keepTags": [{ "patterns": ["b"] }] });
    let imported = zot(&json!({ "policies": [one, other] }));
    assert_eq!(expiries(&imported), [("zot-2", "rest"), ("zot-2", "untagged")]);
    let (compiled, _) = imported.policies.compile().expect("imported");
    assert!(
        !compiled.may_expire(&"a/x".parse().expect("name"), false),
        "the policy for ** does not apply to a/x"
    );
}

#[test]
fn unknown_settings_for_all_zot_policies_make_nothing_expire() {
    let other = json!({ "repositories": ["**"], "keepTags": [{ "patterns": ["b"] }] });
    for block in [
        json!({ "policies": [other], "exceptions": ["x"] }),
        json!({ "policies": [other], "delay": 5 }),
        json!({ "policies": [{ "repositories": ["a["] }, other] }),
        json!({ "policies": [{ "repositories": ["{a,b/**}"] }, other] }),
        json!({ "policies": [{ "names": ["a"] }, other] }),
        json!({ "policies": ["a", other] }),
        json!({ "storage": { "subPaths": { "/": {} }, "retention": { "policies": [other] } } }),
        json!({ "storage": { "subPaths": ["/a"], "retention": { "policies": [other] } } }),
    ] {
        let imported = zot(&block);
        assert!(expiries(&imported).is_empty(), "{block}: {imported:?}");
        assert!(imported.notes.join("\n").contains("nothing expires by the policies after it"), "{block}");
    }
    let paths = json!({ "storage": { "subPaths": { "/a": {} }, "retention": { "policies": [other] } } });
    let imported = zot(&paths);
    let (compiled, _) = imported.policies.compile().expect("imported");
    let may_expire = |repo: &str| compiled.may_expire(&repo.parse().expect("name"), false);
    assert!(!may_expire("a/x") && !may_expire("a") && may_expire("b"), "{:?}", imported.notes);
}

#[test]
fn zot_block_may_stand_alone_but_must_contain_policies() {
    let block = json!({ "policies": [{ "repoNames": ["a"], "keepTags": [{ "patterns": ["x"] }] }] });
    assert_eq!(expiries(&zot(&block)), [("zot-1", "rest"), ("zot-1", "untagged")]);
    assert_eq!(expiries(&zot(&json!({ "retention": block }))).len(), 2);
    assert!(import_zot("{}", "zot").is_err() && import_zot("", "zot").is_err());
    assert!(import_zot(&block.to_string(), &"x".repeat(101)).is_err());
}

#[test]
fn zot_file_may_be_yaml() {
    let yaml = "\u{feff}
distspecversion: 1.1.1
storage:
  rootdirectory: /tmp/zot
  retention:
    delay: 24h
    policies:
      - repositories: ['infra/**']
        deletereferrers: false
        keeptags:
          - patterns: ['v2.*', .*-prod]
          - patterns: [v3.*]
            pulledwithin: 168h
";
    let json = json!({ "storage": { "retention": { "delay": "24h", "policies": [{
        "repositories": ["infra/**"],
        "deleteReferrers": false,
        "keepTags": [
            { "patterns": ["v2.*", ".*-prod"] },
            { "patterns": ["v3.*"], "pulledWithin": "168h" },
        ],
    }] } } });
    assert_eq!(import_zot(yaml, "zot").expect("imports"), zot(&json));
    for bad in ["a: [", "just a text", "- a", "a: &a [*a]"] {
        assert!(import_zot(bad, "zot").is_err(), "{bad}");
    }
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for number in 1..12 {
        let aliases = [format!("*a{}", number - 1).as_str(); 10].join(", ");
        bomb.push_str(&format!("a{number}: &a{number} [{aliases}]\n"));
    }
    assert!(import_zot(&bomb, "zot").is_err(), "aliases of aliases are rejected");
}

/// Returns the printed size of an import in bytes.
fn printed(imported: &Imported) -> usize {
    toml::to_string(&imported.policies).expect("TOML").len()
        + imported.notes.iter().map(|note| note.len() + 1).sum::<usize>()
}

#[test]
fn import_size_is_proportional_to_the_input() {
    let patterns: Vec<_> = (0..4000).map(|number| format!("^v{number:04}-[ab]$")).collect();
    let one = json!({ "policies": [{ "repositories": ["**"], "keepTags": [{ "patterns": patterns }] }] });
    let entries = |count: usize| {
        let entries: Vec<_> = (0..count)
            .map(|number| json!({ "patterns": [format!("{number}")], "pulledWithin": "1h" }))
            .collect();
        json!({ "policies": [{ "repositories": ["**"], "keepTags": entries }] })
    };
    let policies = |count: usize| {
        let policies: Vec<_> =
            (0..count).map(|number| json!({ "repositories": [format!("{number}/**")] })).collect();
        json!({ "policies": policies })
    };
    for block in [one, entries(50), entries(400), policies(50), policies(400)] {
        let text = block.to_string();
        let ratio = printed(&zot(&block)) / text.len();
        assert!(ratio < 10, "{ratio} times {} bytes", text.len());
    }
    let rule = |number: u64| {
        ecr_rule(
            number,
            &json!({ "tagStatus": "tagged", "tagPrefixList": [number.to_string()], "countType": "imageCountMoreThan", "countNumber": 1 }),
        )
    };
    let rules: Vec<_> = (1..=100).map(rule).collect();
    let text = json!(rules).to_string();
    assert!(printed(&ecr(&json!(rules))) < 2 * text.len());
    let keys: serde_json::Map<_, _> = (0..5000).map(|number| (format!("k{number}"), json!(1))).collect();
    assert!(printed(&zot_policy(&Value::Object(keys))) < 30_000, "notes above the limit are only counted");
    let many = entries(1001);
    assert!(
        import_zot(&many.to_string(), "zot").expect_err("refused").to_string().contains("at most 2000 rules")
    );
}
