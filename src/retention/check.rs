//! Finds rules that are well-formed but make no sense, alone or together.

use std::collections::HashSet;
use std::time::Duration;

use super::error::{Mistake, Place, Warning, WarningKind};
use super::policy::{Action, Policy, Rule, TagList, When};

/// The context in which the rules of a policy are checked.
pub(super) struct PolicyCheck<'a> {
    /// Whether a keep rule applies to all repositories of the policy.
    keeps_everywhere: bool,
    /// The narrower lists of repositories that keep rules apply to.
    kept: HashSet<&'a [String]>,
}

impl<'a> PolicyCheck<'a> {
    pub(super) fn of(policy: &'a Policy) -> Self {
        // Keep rules after a final rule that matches every tag select nothing.
        let end = policy.rules.iter().position(|rule| rule.final_for.is_some() && matches_all_tags(rule));
        let seen = policy.rules.iter().take(end.map_or(usize::MAX, |end| end + 1));
        let keeps = || seen.clone().filter(|rule| rule.action == Action::Keep && rule.selects_tags());
        Self {
            keeps_everywhere: keeps().any(|rule| rule.repositories.is_empty()),
            kept: keeps().map(|rule| rule.repositories.as_slice()).collect(),
        }
    }

    /// Checks that `rule` does not contradict itself and would not empty a repository.
    pub(super) fn check(&self, rule: &Rule) -> Result<(), Mistake> {
        check_selectors(rule)?;
        check_counts(rule)?;
        let has_keep_rule = self.keeps_everywhere || self.kept.contains(rule.repositories.as_slice());
        if expires_all_tags(rule) && !has_keep_rule { Err(Mistake::Empties) } else { Ok(()) }
    }
}

fn check_selectors(rule: &Rule) -> Result<(), Mistake> {
    match (rule.action, rule.when) {
        (Action::Keep, When::Pressure) => return Err(Mistake::When("pressure")),
        (Action::Expire, When::Calm) => return Err(Mistake::When("calm")),
        _ => {}
    }
    if !rule.selects_tags() && !rule.untagged && !rule.orphaned {
        return Err(Mistake::Nothing);
    }
    let tag_selectors = [
        ("tags", !rule.tags.is_empty()),
        ("tag_regex", rule.tag_regex.is_some()),
        ("except_regex", rule.except_regex.is_some()),
        ("per", rule.per.is_some()),
        ("by = \"version\"", rule.by == Some(super::policy::Order::Version)),
    ];
    // Orphaned items may have a tag; untagged manifests never have one.
    match tag_selectors.into_iter().find(|(_, given)| *given) {
        Some((key, _)) if rule.untagged => Err(Mistake::TagOfUntagged(key)),
        _ => Ok(()),
    }
}

