//! A second implementation of the evaluator: by digests, with loops over everything, straight from the written
//! policies.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use orlop::clock::Timestamp;
use orlop::oci::Digest;
use orlop::retention::{
    Action, Count, Expressions, Final, ManifestFacts, Order, Policies, RepoSnapshot, Rule, TagFacts, TagList,
    When,
};

use crate::generate::NOW;
use crate::patterns::{branch_of, glob_matches, globs, hours, regex_matches, version};

/// The decision on a tag or a manifest: the reasons to keep it, or the index of the rule and the time of last use by
/// which it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Keep(BTreeSet<String>),
    Expire(usize, Timestamp),
}

type Set = BTreeSet<Digest>;

/// An item that rules apply to: a tag, or an unreferenced manifest.
#[derive(Debug, Clone)]
struct Item {
    tag: Option<String>,
    kind: &'static str,
    manifest: ManifestFacts,
    pushed: i64,
    pulled: Option<i64>,
}

impl Item {
    fn used(&self) -> i64 {
        self.pushed.max(self.pulled.unwrap_or(i64::MIN))
    }

    fn name(&self) -> String {
        self.tag.clone().unwrap_or_else(|| self.manifest.digest.to_string())
    }
}

pub struct World<'a> {
    pub snapshot: &'a RepoSnapshot,
    pub policies: &'a Policies,
    pub pressure: bool,
}

