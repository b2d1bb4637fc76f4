//! Scenarios of the evaluator. `tests/retention` compares it with a second implementation.

mod imports;
mod mistakes;
mod presets;
mod scenes;

use super::*;
use crate::clock::Timestamp;
use crate::oci::{Algorithm, Digest};

const DAY: i64 = 24 * 60 * 60 * 1000;
const NOW: Timestamp = Timestamp(1000 * DAY);

fn days_ago(days: i64) -> Timestamp {
    Timestamp(NOW.0 - days * DAY)
}

fn digest(number: u8) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &[number; 32]).expect("length")
}

fn manifest(number: u8, days: i64) -> ManifestFacts {
    ManifestFacts::new(digest(number), days_ago(days))
}

fn tag(name: &str, number: u8, days: i64) -> TagFacts {
    TagFacts {
        name: name.parse().expect("tag"),
        digest: digest(number),
        pushed_at: days_ago(days),
        past: Vec::new(),
    }
}

fn repo(tags: Vec<TagFacts>, manifests: Vec<ManifestFacts>) -> RepoSnapshot {
    RepoSnapshot { repo: "team/app".parse().expect("name"), tags, manifests }
}

fn policies(toml: &str) -> Policies {
    toml::from_str(toml).expect("policies")
}

fn compiled(toml: &str) -> CompiledPolicies {
    policies(toml).compile().expect("sound").0
}

/// Returns a policy of these rules, each `(name, action, selectors)`.
fn rules(rules: &[(&str, &str, &str)]) -> String {
    let rule = |(name, action, selectors): &(&str, &str, &str)| {
        format!("[[policies.rules]]\nname = \"{name}\"\naction = \"{action}\"\n{selectors}\n")
    };
    "[[policies]]\nname = \"p\"\n".to_owned() + &rules.iter().map(rule).collect::<String>()
}

fn plan(snapshot: &RepoSnapshot, toml: &str) -> RepoPlan {
    evaluate(snapshot, &compiled(toml), NOW, false)
}

/// Returns the tags that expire.
fn expired_tags(snapshot: &RepoSnapshot, plan: &RepoPlan) -> Vec<String> {
    let tags = snapshot.tags.iter().zip(&plan.tags).filter(|(_, decision)| decision.expiry().is_some());
    tags.map(|(tag, _)| tag.name.to_string()).collect()
}
