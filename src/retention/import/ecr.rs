//! Lifecycle policies of Amazon ECR.
//!
//! There, a rule never expires an image that has a tag of a rule before it, even if that rule lets it stay. So each rule
//! is final for images; what a rule that cannot be carried over matches is kept.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ImportError, Imported, Notes, check_name, literal, read};
use crate::retention::policy::{Action, Count, Final, Policies, Policy, Rule};

const EXPECTED: &str = "an ECR lifecycle policy";

#[derive(Debug, Deserialize)]
struct Lifecycle {
    rules: Vec<EcrRule>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EcrRule {
    rule_priority: u64,
    #[serde(default)]
    #[expect(dead_code, reason = "words for people, which the rule's name replaces")]
    description: Option<String>,
    selection: Selection,
    action: EcrAction,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct EcrAction {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    tag_status: String,
    #[serde(default)]
    tag_prefix_list: Vec<String>,
    #[serde(default)]
    tag_pattern_list: Vec<String>,
    #[serde(default)]
    storage_class: Option<String>,
    count_type: String,
    #[serde(default)]
    count_unit: Option<String>,
    count_number: u64,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Reads a lifecycle policy, or the answer of `get-lifecycle-policy` that has it as text, into a policy of this name for
/// these repositories: Amazon's policies each belong to one repository.
///
/// # Errors
/// It is no lifecycle policy, or what comes out does not compile, as with repositories that are no globs.
pub fn import_ecr(text: &str, name: &str, repositories: &[String]) -> Result<Imported, ImportError> {
    check_name(name)?;
    let format = |error| ImportError::Format { expected: EXPECTED, error };
    let mut value = read(text, EXPECTED)?;
    if let Some(text) = value.get("lifecyclePolicyText").and_then(Value::as_str) {
        value = serde_json::from_str(text).map_err(format)?;
    }
    let mut lifecycle: Lifecycle = serde_json::from_value(value).map_err(format)?;
    lifecycle.rules.sort_by_key(|rule| rule.rule_priority);
    let unknown = unknown(&[&lifecycle.rest]);
    let mut import = Import::default();
    if let Some(why) = &unknown {
        import.notes.add(format!("{why}, so nothing expires by this policy"));
    }
    for rule in &lifecycle.rules {
        import.rule(rule, unknown.is_none());
    }
    if lifecycle.rules.iter().any(|rule| rule.selection.tag_status != "untagged") {
        import.notes.add("a tag that no rule matches stays, and so does its image; Amazon expires images with all their tags");
    }
    if repositories.is_empty() {
        import.notes.add("it is for all repositories here; Amazon's was for one");
    }
    let policy = Policy {
        name: name.to_owned(),
        preset: None,
        group: None,
        repositories: repositories.to_vec(),
        rules: import.rules,
    };
    let policies = Policies { policies: vec![policy], ..Policies::default() };
    policies.compile()?;
    Ok(Imported { policies, notes: import.notes.finish() })
}

#[derive(Debug, Default)]
struct Import {
    rules: Vec<Rule>,
    notes: Notes,
    /// A rule before has untagged images.
    untagged_taken: bool,
}

impl Import {
    fn rule(&mut self, rule: &EcrRule, is_clear: bool) {
        let of = format!("rule {}", rule.rule_priority);
        let status = rule.selection.tag_status.as_str();
        let mut carried = carried(rule);
        let mut tags = globs(&rule.selection);
        if status != "tagged" {
            if !tags.is_empty() {
                carried = Err(format!("tags have no meaning beside the tagStatus {status:?}"));
            }
            tags.clear();
        }
        if status == "any" && self.untagged_taken {
            self.notes.add(format!("{of}: untagged images are decided by a rule before it"));
        }
        self.untagged_taken |= status != "tagged";
        if let Err(why) = &carried {
            self.notes.add(format!("{of}: {why}; left out, and what it matches is kept"));
        } else if status == "tagged" && !self.rules.is_empty() && rule.selection.count_type == COUNT {
            self.notes.add(format!("{of}: what rules before it match is not counted among the newest"));
        }
        let mut made = carried.ok().filter(|_| is_clear).unwrap_or_else(|| Rule::new("", Action::Keep));
        made.name = of.replace(' ', "-");
        made.tags = tags;
        made.untagged = status != "tagged";
        // A status that is not known may be for anything.
        made.tagged = (made.untagged && status != "untagged").then_some(true);
        made.final_for = Some(Final::Image);
        self.rules.push(made);
    }
}

const COUNT: &str = "imageCountMoreThan";

/// The rule without what it is for, or why there is none.
fn carried(rule: &EcrRule) -> Result<Rule, String> {
    let selection = &rule.selection;
    let mut carried = Rule::new("", Action::Expire);
    if let Some(why) = unknown(&[&rule.rest, &selection.rest]) {
        return Err(why);
    }
    if rule.action.kind != "expire" {
        return Err(format!("the action {:?} has no counterpart", rule.action.kind));
    }
    if let Some(why) = unknown(&[&rule.action.rest]) {
        return Err(why);
    }
    if !["tagged", "untagged", "any"].contains(&selection.tag_status.as_str()) {
        return Err(format!("the tagStatus {:?} is not known", selection.tag_status));
    }
    if selection.storage_class.as_deref().is_some_and(|class| class != "standard") {
        return Err("there are no storage classes".into());
    }
    if selection.tag_prefix_list.len() + selection.tag_pattern_list.len() > 1 {
        return Err("an image that has a tag for each of several patterns cannot be selected".into());
    }
    if selection.tag_status == "tagged" && globs(selection).is_empty() {
        return Err("it names no tags".into());
    }
    let days = || match selection.count_unit.as_deref() {
        Some("days") => Ok(Some(format!("{}d", selection.count_number))),
        other => Err(format!("the countUnit {other:?} is not known")),
    };
    match selection.count_type.as_str() {
        _ if selection.count_number == 0 => return Err("the countNumber 0 would leave nothing".into()),
        COUNT => {
            let count = u32::try_from(selection.count_number).map_err(|_| "the countNumber is too large")?;
            (carried.newest, carried.count) = (Some(count), Some(Count::Images));
        }
        "sinceImagePushed" => carried.pushed_before = days()?,
        "sinceImagePulled" => carried.pulled_before = days()?,
        other => return Err(format!("the countType {other:?} has no counterpart")),
    }
    Ok(carried)
}

/// The keys that are not known, in words.
fn unknown(maps: &[&Map<String, Value>]) -> Option<String> {
    let keys: Vec<_> = maps.iter().flat_map(|map| map.keys()).map(|key| format!("`{key}`")).collect();
    match keys.len() {
        0 => None,
        1 => Some(format!("{} is not known", keys[0])),
        _ => Some(format!("{} are not known", keys.join(", "))),
    }
}

/// Its patterns as globs: in patterns `*` alone has a meaning, in prefixes nothing has.
fn globs(selection: &Selection) -> Vec<String> {
    let prefixes = selection.tag_prefix_list.iter().filter(|prefix| !prefix.is_empty());
    let prefixes = prefixes.map(|prefix| literal(prefix, "") + "*");
    let patterns = selection.tag_pattern_list.iter().map(|pattern| literal(pattern, "*"));
    prefixes.chain(patterns).filter(|glob| !glob.is_empty()).collect()
}