impl World<'_> {
    fn manifest(&self, digest: &Digest) -> Option<&ManifestFacts> {
        self.snapshot.manifests.iter().find(|m| m.digest == *digest)
    }

    fn looks_attached(tag: &TagFacts) -> bool {
        let name = tag.name.as_str();
        (name.starts_with("sha256-") || name.starts_with("sha512-")) && name.len() >= 71
    }

    fn subject_of(&self, tag: &TagFacts) -> Option<Digest> {
        let is = |m: &&ManifestFacts| {
            let stem = format!("{}-{}", m.digest.algorithm(), &m.digest.hex()[..64]);
            ["", ".sig", ".att", ".sbom"].iter().any(|s| tag.name.as_str() == format!("{stem}{s}"))
        };
        self.snapshot.manifests.iter().find(is).map(|m| m.digest.clone())
    }

    /// Returns everything that follows from these manifests.
    fn closure(&self, from: impl IntoIterator<Item = Digest>) -> Set {
        let mut set: Set = from.into_iter().filter(|d| self.manifest(d).is_some()).collect();
        loop {
            let mut more = set.clone();
            for m in &self.snapshot.manifests {
                if set.contains(&m.digest) {
                    more.extend(m.children.iter().filter(|c| self.manifest(c).is_some()).cloned());
                }
                if m.subject.as_ref().is_some_and(|s| set.contains(s)) {
                    more.insert(m.digest.clone());
                }
            }
            for tag in &self.snapshot.tags {
                if self.subject_of(tag).is_some_and(|s| set.contains(&s))
                    && self.manifest(&tag.digest).is_some()
                {
                    more.insert(tag.digest.clone());
                }
            }
            if more == set {
                return set;
            }
            set = more;
        }
    }

    fn is_above(&self, high: &Digest, low: &Digest) -> bool {
        let children = self.manifest(high).map(|m| m.children.clone()).unwrap_or_default();
        children
            .iter()
            .any(|child| self.manifest(child).is_some() && (child == low || self.is_above(child, low)))
    }

    fn pulled(&self, digest: &Digest) -> Option<i64> {
        let related = |m: &&ManifestFacts| {
            m.digest == *digest || self.is_above(&m.digest, digest) || self.is_above(digest, &m.digest)
        };
        self.snapshot.manifests.iter().filter(related).filter_map(|m| Some(m.pulled_at?.0)).max()
    }

    fn tag_item(&self, tag: &TagFacts) -> Option<Item> {
        let kind = match (Self::looks_attached(tag), self.subject_of(tag)) {
            (true, Some(_)) => return None,
            (true, None) => "orphaned",
            (false, _) => "tagged",
        };
        let manifest = self.manifest(&tag.digest)?.clone();
        let pulled = self.pulled(&tag.digest);
        Some(Item { tag: Some(tag.name.to_string()), kind, manifest, pushed: tag.pushed_at.0, pulled })
    }

    fn manifest_item(&self, m: &ManifestFacts) -> Option<Item> {
        let tagged = self.snapshot.tags.iter().any(|tag| tag.digest == m.digest);
        let child = self.snapshot.manifests.iter().any(|other| other.children.contains(&m.digest));
        let attached = m.subject.as_ref().is_some_and(|s| self.manifest(s).is_some());
        if tagged || child || attached {
            return None;
        }
        let kind = if m.subject.is_some() { "orphaned" } else { "untagged" };
        let pushed = m.pushed_at.0.max(m.alone_at.map_or(i64::MIN, |at| at.0));
        Some(Item { tag: None, kind, manifest: m.clone(), pushed, pulled: self.pulled(&m.digest) })
    }

    fn items(&self) -> Vec<Item> {
        let tags = self.snapshot.tags.iter().filter_map(|tag| self.tag_item(tag));
        tags.chain(self.snapshot.manifests.iter().filter_map(|m| self.manifest_item(m))).collect()
    }

    /// Returns the rules in force for the repository.
    fn rules(&self) -> Vec<Placed<'_>> {
        let repo = self.snapshot.repo.as_str();
        let here = |list: &[String]| globs(list, repo, true);
        let mut placed = Vec::new();
        let mut place = 0;
        for (number, policy) in self.policies.policies.iter().enumerate() {
            let before = &self.policies.policies[..number];
            let is_first = !before.iter().any(|other| {
                other.group.is_some() && other.group == policy.group && here(&other.repositories)
            });
            for rule in &policy.rules {
                let in_force = match rule.when {
                    When::Always => true,
                    When::Pressure => self.pressure,
                    When::Calm => !self.pressure,
                };
                if is_first && in_force && here(&policy.repositories) && here(&rule.repositories) {
                    placed.push(Placed { policy: number, place, rule });
                }
                place += 1;
            }
        }
        placed
    }

    /// Whether a rule sees an item: no earlier final rule of its policy matches it.
    fn sees(&self, placed: &Placed<'_>, item: &Item, all: &[Item]) -> bool {
        !self.rules().iter().any(|before| {
            let settles = |other: &Item| matches_name(before.rule, other) && self.sees(before, other, all);
            let is_before = before.policy == placed.policy && before.place < placed.place;
            is_before
                && match before.rule.final_for {
                    None => false,
                    Some(Final::Tag) => settles(item),
                    Some(Final::Image) => all
                        .iter()
                        .any(|other| other.manifest.digest == item.manifest.digest && settles(other)),
                }
        })
    }

    fn protections(&self, tag: &TagFacts) -> BTreeSet<String> {
        let is = |list: &TagList| {
            globs(&list.repositories, self.snapshot.repo.as_str(), true)
                && globs(&list.tags, tag.name.as_str(), false)
                && !list.except.iter().any(|glob| glob_matches(glob, tag.name.as_str(), false))
        };
        let mut by = BTreeSet::new();
        if self.policies.protected.iter().any(is) {
            by.insert("protected".to_owned());
        }
        if self.policies.immutable.iter().any(is) {
            by.insert("immutable".to_owned());
        }
        by
    }

    /// Returns the result of the rules for one item, and how many earlier versions of its tag are kept.
    fn verdict(&self, item: &Item, all: &[Item]) -> (Fate, u32) {
        let mut by = BTreeSet::new();
        let mut expires = None;
        let mut depth = 0;
        for placed in self.rules() {
            let Placed { place, rule, .. } = placed;
            if !self.sees(&placed, item, all) {
                continue;
            }
            let selected = selects(rule, item);
            let chosen: Vec<_> = all
                .iter()
                .filter(|other| selects(rule, other) == Some(true) && self.sees(&placed, other, all))
                .collect();
            let counted = compare(rule, item, item).is_some();
            let newest = rule.newest.map(|count| counted && rank(rule, item, &chosen) < count as usize);
            match (rule.action, selected) {
                (Action::Keep, None) => {
                    by.insert(format!("unknown {place}"));
                    depth = depth.max(rule.keep_history.unwrap_or(0));
                }
                (Action::Keep, Some(true)) if newest != Some(false) => {
                    by.insert(format!("rule {place}"));
                    depth = depth.max(rule.keep_history.unwrap_or(0));
                }
                (Action::Expire, Some(true)) if newest.is_none() || newest == Some(false) && counted => {
                    expires = expires.or(Some(place));
                }
                _ => {}
            }
        }
        if let Some(tag) = self.snapshot.tags.iter().find(|tag| Some(tag.name.to_string()) == item.tag) {
            by.extend(self.protections(tag));
        }
        if self.held().contains(&item.manifest.digest) {
            by.insert("adopted".to_owned());
        }
        match expires {
            Some(place) if by.is_empty() => (Fate::Expire(place, Timestamp(item.used())), 0),
            None if by.is_empty() => (Fate::Keep(BTreeSet::from(["unnamed".to_owned()])), 0),
            _ => (Fate::Keep(by), depth),
        }
    }

    /// Returns what was adopted and is not released, with everything that belongs to it.
    fn held(&self) -> Set {
        self.closure(self.snapshot.manifests.iter().filter(|m| m.held).map(|m| m.digest.clone()))
    }

    fn history(&self, item: &Item, depth: u32) -> Vec<Digest> {
        let tag = self.snapshot.tags.iter().find(|tag| Some(tag.name.to_string()) == item.tag);
        let mut kept = Vec::new();
        for digest in tag.map(|tag| tag.past.clone()).unwrap_or_default() {
            if digest != item.manifest.digest && !kept.contains(&digest) && kept.len() < depth as usize {
                kept.push(digest);
            }
        }
        kept
    }

    /// Returns the fates of all tags by name, and of all manifests by digest.
    pub fn fates(&self) -> (BTreeMap<String, Fate>, BTreeMap<Digest, Fate>) {
        let all = self.items();
        let verdicts: Vec<_> = all.iter().map(|item| (item, self.verdict(item, &all))).collect();
        let reached = self.closure(all.iter().map(|item| item.manifest.digest.clone()));
        let mut kept_digests: Vec<Digest> = Vec::new();
        for (item, (fate, depth)) in &verdicts {
            if matches!(fate, Fate::Keep(_)) {
                kept_digests.push(item.manifest.digest.clone());
                kept_digests.extend(self.history(item, *depth));
            }
        }
        kept_digests.extend(self.held());
        let protected = self.snapshot.tags.iter().filter(|tag| !self.protections(tag).is_empty());
        kept_digests.extend(protected.map(|tag| tag.digest.clone()));
        kept_digests.extend(
            self.snapshot.manifests.iter().map(|m| m.digest.clone()).filter(|d| !reached.contains(d)),
        );
        let kept = self.closure(kept_digests);
        let last = |digest: &Digest| {
            let with = verdicts.iter().filter_map(|(item, (fate, _))| match fate {
                Fate::Expire(rule, used) => {
                    let along = self.closure([item.manifest.digest.clone()]);
                    along.contains(digest).then_some((*rule, *used))
                }
                Fate::Keep(_) => None,
            });
            let (rule, used) = with.max().expect("an item expires");
            Fate::Expire(rule, used)
        };
        let tag_fate = |tag: &TagFacts| {
            let own = |(item, _): &&(&Item, _)| item.tag.as_deref() == Some(tag.name.as_str());
            if let Some((_, (fate, _))) = verdicts.iter().find(own) {
                return fate.clone();
            }
            let mut by = self.protections(tag);
            if self.manifest(&tag.digest).is_none() {
                by.insert("no manifest".into());
            }
            if self.held().contains(&tag.digest) {
                by.insert("adopted".into());
            }
            let subject = self.subject_of(tag);
            if subject.as_ref().is_some_and(|s| kept.contains(s)) {
                by.insert("subject".into());
            }
            match subject {
                Some(subject) if by.is_empty() => last(&subject),
                _ => Fate::Keep(by),
            }
        };
        let manifest_fate = |m: &ManifestFacts| {
            if kept.contains(&m.digest) { Fate::Keep(BTreeSet::new()) } else { last(&m.digest) }
        };
        (
            self.snapshot.tags.iter().map(|tag| (tag.name.to_string(), tag_fate(tag))).collect(),
            self.snapshot.manifests.iter().map(|m| (m.digest.clone(), manifest_fate(m))).collect(),
        )
    }
}

