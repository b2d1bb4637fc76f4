//! Compiles policies from their written form to the form the evaluator uses.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::Deserialize;

use super::check::{self, PolicyCheck};
use super::compiled::{CompiledPolicies, CompiledPolicy, CompiledRule, ExemptTags, Newest, RuleLabel};
use super::error::{Mistake, Place, PolicyError, Warning};
use super::globs::Globs;
use super::limits::{MAX_POLICIES, MAX_RULES};
use super::matcher::{Matcher, PatternLimits};
use super::policy::{Expressions, Policies, Policy, Rule, TagList};
use super::preset::{PRESETS, Preset};
use super::selectors::{Kinds, Selectors, Window};

/// The longest accepted time span: about 100 years.
const MAX_SPAN: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

impl Policies {
    /// Checks and compiles the policies. Also returns warnings about rules that are allowed but probably not intended.
    ///
    /// # Errors
    /// Fails with the first mistake; the error names the policy and the rule.
    pub fn compile(&self) -> Result<(CompiledPolicies, Vec<Warning>), PolicyError> {
        let mut compiler = Compiler::default();
        for policy in &self.policies {
            compiler.add(&*expand_preset(policy)?)?;
        }
        let Compiler { mut compiled, mut warnings, mut limits, .. } = compiler;
        for (number, list) in self.protected.iter().enumerate() {
            warnings.extend(check::list_warning(list, Place::Protected(number + 1)));
        }
        for (number, list) in self.immutable.iter().enumerate() {
            warnings.extend(check::list_warning(list, Place::Immutable(number + 1)));
        }
        compiled.protected = compile_tag_lists(&mut limits, &self.protected, Place::Protected)?;
        compiled.immutable = compile_tag_lists(&mut limits, &self.immutable, Place::Immutable)?;
        Ok((compiled, warnings))
    }
}

/// Compiles the policies one after the other.
#[derive(Default)]
struct Compiler {
    compiled: CompiledPolicies,
    warnings: Vec<Warning>,
    limits: PatternLimits,
    names: HashSet<String>,
    /// The numbers of the groups by name.
    groups: HashMap<String, usize>,
    /// The number of rules so far.
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
        self.warnings.extend(check::policy_warnings(policy));
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
        check.check(rule)?;
        let label = RuleLabel { index: self.rules, policy: policy.name.clone(), rule: rule.name.clone() };
        self.rules += 1;
        compile_rule(&mut self.limits, rule, label)
    }
}

fn compile_rule(limits: &mut PatternLimits, rule: &Rule, label: RuleLabel) -> Result<CompiledRule, Mistake> {
    let newest = match rule.newest {
        None => None,
        Some(max) => Some(Newest {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            by: rule.by.unwrap_or_default(),
            count: rule.count.unwrap_or_default(),
            per: compile_per(limits, rule.per.as_deref())?,
        }),
    };
    Ok(CompiledRule {
        label: Arc::new(label),
        action: rule.action,
        when: rule.when,
        narrowed: Globs::of_names_within(limits, "repositories", &rule.repositories)?,
        kinds: Kinds { tagged: rule.selects_tags(), untagged: rule.untagged, orphaned: rule.orphaned },
        selectors: compile_selectors(limits, rule)?,
        newest,
        final_for: rule.final_for,
        keep_history: usize::try_from(rule.keep_history.unwrap_or(0)).unwrap_or(usize::MAX),
    })
}

fn compile_selectors(limits: &mut PatternLimits, rule: &Rule) -> Result<Selectors, Mistake> {
    Ok(Selectors {
        tags: compile_globs(limits, "tags", &rule.tags)?,
        tag_regex: compile_expressions(limits, "tag_regex", rule.tag_regex.as_ref())?,
        except_regex: compile_expressions(limits, "except_regex", rule.except_regex.as_ref())?,
        pushed: parse_window(
            "pushed",
            Setting { key: "pushed_before", text: rule.pushed_before.as_deref() },
            Setting { key: "pushed_within", text: rule.pushed_within.as_deref() },
        )?,
        pulled: parse_window(
            "pulled",
            Setting { key: "pulled_before", text: rule.pulled_before.as_deref() },
            Setting { key: "pulled_within", text: rule.pulled_within.as_deref() },
        )?,
        artifact_types: compile_globs(limits, "artifact_types", &rule.artifact_types)?,
        platforms: compile_globs(limits, "platforms", &rule.platforms)?,
        annotations: compile_values(limits, "annotations", &rule.annotations)?,
        labels: compile_values(limits, "labels", &rule.labels)?,
    })
}

