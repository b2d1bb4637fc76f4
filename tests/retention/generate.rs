//! Generates random repositories and policies, small enough that most features interact.

use std::collections::BTreeMap;

use orlop::clock::Timestamp;
use orlop::oci::{Algorithm, Digest};
use orlop::retention::{
    Action, Count, Expressions, Final, ManifestFacts, Order, Policies, Policy, RepoSnapshot, Rule, TagFacts,
    TagList, When,
};
use proptest::collection::{btree_map, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub const HOUR: i64 = 60 * 60 * 1000;
pub const NOW: Timestamp = Timestamp(1000 * HOUR);
const MANIFESTS: u8 = 9;

pub const NAMES: [&str; 16] = [
    "latest",
    "v1.0",
    "v1.2",
    "v1.10.0",
    "v2.0.0-rc1",
    "v2.0",
    "1.2.3",
    "main-1",
    "main-2",
    "main-10",
    "main-x",
    "dev-3",
    "dev-4",
    "17",
    "18",
    "x",
];

pub fn digest(number: u8) -> Digest {
    // Both algorithms, because a tag has room for only half of the longer digest.
    let algorithm = if number % 4 == 3 { Algorithm::Sha512 } else { Algorithm::Sha256 };
    Digest::from_hash(algorithm, &vec![number; algorithm.hash_len()]).expect("length")
}

fn ago() -> impl Strategy<Value = Timestamp> {
    (-1..12_i64).prop_map(|hours| Timestamp(NOW.0 - hours * HOUR))
}

fn texts(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(texts, 0..=2.min(texts.len())).prop_map(|some| some.into_iter().map(str::to_owned).collect())
}

fn text(texts: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    weighted(0.2, select(texts).prop_map(str::to_owned))
}

fn expressions(texts: &'static [&'static str]) -> impl Strategy<Value = Option<Expressions>> {
    let one = select(texts).prop_map(Expressions::from);
    let several = subsequence(texts, 2)
        .prop_map(|some| Expressions::Several(some.into_iter().map(str::to_owned).collect()));
    weighted(0.2, prop_oneof![one, several])
}

fn values(
    key: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(Just(key.to_owned()), select(values).prop_map(str::to_owned), 0..=1)
}

fn rarely(
    values: impl Strategy<Value = BTreeMap<String, String>>,
) -> impl Strategy<Value = BTreeMap<String, String>> {
    weighted(0.1, values).prop_map(Option::unwrap_or_default)
}

fn tag_name() -> impl Strategy<Value = String> {
    let attached = (0..=MANIFESTS, select(&["", ".sig", ".att", ".sbom"][..])).prop_map(|(of, suffix)| {
        let digest = digest(of);
        format!("{}-{}{suffix}", digest.algorithm(), &digest.hex()[..64])
    });
    prop_oneof![4 => select(&NAMES[..]).prop_map(str::to_owned), 1 => attached]
}

fn tags() -> impl Strategy<Value = Vec<TagFacts>> {
    let kept_history = || vec(0..=MANIFESTS, 0..4);
    btree_map(tag_name(), (0..=MANIFESTS, ago(), kept_history()), 0..10).prop_map(|tags| {
        let tag = |(name, (at, pushed_at, past)): (String, (u8, Timestamp, Vec<u8>))| TagFacts {
            name: name.parse().expect("tag"),
            digest: digest(at),
            pushed_at,
            past: past.into_iter().map(digest).collect(),
        };
        tags.into_iter().map(tag).collect()
    })
}

fn manifest(number: u8) -> impl Strategy<Value = ManifestFacts> {
    let others = number + 1..=MANIFESTS;
    let times = (ago(), of(ago()), of(ago()), prop::bool::weighted(0.1));
    let refers = (weighted(0.4, vec(others.clone(), 1..3)), weighted(0.25, others));
    let platforms: [Option<&[&str]>; 5] = [
        None,
        Some(&[]),
        Some(&["linux/amd64"]),
        Some(&["linux/amd64", "linux/arm64"]),
        Some(&["linux/arm64", "unknown/unknown"]),
    ];
    let details = (
        select(&[None, Some("application/sbom"), Some("text/plain"), Some("?")][..]),
        select(platforms.to_vec()),
        of(values("keep", &["yes", "no"])),
        of(values("team", &["a", "b"])),
    );
    (times, refers, details).prop_map(move |(times, (children, subject), details)| {
        let mut facts = ManifestFacts::new(digest(number), times.0);
        facts.pulled_at = times.1;
        facts.alone_at = times.2;
        facts.held = times.3;
        facts.children = children.unwrap_or_default().into_iter().map(digest).collect();
        facts.subject = subject.map(digest);
        facts.has_unknown_artifact_type = details.0 == Some("?");
        facts.artifact_type = details.0.filter(|known| *known != "?").map(str::to_owned);
        facts.platforms = details.1.map(|some| some.iter().map(|p| (*p).to_owned()).collect());
        facts.annotations = details.2;
        facts.labels = details.3;
        facts
    })
}

pub fn snapshot() -> impl Strategy<Value = RepoSnapshot> {
    let present = subsequence((0..MANIFESTS).collect::<Vec<_>>(), 1..=MANIFESTS as usize);
    let manifests = present.prop_flat_map(|present| present.into_iter().map(manifest).collect::<Vec<_>>());
    let repo = "team/app".parse().expect("name");
    (tags(), manifests.prop_shuffle()).prop_map(move |(tags, manifests)| RepoSnapshot {
        repo: Clone::clone(&repo),
        tags,
        manifests,
    })
}