/// A rule with the number of its policy and its index among all rules.
struct Placed<'a> {
    policy: usize,
    place: usize,
    rule: &'a Rule,
}

/// Returns how many tags or images among those a rule has chosen are newer.
fn rank(rule: &Rule, item: &Item, chosen: &[&Item]) -> usize {
    let is_newer = |a: &Item, b: &Item| compare(rule, a, b) == Some(Ordering::Greater);
    if rule.count != Some(Count::Images) {
        return chosen.iter().filter(|other| is_newer(other, item)).count();
    }
    let others: Set = chosen.iter().map(|other| other.manifest.digest.clone()).collect();
    let own: Vec<_> = chosen
        .iter()
        .filter(|other| other.manifest.digest == item.manifest.digest && compare(rule, other, item).is_some())
        .collect();
    let is_ahead = |digest: &&Digest| {
        let of_it = chosen.iter().filter(|other| other.manifest.digest == **digest);
        **digest != item.manifest.digest
            && of_it
                .into_iter()
                .any(|other| is_newer(other, item) && own.iter().all(|own| is_newer(other, own)))
    };
    others.iter().filter(is_ahead).count()
}

/// Whether a rule matches an item by kind and name.
fn matches_name(rule: &Rule, item: &Item) -> bool {
    let tagged = rule.tagged.unwrap_or(!rule.untagged && !rule.orphaned);
    let kind = match item.kind {
        "tagged" => tagged,
        "untagged" => rule.untagged,
        _ => rule.orphaned,
    };
    let tag = |test: &dyn Fn(&str) -> bool| item.tag.as_deref().is_some_and(test);
    let any = |list: &Expressions, tag: &str| list.as_slice().iter().any(|regex| regex_matches(regex, tag));
    kind && (rule.tags.is_empty() || tag(&|tag| globs(&rule.tags, tag, false)))
        && rule.tag_regex.as_ref().is_none_or(|list| tag(&|tag| any(list, tag)))
        && rule.except_regex.as_ref().is_none_or(|list| tag(&|tag| !any(list, tag)))
}