fn compile_globs(
    limits: &mut PatternLimits,
    key: &'static str,
    patterns: &[String],
) -> Result<Option<Globs>, Mistake> {
    (!patterns.is_empty()).then(|| Globs::of_words(limits, key, patterns)).transpose()
}

fn compile_values(
    limits: &mut PatternLimits,
    key: &'static str,
    values: &BTreeMap<String, String>,
) -> Result<Vec<(String, Globs)>, Mistake> {
    let compile = |(name, glob): (&String, &String)| {
        Ok((name.clone(), Globs::of_words(limits, key, std::slice::from_ref(glob))?))
    };
    values.iter().map(compile).collect()
}

fn compile_expressions(
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

fn compile_per(limits: &mut PatternLimits, pattern: Option<&str>) -> Result<Option<Matcher>, Mistake> {
    let Some(pattern) = pattern else {
        return Ok(None);
    };
    let per = limits.capturing("per", pattern)?;
    if per.groups() == 1 { Ok(Some(per)) } else { Err(Mistake::Captures(per.groups())) }
}

/// The key and the text of a setting.
#[derive(Clone, Copy)]
struct Setting<'a> {
    key: &'static str,
    text: Option<&'a str>,
}

fn parse_window(what: &'static str, before: Setting<'_>, within: Setting<'_>) -> Result<Window, Mistake> {
    let window = Window { before: parse_span(before)?, within: parse_span(within)? };
    match (window.before, window.within, before.text, within.text) {
        (Some(older), Some(younger), Some(before), Some(within)) if older >= younger => {
            Err(Mistake::EmptyWindow { what, before: before.to_owned(), within: within.to_owned() })
        }
        _ => Ok(window),
    }
}

fn parse_span(setting: Setting<'_>) -> Result<Option<Duration>, Mistake> {
    let Setting { key, text } = setting;
    let Some(text) = text else {
        return Ok(None);
    };
    let span = humantime::parse_duration(text).ok();
    let valid = span.filter(|span| *span >= Duration::from_millis(1) && *span <= MAX_SPAN);
    valid.map(Some).ok_or_else(|| Mistake::Span { key, text: text.to_owned() })
}

fn compile_tag_lists(
    limits: &mut PatternLimits,
    lists: &[TagList],
    place: fn(usize) -> Place,
) -> Result<Vec<ExemptTags>, PolicyError> {
    let compile = |(number, list): (usize, &TagList)| {
        let at = |mistake| PolicyError { place: place(number + 1), mistake };
        Ok(ExemptTags {
            repositories: Globs::of_names_within(limits, "repositories", &list.repositories).map_err(at)?,
            tags: Globs::of_words(limits, "tags", &list.tags).map_err(at)?,
            except: compile_globs(limits, "except", &list.except).map_err(at)?,
        })
    };
    lists.iter().enumerate().map(compile).collect()
}

/// A configuration file that contains only policies.
#[derive(Debug, Deserialize)]
struct File {
    retention: Policies,
}

/// The parsed presets. A test checks that all can be parsed.
static PARSED: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let read = |preset: &Preset| toml::from_str::<File>(preset.toml).ok();
    PRESETS.iter().filter_map(read).flat_map(|file| file.retention.policies).collect()
});

/// Returns the policy with the rules of its preset appended to its own.
fn expand_preset(policy: &Policy) -> Result<Cow<'_, Policy>, PolicyError> {
    let Some(name) = &policy.preset else {
        return Ok(Cow::Borrowed(policy));
    };
    let mut policy = Policy { name: policy.name_or_preset().to_owned(), ..policy.clone() };
    let Some(preset) = PARSED.iter().find(|preset| preset.name == *name) else {
        return Err(PolicyError {
            place: Place::Policy(policy.name),
            mistake: Mistake::UnknownPreset(name.clone()),
        });
    };
    policy.rules.extend(preset.rules.iter().cloned());
    policy.preset = None;
    Ok(Cow::Owned(policy))
}
