//! From policies as they are written to policies that are ready for use.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::check::{self, PolicyCheck};
use super::compiled::{Compiled, CompiledPolicy, CompiledRule, Kinds, Newest, RuleLabel, SafeTags};
use super::error::{Mistake, Place, PolicyError, Warning};
use super::globs::Globs;
use super::matcher::{Matcher, PatternLimits};
use super::policy::{Expressions, Policies, Policy, Rule, TagList};
use super::preset;
use super::selectors::{Selectors, Window};

/// A span beyond which nobody thinks.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Policies, of the file and of the API together.
pub const MAX_POLICIES: usize = 1000;

/// Rules of all policies together, those of presets among them.
pub const MAX_RULES: usize = 2000;

impl Policies {
    /// Checks the policies and makes them ready for use, with warnings of what is allowed and odd.
    ///
    /// # Errors
    /// The first mistake, with the names of its policy and rule.
    pub fn compile(&self) -> Result<(Compiled, Vec<Warning>), PolicyError> {
        let mut compiler = Compiler::default();
        for policy in &self.policies {
            compiler.add(&*preset::expand(policy)?)?;
        }
        let Compiler { mut compiled, mut warnings, mut limits, .. } = compiler;
        for (number, list) in self.protected.iter().enumerate() {
            warnings.extend(check::oddity_of_list(list, Place::Protected(number + 1)));
        }
        for (number, list) in self.immutable.iter().enumerate() {
            warnings.extend(check::oddity_of_list(list, Place::Immutable(number + 1)));
        }
        compiled.protected = safe_tags(&mut limits, &self.protected, Place::Protected)?;
        compiled.immutable = safe_tags(&mut limits, &self.immutable, Place::Immutable)?;
        Ok((compiled, warnings))
    }
}

/// Compiles one policy after the other.
#[derive(Default)]
struct Compiler {
    compiled: Compiled,
    warnings: Vec<Warning>,
    limits: PatternLimits,
    names: HashSet<String>,
    /// The number of each group.
    groups: HashMap<String, usize>,
    /// How many rules there are so far.
    rules: usize,
}

impl Compiler {
    fn add(&mut self, policy: &Policy) -> Result<(), PolicyError> {
        let at = |mistake| PolicyError { place: Place::Policy(policy.name.clone()), mistake };
        if policy.name.trim().is_empty() {
            return Err(at(Mistake::Nameless));
        }
        if !self.names.insert(policy.name.clone()) {
            return Err(at(Mistake::SameName));
        }
        if self.names.len() > MAX_POLICIES {
            return Err(at(Mistake::Policies));
        }
        let group = self.group(policy).map_err(at)?;
        let repositories =
            Globs::of_names_within(&mut self.limits, "repositories", &policy.repositories).map_err(at)?;
        let mut names = HashSet::new();
        let mut rules = Vec::with_capacity(policy.rules.len());
        let check = PolicyCheck::of(policy);
        for rule in &policy.rules {
            let compiled = self.rule(rule, policy, &check, &mut names).map_err(|mistake| PolicyError {
                place: Place::Rule { policy: policy.name.clone(), rule: rule.name.clone() },
                mistake,
            })?;
            rules.push(compiled);
        }
        self.warnings.extend(check::oddities(policy));
        self.compiled.policies.push(CompiledPolicy { group, repositories, rules });
        Ok(())
    }

    fn group(&mut self, policy: &Policy) -> Result<Option<usize>, Mistake> {
        let Some(name) = &policy.group else {
            return Ok(None);
        };
        if name.trim().is_empty() {
            return Err(Mistake::Empty("group"));
        }
        let next = self.groups.len();
        Ok(Some(*self.groups.entry(name.clone()).or_insert(next)))
    }

