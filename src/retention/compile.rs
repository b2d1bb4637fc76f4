//! From policies as they are written to policies that are ready for use.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::check;
use super::compiled::{Compiled, CompiledRule, Kinds, Newest, RuleLabel, SafeTags};
use super::error::{Mistake, Place, PolicyError, Warning};
use super::globs::Globs;
use super::policy::{Policies, Policy, Rule, TagList};
use super::preset;
use super::selectors::{Selectors, Window};

/// A span beyond which nobody thinks.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

impl Policies {
    /// Checks the policies and makes them ready for use, with warnings of what is allowed and odd.
    ///
    /// # Errors
    /// The first mistake, with the names of its policy and rule.
    pub fn compile(&self) -> Result<(Compiled, Vec<Warning>), PolicyError> {
        let mut compiled = Compiled::default();
        let mut warnings = Vec::new();
        let mut names = HashSet::new();
        for policy in &self.policies {
            let policy = preset::expand(policy)?;
            let at = |mistake| PolicyError { place: Place::Policy(policy.name.clone()), mistake };
            if policy.name.trim().is_empty() {
                return Err(at(Mistake::Nameless));
            }
            if !names.insert(policy.name.clone()) {
                return Err(at(Mistake::SameName));
            }
            compile_policy(&policy, &mut compiled, &mut warnings)?;
        }
        for (number, list) in self.protected.iter().enumerate() {
            warnings.extend(check::oddity_of_list(list, Place::Protected(number + 1)));
        }
        for (number, list) in self.immutable.iter().enumerate() {
            warnings.extend(check::oddity_of_list(list, Place::Immutable(number + 1)));
        }
        compiled.protected = safe_tags(&self.protected, Place::Protected)?;
        compiled.immutable = safe_tags(&self.immutable, Place::Immutable)?;
        Ok((compiled, warnings))
    }
}

fn compile_policy(
    policy: &Policy,
    compiled: &mut Compiled,
    warnings: &mut Vec<Warning>,
) -> Result<(), PolicyError> {
    let place = || Place::Policy(policy.name.clone());
    let repositories = Globs::of_names("repositories", &policy.repositories);
    let repositories = Arc::new(repositories.map_err(|mistake| PolicyError { place: place(), mistake })?);
    let mut names = HashSet::new();
    for rule in &policy.rules {
        let at = |mistake| {
            let (policy, rule) = (policy.name.clone(), rule.name.clone());
            PolicyError { place: Place::Rule { policy, rule }, mistake }
        };
        if rule.name.trim().is_empty() {
            return Err(at(Mistake::Nameless));
        }
        if !names.insert(&rule.name) {
            return Err(at(Mistake::SameName));
        }
        check::rule(rule, policy).map_err(at)?;
        let label =
            RuleLabel { index: compiled.rules.len(), policy: policy.name.clone(), rule: rule.name.clone() };
        compiled.rules.push(compile_rule(rule, label, Arc::clone(&repositories)).map_err(at)?);
    }
    warnings.extend(check::oddities(policy));
    Ok(())
}

fn compile_rule(rule: &Rule, label: RuleLabel, repositories: Arc<Globs>) -> Result<CompiledRule, Mistake> {
    let newest = match rule.newest {
        None => None,
        Some(count) => Some(Newest {
            count: usize::try_from(count).unwrap_or(usize::MAX),
            by: rule.by.unwrap_or_default(),
            per: branches(rule.per.as_deref())?,
        }),
    };
    Ok(CompiledRule {
        label: Arc::new(label),
        action: rule.action,
        when: rule.when,
        repositories,
        narrowed: Globs::of_names("repositories", &rule.repositories)?,
        kinds: Kinds { tagged: rule.judges_tags(), untagged: rule.untagged, orphaned: rule.orphaned },
        selectors: selectors(rule)?,
        newest,
        keep_history: usize::try_from(rule.keep_history.unwrap_or(0)).unwrap_or(usize::MAX),
    })
}

fn selectors(rule: &Rule) -> Result<Selectors, Mistake> {
    Ok(Selectors {
        tags: words("tags", &rule.tags)?,
        tag_regex: regex("tag_regex", rule.tag_regex.as_deref())?,
        except_regex: regex("except_regex", rule.except_regex.as_deref())?,
        pushed: window(
            "pushed",
            ("pushed_before", rule.pushed_before.as_deref()),
            ("pushed_within", rule.pushed_within.as_deref()),
        )?,
        pulled: window(
            "pulled",
            ("pulled_before", rule.pulled_before.as_deref()),
            ("pulled_within", rule.pulled_within.as_deref()),
        )?,
        artifact_types: words("artifact_types", &rule.artifact_types)?,
        platforms: words("platforms", &rule.platforms)?,
        annotations: values("annotations", &rule.annotations)?,
        labels: values("labels", &rule.labels)?,
    })
}

fn words(key: &'static str, patterns: &[String]) -> Result<Option<Globs>, Mistake> {
    (!patterns.is_empty()).then(|| Globs::of_words(key, patterns)).transpose()
}

fn values(key: &'static str, wanted: &BTreeMap<String, String>) -> Result<Vec<(String, Globs)>, Mistake> {
    let one = |(name, glob): (&String, &String)| {
        Ok((name.clone(), Globs::of_words(key, std::slice::from_ref(glob))?))
    };
    wanted.iter().map(one).collect()
}

fn regex(key: &'static str, pattern: Option<&str>) -> Result<Option<Regex>, Mistake> {
    let wrong = |pattern: &str, error: &regex::Error| {
        // The last line says what is wrong; those before it draw where.
        let why =
            error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Mistake::Regex { key, pattern: pattern.to_owned(), why }
    };
    pattern.map(|pattern| Regex::new(pattern).map_err(|error| wrong(pattern, &error))).transpose()
}

fn branches(pattern: Option<&str>) -> Result<Option<Regex>, Mistake> {
    let per = regex("per", pattern)?;
    match per.as_ref().map(|per| per.captures_len() - 1) {
        None | Some(1) => Ok(per),
        Some(count) => Err(Mistake::Captures(count)),
    }
}

/// A selector's name and its text.
type Written<'a> = (&'static str, Option<&'a str>);

fn window(what: &'static str, before: Written<'_>, within: Written<'_>) -> Result<Window, Mistake> {
    let window = Window { before: span(before)?, within: span(within)? };
    match (window.before, window.within, before.1, within.1) {
        (Some(older), Some(younger), Some(before), Some(within)) if older >= younger => {
            Err(Mistake::EmptyWindow { what, before: before.to_owned(), within: within.to_owned() })
        }
        _ => Ok(window),
    }
}

fn span((key, text): Written<'_>) -> Result<Option<Duration>, Mistake> {
    let Some(text) = text else {
        return Ok(None);
    };
    let span = humantime::parse_duration(text).ok();
    let sound = span.filter(|span| *span >= Duration::from_millis(1) && *span <= LONGEST);
    sound.map(Some).ok_or_else(|| Mistake::Span { key, text: text.to_owned() })
}

fn safe_tags(lists: &[TagList], place: fn(usize) -> Place) -> Result<Vec<SafeTags>, PolicyError> {
    let one = |(number, list): (usize, &TagList)| {
        let at = |mistake| PolicyError { place: place(number + 1), mistake };
        Ok(SafeTags {
            repositories: Globs::of_names("repositories", &list.repositories).map_err(at)?,
            tags: Globs::of_words("tags", &list.tags).map_err(at)?,
            except: words("except", &list.except).map_err(at)?,
        })
    };
    lists.iter().enumerate().map(one).collect()
}