fn check_counts(rule: &Rule) -> Result<(), Mistake> {
    if rule.newest == Some(0) {
        return Err(Mistake::Zero("newest"));
    }
    let count_keys =
        [("by", rule.by.is_some()), ("per", rule.per.is_some()), ("count", rule.count.is_some())];
    for (key, given) in count_keys {
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

/// Whether the rule expires every tag: apart from the kinds, it has no selector that matches less.
fn expires_all_tags(rule: &Rule) -> bool {
    rule.action == Action::Expire && matches_all_tags(rule) && !has_other_selectors(rule)
}

/// Whether the tag selectors match every tag.
fn matches_all_tags(rule: &Rule) -> bool {
    let matches_all =
        |regex: &String| ["", "^", ".*", "^.*", "^.*$", ".*$", ".", ".+", "^.+$"].contains(&regex.as_str());
    let all_globs = rule.tags.iter().all(|glob| glob == "*" || glob == "**");
    let all_regex = rule.tag_regex.as_ref().is_none_or(|regex| regex.as_slice().iter().any(matches_all));
    rule.selects_tags() && all_globs && all_regex && rule.except_regex.is_none()
}

/// Whether the rule expires every tag except for exceptions, as soon as it is pushed.
fn expires_all_but_exceptions(rule: &Rule) -> bool {
    let exceptions = !rule.tags.is_empty() && rule.tags.iter().all(|glob| glob.starts_with('!'));
    rule.action == Action::Expire && exceptions && rule.tag_regex.is_none() && !has_other_selectors(rule)
}

/// Whether the rule has selectors other than repositories, kinds, and globs and expressions that tags must match.
fn has_other_selectors(rule: &Rule) -> bool {
    let texts = [&rule.pushed_before, &rule.pushed_within, &rule.pulled_before, &rule.pulled_within];
    let lists = [&rule.artifact_types, &rule.platforms];
    let maps = [&rule.annotations, &rule.labels];
    texts.into_iter().any(Option::is_some)
        || rule.except_regex.is_some()
        || rule.newest.is_some()
        || lists.into_iter().any(|list| !list.is_empty())
        || maps.into_iter().any(|map| !map.is_empty())
}

/// A shorter age in an expire rule is probably a mistaken unit: `3m` means three minutes.
const MIN_PLAUSIBLE_AGE: Duration = Duration::from_secs(60 * 60);

/// Warns about a list of protected or immutable tags that is allowed but probably not intended.
pub(super) fn list_warning(list: &TagList, place: Place) -> Option<Warning> {
    let kind = if *list == TagList::default() {
        WarningKind::AllTags
    } else if has_lone_star(&list.repositories) {
        WarningKind::Star { key: "repositories" }
    } else {
        return None;
    };
    Some(Warning { place, kind })
}

/// Warns about everything in a policy that is allowed but probably not intended.
pub(super) fn policy_warnings(policy: &Policy) -> Vec<Warning> {
    let of_policy = |kind| Warning { place: Place::Policy(policy.name.clone()), kind };
    let mut found = Vec::new();
    // In a group, a policy without rules is an exception from the policies after it.
    if policy.rules.is_empty() && policy.group.is_none() {
        found.push(of_policy(WarningKind::NoRules));
    }
    if has_lone_star(&policy.repositories) {
        found.push(of_policy(WarningKind::Star { key: "repositories" }));
    }
    // After a final rule, a keep rule does not see everything.
    let end = policy.rules.iter().position(|rule| rule.final_for.is_some());
    let keeps: Vec<_> = policy.rules.iter().take(end.map_or(usize::MAX, |end| end + 1)).collect();
    for rule in &policy.rules {
        let mut of_rule = |kind| {
            let place = Place::Rule { policy: policy.name.clone(), rule: rule.name.clone() };
            found.push(Warning { place, kind });
        };
        if has_lone_star(&rule.repositories) {
            of_rule(WarningKind::Star { key: "repositories" });
        }
        if expires_all_tags(rule) || expires_all_but_exceptions(rule) {
            of_rule(WarningKind::Everything);
        }
        for glob in rule.platforms.iter().filter(|glob| matches_no_platform(glob)) {
            of_rule(WarningKind::Platform(glob.clone()));
        }
        let expires_unreferenced = rule.action == Action::Expire && (rule.untagged || rule.orphaned);
        if expires_unreferenced && rule.pushed_before.is_none() && rule.pulled_before.is_none() {
            of_rule(WarningKind::Hasty);
        }
        young_ages(rule).for_each(&mut of_rule);
        if let Some(keep) = keeps.iter().find(|other| shadows(other, rule)) {
            of_rule(WarningKind::Shadowed(keep.name.clone()));
        }
    }
    found
}

/// Warns about ages in an expire rule that are implausibly short.
fn young_ages(rule: &Rule) -> impl Iterator<Item = WarningKind> {
    let always = rule.action == Action::Expire && rule.when == When::Always;
    let ages = [("pushed_before", &rule.pushed_before), ("pulled_before", &rule.pulled_before)];
    ages.into_iter().filter_map(move |(key, text)| {
        let text = text.as_deref()?;
        let span = humantime::parse_duration(text).ok()?;
        (always && span < MIN_PLAUSIBLE_AGE).then(|| WarningKind::Young { key, text: text.to_owned() })
    })
}

/// Whether nothing in the glob could match the slash that every platform has.
fn matches_no_platform(glob: &str) -> bool {
    !glob.contains(['/', '*', '?', '['])
}

fn has_lone_star(patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| pattern == "*")
}

/// Whether `keep` keeps everything `expire` selects: each of its selectors is also a selector of `expire`.
fn shadows(keep: &Rule, expire: &Rule) -> bool {
    let actions = keep.action == Action::Keep && expire.action == Action::Expire;
    let in_force = keep.when == When::Always;
    let kinds = [
        (keep.selects_tags(), expire.selects_tags()),
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
    // An image for several platforms, one of them listed, is kept and does not expire, so equal lists shadow as well.
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