fn repositories() -> impl Strategy<Value = Vec<String>> {
    let lists: [&[&str]; 6] =
        [&[], &[], &["team/*"], &["team/app", "x"], &["**", "!team/app"], &["*", "other/**"]];
    select(lists.to_vec()).prop_map(|list| list.iter().map(|glob| (*glob).to_owned()).collect())
}

/// Generates two spans, the first shorter than the second.
fn window() -> impl Strategy<Value = (Option<String>, Option<String>)> {
    let hours = |span: Option<u8>| span.map(|span| format!("{span}h"));
    (weighted(0.25, 1..6_u8), weighted(0.25, 6..11_u8), any::<bool>()).prop_map(move |(short, long, one)| {
        if one && short.is_some() { (None, hours(short)) } else { (hours(short), hours(long)) }
    })
}

#[derive(Debug, Clone, Copy)]
struct Kinds {
    tagged: Option<bool>,
    untagged: bool,
    orphaned: bool,
}

fn rule(number: usize) -> impl Strategy<Value = Rule> {
    let kinds = [
        Kinds { tagged: None, untagged: false, orphaned: false },
        Kinds { tagged: None, untagged: false, orphaned: false },
        Kinds { tagged: Some(true), untagged: false, orphaned: false },
        Kinds { tagged: None, untagged: true, orphaned: false },
        Kinds { tagged: None, untagged: false, orphaned: true },
        Kinds { tagged: Some(true), untagged: true, orphaned: true },
    ];
    let head = (any::<bool>(), any::<bool>(), select(kinds.to_vec()), repositories());
    let names = (
        texts(&["*", "v*", "main-*", "latest", "!latest", "!v1*", "*1*", "sha256-*"]),
        expressions(&["^v", "^main-", "[0-9]$"]),
        expressions(&["^v", "0", "^dev-"]),
    );
    let orders = [Order::Push, Order::Pull, Order::Version];
    let pers = text(&[r"^(.+)-\d+$", r"^(?:([a-z]+)-)?\d+$"]);
    let counts = of(select(vec![Count::Tags, Count::Images]));
    let count = weighted(0.4, (1..4_u32, of(select(orders.to_vec())), pers, counts));
    let finals = weighted(0.25, select(vec![Final::Tag, Final::Image]));
    let details = (
        texts(&["application/*", "!application/sbom"]),
        texts(&["linux/amd64", "linux/*", "*/arm64"]),
        rarely(values("keep", &["yes", "*", "!no"])),
        rarely(values("team", &["a", "*"])),
        any::<[bool; 2]>(),
    );
    (head, names, window(), window(), count, details, of(1..3_u32), finals).prop_map(
        move |(head, names, pushed, pulled, count, details, history, finals)| {
            let (keep, special, Kinds { tagged, untagged, orphaned }, repositories) = head;
            let mut rule = Rule::new(format!("r{number}"), if keep { Action::Keep } else { Action::Expire });
            rule.when = match (special, keep) {
                (false, _) => When::Always,
                (true, true) => When::Calm,
                (true, false) => When::Pressure,
            };
            rule.tagged = tagged;
            rule.untagged = untagged;
            rule.orphaned = orphaned;
            rule.repositories = repositories;
            (rule.pushed_before, rule.pushed_within) = pushed;
            (rule.pulled_before, rule.pulled_within) = pulled;
            if let Some((newest, by, per, count)) = count {
                rule.newest = Some(newest);
                rule.by = by;
                rule.per = per;
                rule.count = count;
            }
            rule.final_for = finals;
            (rule.tags, rule.tag_regex, rule.except_regex) = names;
            if untagged {
                rule.tags = Vec::new();
                rule.tag_regex = None;
                rule.except_regex = None;
                rule.per = None;
                rule.by = rule.by.filter(|by| *by != Order::Version);
            }
            if details.4[0] && details.4[1] {
                rule.artifact_types = details.0;
            } else if details.4[0] {
                rule.platforms = details.1;
            }
            rule.annotations = details.2;
            rule.labels = details.3;
            rule.keep_history = history.filter(|_| keep);
            rule
        },
    )
}

fn lists() -> impl Strategy<Value = Vec<TagList>> {
    let list = (repositories(), texts(&["v*", "latest", "*-1", "sha256-*"]), texts(&["v1*", "x"]));
    let list = list.prop_filter_map("not everything", |(repositories, tags, except)| {
        (!tags.is_empty()).then_some(TagList { repositories, tags, except })
    });
    weighted(0.2, list).prop_map(|list| list.into_iter().collect())
}

pub fn policies() -> impl Strategy<Value = Policies> {
    let rules = (1..7_usize).prop_flat_map(|count| (0..count).map(rule).collect::<Vec<_>>());
    let groups = weighted(0.5, select(vec!["a", "b"]));
    let policy = |(group, repositories, rules): (Option<&str>, Vec<String>, Vec<Rule>), number| Policy {
        name: format!("p{number}"),
        preset: None,
        group: group.map(str::to_owned),
        repositories,
        rules,
    };
    (vec((groups, repositories(), rules), 1..4), lists(), lists()).prop_map(
        move |(policies, protected, immutable)| {
            let policies = policies.into_iter().zip(0..).map(|(p, number)| policy(p, number)).collect();
            Policies { policies, protected, immutable }
        },
    )
}