    fn rule<'a>(
        &mut self,
        rule: &'a Rule,
        policy: &Policy,
        check: &PolicyCheck<'_>,
        names: &mut HashSet<&'a str>,
    ) -> Result<CompiledRule, Mistake> {
        if rule.name.trim().is_empty() {
            return Err(Mistake::Nameless);
        }
        if !names.insert(&rule.name) {
            return Err(Mistake::SameName);
        }
        if self.rules == MAX_RULES {
            return Err(Mistake::Rules);
        }
        check.rule(rule)?;
        let label = RuleLabel { index: self.rules, policy: policy.name.clone(), rule: rule.name.clone() };
        self.rules += 1;
        compile_rule(&mut self.limits, rule, label)
    }
}

fn compile_rule(limits: &mut PatternLimits, rule: &Rule, label: RuleLabel) -> Result<CompiledRule, Mistake> {
    let newest = match rule.newest {
        None => None,
        Some(most) => Some(Newest {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            by: rule.by.unwrap_or_default(),
            count: rule.count.unwrap_or_default(),
            per: branches(limits, rule.per.as_deref())?,
        }),
    };
    Ok(CompiledRule {
        label: Arc::new(label),
        action: rule.action,
        when: rule.when,
        narrowed: Globs::of_names_within(limits, "repositories", &rule.repositories)?,
        kinds: Kinds { tagged: rule.judges_tags(), untagged: rule.untagged, orphaned: rule.orphaned },
        selectors: selectors(limits, rule)?,
        newest,
        final_for: rule.final_for,
        keep_history: usize::try_from(rule.keep_history.unwrap_or(0)).unwrap_or(usize::MAX),
    })
}

fn selectors(limits: &mut PatternLimits, rule: &Rule) -> Result<Selectors, Mistake> {
    Ok(Selectors {
        tags: words(limits, "tags", &rule.tags)?,
        tag_regex: expressions(limits, "tag_regex", rule.tag_regex.as_ref())?,
        except_regex: expressions(limits, "except_regex", rule.except_regex.as_ref())?,
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
        artifact_types: words(limits, "artifact_types", &rule.artifact_types)?,
        platforms: words(limits, "platforms", &rule.platforms)?,
        annotations: values(limits, "annotations", &rule.annotations)?,
        labels: values(limits, "labels", &rule.labels)?,
    })
}

fn words(
    limits: &mut PatternLimits,
    key: &'static str,
    patterns: &[String],
) -> Result<Option<Globs>, Mistake> {
    (!patterns.is_empty()).then(|| Globs::of_words(limits, key, patterns)).transpose()
}

fn values(
    limits: &mut PatternLimits,
    key: &'static str,
    wanted: &BTreeMap<String, String>,
) -> Result<Vec<(String, Globs)>, Mistake> {
    let one = |(name, glob): (&String, &String)| {
        Ok((name.clone(), Globs::of_words(limits, key, std::slice::from_ref(glob))?))
    };
    wanted.iter().map(one).collect()
}

fn expressions(
    limits: &mut PatternLimits,
    key: &'static str,
    expressions: Option<&Expressions>,
) -> Result<Option<Matcher>, Mistake> {
    match expressions.map(Expressions::as_slice) {
        None => Ok(None),
        Some([]) => Err(Mistake::Empty(key)),
        Some(list) => limits.expressions(key, list).map(Some),
    }
}

fn branches(limits: &mut PatternLimits, pattern: Option<&str>) -> Result<Option<Matcher>, Mistake> {
    let Some(pattern) = pattern else {
        return Ok(None);
    };
    let per = limits.capturing("per", pattern)?;
    if per.groups() == 1 { Ok(Some(per)) } else { Err(Mistake::Captures(per.groups())) }
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

fn safe_tags(
    limits: &mut PatternLimits,
    lists: &[TagList],
    place: fn(usize) -> Place,
) -> Result<Vec<SafeTags>, PolicyError> {
    let one = |(number, list): (usize, &TagList)| {
        let at = |mistake| PolicyError { place: place(number + 1), mistake };
        Ok(SafeTags {
            repositories: Globs::of_names_within(limits, "repositories", &list.repositories).map_err(at)?,
            tags: Globs::of_words(limits, "tags", &list.tags).map_err(at)?,
            except: words(limits, "except", &list.except).map_err(at)?,
        })
    };
    lists.iter().enumerate().map(one).collect()
}
