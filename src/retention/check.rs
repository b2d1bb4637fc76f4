//! Rules that read well and make no sense, alone or together.

use std::collections::HashSet;
use std::time::Duration;

use super::error::{Mistake, Oddity, Place, Warning};
use super::policy::{Action, Policy, Rule, TagList, When};

/// What the rules of a policy are checked against.
pub(super) struct PolicyCheck<'a> {
    /// Whether a keep rule is for all repositories of the policy.
    keeps_everywhere: bool,
    /// The narrower repositories that keep rules are for.
    kept: HashSet<&'a [String]>,
}

impl<'a> PolicyCheck<'a> {
    pub(super) fn of(policy: &'a Policy) -> Self {
        // Keep rules behind a final rule that matches every tag select none.
        let end = policy.rules.iter().position(|rule| rule.final_for.is_some() && names_all_tags(rule));
        let seen = policy.rules.iter().take(end.map_or(usize::MAX, |end| end + 1));
        let keeps = || seen.clone().filter(|rule| rule.action == Action::Keep && rule.judges_tags());
        Self {
            keeps_everywhere: keeps().any(|rule| rule.repositories.is_empty()),
            kept: keeps().map(|rule| rule.repositories.as_slice()).collect(),
        }
    }

    /// What of `rule` contradicts itself, or would empty a repository.
    pub(super) fn rule(&self, rule: &Rule) -> Result<(), Mistake> {
        meaning(rule)?;
        counts(rule)?;
        let is_saved = self.keeps_everywhere || self.kept.contains(rule.repositories.as_slice());
        if empties(rule) && !is_saved { Err(Mistake::Empties) } else { Ok(()) }
    }
}

fn meaning(rule: &Rule) -> Result<(), Mistake> {
    match (rule.action, rule.when) {
        (Action::Keep, When::Pressure) => return Err(Mistake::When("pressure")),
        (Action::Expire, When::Calm) => return Err(Mistake::When("calm")),
        _ => {}
    }
    if !rule.judges_tags() && !rule.untagged && !rule.orphaned {
        return Err(Mistake::Nothing);
    }
    let of_tags = [
        ("tags", !rule.tags.is_empty()),
        ("tag_regex", rule.tag_regex.is_some()),
        ("except_regex", rule.except_regex.is_some()),
        ("per", rule.per.is_some()),
        ("by = \"version\"", rule.by == Some(super::policy::Order::Version)),
    ];
    // What is orphaned may have a tag; what is untagged never has.
    match of_tags.into_iter().find(|(_, given)| *given) {
        Some((key, _)) if rule.untagged => Err(Mistake::TagOfUntagged(key)),
        _ => Ok(()),
    }
}

fn counts(rule: &Rule) -> Result<(), Mistake> {
    if rule.newest == Some(0) {
        return Err(Mistake::Zero("newest"));
    }
    let of_newest = [("by", rule.by.is_some()), ("per", rule.per.is_some()), ("count", rule.count.is_some())];
    for (key, given) in of_newest {
        if given && rule.newest.is_none() {
            return Err(Mistake::Without { key, needs: "newest" });
        }
    }
    match rule.keep_history {
        Some(0) => Err(Mistake::Zero("keep_history")),
        Some(_) if rule.action == Action::Expire => Err(Mistake::HistoryOfExpiry),
        _ => Ok(()),
    }
}

/// Whether it lets every tag go: its kind aside, it selects nothing less than everything.
fn empties(rule: &Rule) -> bool {
    rule.action == Action::Expire && names_all_tags(rule) && !narrows(rule)
}

/// Whether its selectors of tags match every tag.
fn names_all_tags(rule: &Rule) -> bool {
    let matches_all =
        |regex: &String| ["", "^", ".*", "^.*", "^.*$", ".*$", ".", ".+", "^.+$"].contains(&regex.as_str());
    let all_globs = rule.tags.iter().all(|glob| glob == "*" || glob == "**");
    let all_regex = rule.tag_regex.as_ref().is_none_or(|regex| regex.as_slice().iter().any(matches_all));
    rule.judges_tags() && all_globs && all_regex && rule.except_regex.is_none()
}

/// Whether it lets every tag go but for exceptions, at once.
fn empties_but(rule: &Rule) -> bool {
    let exceptions = !rule.tags.is_empty() && rule.tags.iter().all(|glob| glob.starts_with('!'));
    rule.action == Action::Expire && exceptions && rule.tag_regex.is_none() && !narrows(rule)
}

/// Whether it has a selector besides its repositories, its kind, and globs and expressions of tags to match.
fn narrows(rule: &Rule) -> bool {
    let texts = [&rule.pushed_before, &rule.pushed_within, &rule.pulled_before, &rule.pulled_within];
    let lists = [&rule.artifact_types, &rule.platforms];
    let maps = [&rule.annotations, &rule.labels];
    texts.into_iter().any(Option::is_some)
        || rule.except_regex.is_some()
        || rule.newest.is_some()
        || lists.into_iter().any(|list| !list.is_empty())
        || maps.into_iter().any(|map| !map.is_empty())
}