/// Whether a rule selects an item; `None` if details are unknown.
fn selects(rule: &Rule, item: &Item) -> Option<bool> {
    let age = |time: i64| NOW.0 - time;
    let times = hours(&rule.pushed_before).is_none_or(|span| age(item.pushed) > span)
        && hours(&rule.pushed_within).is_none_or(|span| age(item.pushed) <= span)
        && hours(&rule.pulled_before).is_none_or(|span| age(item.used()) > span)
        && hours(&rule.pulled_within).is_none_or(|span| item.pulled.is_some_and(|time| age(time) <= span));
    let m = &item.manifest;
    let artifact = match &m.artifact_type {
        _ if rule.artifact_types.is_empty() => Some(true),
        None if m.has_unknown_artifact_type => None,
        None => Some(false),
        Some(kind) => Some(globs(&rule.artifact_types, kind, false)),
    };
    let has = |required: &BTreeMap<String, String>, actual: &Option<BTreeMap<String, String>>| {
        if required.is_empty() {
            return Some(true);
        }
        let actual = actual.as_ref()?;
        Some(required.iter().all(|(key, glob)| {
            actual.get(key).is_some_and(|value| globs(std::slice::from_ref(glob), value, false))
        }))
    };
    let platform = if rule.platforms.is_empty() {
        Some(true)
    } else {
        m.platforms.as_ref().map(|actual| {
            let real: Vec<_> = actual.iter().filter(|p| *p != "unknown/unknown").collect();
            let count = real.iter().filter(|p| globs(&rule.platforms, p, false)).count();
            if rule.action == Action::Keep { count > 0 } else { count > 0 && count == real.len() }
        })
    };
    let details = [artifact, has(&rule.annotations, &m.annotations), platform, has(&rule.labels, &m.labels)];
    if !(matches_name(rule, item) && times) || details.contains(&Some(false)) {
        return Some(false);
    }
    details.iter().all(Option::is_some).then_some(true)
}

/// Compares how new two items are; `None` if they are not counted together.
fn compare(rule: &Rule, a: &Item, b: &Item) -> Option<Ordering> {
    if branch(rule, a)? != branch(rule, b)? {
        return None;
    }
    let push = (a.pushed, a.name()).cmp(&(b.pushed, b.name()));
    Some(match rule.by.unwrap_or(Order::Push) {
        Order::Push => push,
        Order::Pull => a.pulled.cmp(&b.pulled).then(push),
        Order::Version => version(a.tag.as_ref()?)?.cmp(&version(b.tag.as_ref()?)?).then(push),
    })
}

fn branch(rule: &Rule, item: &Item) -> Option<String> {
    match &rule.per {
        None => Some(String::new()),
        Some(per) => branch_of(per, item.tag.as_deref()?),
    }
}