/// Who writes that something expires at a younger age has probably mistaken the unit: `3m` are three minutes.
const LEAST_AGE: Duration = Duration::from_secs(60 * 60);

/// What is allowed in a list of protected or immutable tags and probably not meant.
pub(super) fn oddity_of_list(list: &TagList, place: Place) -> Option<Warning> {
    let oddity = if *list == TagList::default() {
        Oddity::AllTags
    } else if has_lone_star(&list.repositories) {
        Oddity::Star { key: "repositories" }
    } else {
        return None;
    };
    Some(Warning { place, oddity })
}

/// What is allowed in a policy and probably not meant.
pub(super) fn oddities(policy: &Policy) -> Vec<Warning> {
    let of_policy = |oddity| Warning { place: Place::Policy(policy.name.clone()), oddity };
    let mut found = Vec::new();
    // In a group, a policy without rules is an exception from those behind it.
    if policy.rules.is_empty() && policy.group.is_none() {
        found.push(of_policy(Oddity::NoRules));
    }
    if has_lone_star(&policy.repositories) {
        found.push(of_policy(Oddity::Star { key: "repositories" }));
    }
    // Behind a final rule, a keep rule does not see everything.
    let end = policy.rules.iter().position(|rule| rule.final_for.is_some());
    let keeps: Vec<_> = policy.rules.iter().take(end.map_or(usize::MAX, |end| end + 1)).collect();
    for rule in &policy.rules {
        let mut of_rule = |oddity| {
            let (policy, rule) = (policy.name.clone(), rule.name.clone());
            found.push(Warning { place: Place::Rule { policy, rule }, oddity });
        };
        if has_lone_star(&rule.repositories) {
            of_rule(Oddity::Star { key: "repositories" });
        }
        if empties(rule) || empties_but(rule) {
            of_rule(Oddity::Everything);
        }
        for glob in rule.platforms.iter().filter(|glob| is_no_platform(glob)) {
            of_rule(Oddity::Platform(glob.clone()));
        }
        let alone = rule.action == Action::Expire && (rule.untagged || rule.orphaned);
        if alone && rule.pushed_before.is_none() && rule.pulled_before.is_none() {
            of_rule(Oddity::Hasty);
        }
        young(rule).for_each(&mut of_rule);
        if let Some(keep) = keeps.iter().find(|other| shadows(other, rule)) {
            of_rule(Oddity::Shadowed(keep.name.clone()));
        }
    }
    found
}

/// The ages by which `rule` lets go what was hardly pushed.
fn young(rule: &Rule) -> impl Iterator<Item = Oddity> {
    let always = rule.action == Action::Expire && rule.when == When::Always;
    let ages = [("pushed_before", &rule.pushed_before), ("pulled_before", &rule.pulled_before)];
    ages.into_iter().filter_map(move |(key, text)| {
        let text = text.as_deref()?;
        let span = humantime::parse_duration(text).ok()?;
        (always && span < LEAST_AGE).then(|| Oddity::Young { key, text: text.to_owned() })
    })
}

/// Whether nothing in it could match the slash that every platform has.
fn is_no_platform(glob: &str) -> bool {
    !glob.contains(['/', '*', '?', '['])
}

fn has_lone_star(patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| pattern == "*")
}

/// Whether `keep` keeps all that `expire` selects: each of its selectors is one of the other's as well.
fn shadows(keep: &Rule, expire: &Rule) -> bool {
    let actions = keep.action == Action::Keep && expire.action == Action::Expire;
    let in_force = keep.when == When::Always;
    let kinds = [
        (keep.judges_tags(), expire.judges_tags()),
        (keep.untagged, expire.untagged),
        (keep.orphaned, expire.orphaned),
    ];
    let lists = [
        (&keep.repositories, &expire.repositories),
        (&keep.tags, &expire.tags),
        (&keep.artifact_types, &expire.artifact_types),
    ];
    let expressions = [(&keep.tag_regex, &expire.tag_regex), (&keep.except_regex, &expire.except_regex)];
    let texts = [
        (&keep.pushed_before, &expire.pushed_before),
        (&keep.pushed_within, &expire.pushed_within),
        (&keep.pulled_before, &expire.pulled_before),
        (&keep.pulled_within, &expire.pulled_within),
    ];
    // A platform that is there among others is kept and not expired, so equal lists shadow as well.
    let platforms = keep.platforms.is_empty() || keep.platforms == expire.platforms;
    let maps = [(&keep.annotations, &expire.annotations), (&keep.labels, &expire.labels)];
    actions
        && in_force
        && keep.newest.is_none()
        && platforms
        && kinds.iter().all(|(keeps, expires)| *keeps || !*expires)
        && lists.iter().all(|(keeps, expires)| keeps.is_empty() || keeps == expires)
        && expressions.iter().all(|(keeps, expires)| keeps.is_none() || keeps == expires)
        && texts.iter().all(|(keeps, expires)| keeps.is_none() || keeps == expires)
        && maps.iter().all(|(keeps, expires)| keeps.iter().all(|(key, glob)| expires.get(key) == Some(glob)))
}
