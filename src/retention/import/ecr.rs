//! Imports lifecycle policies of Amazon ECR.
//!
//! In ECR, a rule never expires an image that an earlier rule matches by tag, even if the earlier rule keeps the image.
//! So each rule becomes final for images. Items matched by a rule that can't be converted are kept.

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
    #[expect(dead_code, reason = "a free text, which the rule's name replaces")]
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

/// Imports a lifecycle policy, or the output of `get-lifecycle-policy`, which contains one as text. The result is a
/// policy with this name for these repositories; in ECR, each policy belongs to one repository.
///
/// # Errors
/// Fails if the text is not a lifecycle policy, or if the result does not compile, for example because of invalid globs
/// of repositories.
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
        import.add_rule(rule, unknown.is_none());
    }
    if lifecycle.rules.iter().any(|rule| rule.selection.tag_status != "untagged") {
        import.notes.add(
            "tags that no rule matches are kept, and so are their images; \
             Amazon expires images with all their tags",
        );
    }
    if repositories.is_empty() {
        import.notes.add("the policy applies to all repositories; Amazon's policy applied to one");
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
    /// Whether an earlier rule applies to untagged images.
    untagged_taken: bool,
}

impl Import {
    fn add_rule(&mut self, rule: &EcrRule, is_policy_known: bool) {
        let of = format!("rule {}", rule.rule_priority);
        let status = rule.selection.tag_status.as_str();
        let mut converted = convert(rule);
        let mut tags = globs(&rule.selection);
        if status != "tagged" {
            if !tags.is_empty() {
                converted = Err(format!("tags can't be combined with the tagStatus {status:?}"));
            }
            tags.clear();
        }
        if status == "any" && self.untagged_taken {
            self.notes.add(format!("{of}: an earlier rule already decides on untagged images"));
        }
        self.untagged_taken |= status != "tagged";
        if let Err(why) = &converted {
            self.notes.add(format!("{of}: {why}; skipped, and everything it matches is kept"));
        } else if status == "tagged" && !self.rules.is_empty() && rule.selection.count_type == COUNT {
            self.notes.add(format!("{of}: images that earlier rules match are not counted among the newest"));
        }
        let mut made =
            converted.ok().filter(|_| is_policy_known).unwrap_or_else(|| Rule::new("", Action::Keep));
        made.name = of.replace(' ', "-");
        made.tags = tags;
        made.untagged = status != "tagged";
        // An unknown status could apply to anything.
        made.tagged = (made.untagged && status != "untagged").then_some(true);
        made.final_for = Some(Final::Image);
        self.rules.push(made);
    }
}

const COUNT: &str = "imageCountMoreThan";

/// Converts a rule except for the items it applies to. Fails with the reason if that is not possible.
fn convert(rule: &EcrRule) -> Result<Rule, String> {
    let selection = &rule.selection;
    let mut converted = Rule::new("", Action::Expire);
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
        return Err(format!("the tagStatus {:?} is unknown", selection.tag_status));
    }
    if selection.storage_class.as_deref().is_some_and(|class| class != "standard") {
        return Err("storage classes are not supported".into());
    }
    if selection.tag_prefix_list.len() + selection.tag_pattern_list.len() > 1 {
        return Err("an image that has a tag for each of several patterns can't be selected".into());
    }
    if selection.tag_status == "tagged" && globs(selection).is_empty() {
        return Err("it names no tags".into());
    }
    let days = || match selection.count_unit.as_deref() {
        Some("days") => Ok(Some(format!("{}d", selection.count_number))),
        other => Err(format!("the countUnit {other:?} is unknown")),
    };
    match selection.count_type.as_str() {
        _ if selection.count_number == 0 => return Err("the countNumber 0 would keep nothing".into()),
        COUNT => {
            let count = u32::try_from(selection.count_number).map_err(|_| "the countNumber is too large")?;
            converted.newest = Some(count);
            converted.count = Some(Count::Images);
        }
        "sinceImagePushed" => converted.pushed_before = days()?,
        "sinceImagePulled" => converted.pulled_before = days()?,
        other => return Err(format!("the countType {other:?} has no counterpart")),
    }
    Ok(converted)
}

/// Describes the unknown keys; `None` if there are none.
fn unknown(maps: &[&Map<String, Value>]) -> Option<String> {
    let keys: Vec<_> = maps.iter().flat_map(|map| map.keys()).map(|key| format!("`{key}`")).collect();
    match keys.len() {
        0 => None,
        1 => Some(format!("{} is unknown", keys[0])),
        _ => Some(format!("{} are unknown", keys.join(", "))),
    }
}

/// Converts the patterns to globs. In patterns only `*` is special, in prefixes nothing is.
fn globs(selection: &Selection) -> Vec<String> {
    let prefixes = selection.tag_prefix_list.iter().filter(|prefix| !prefix.is_empty());
    let prefixes = prefixes.map(|prefix| literal(prefix, "") + "*");
    let patterns = selection.tag_pattern_list.iter().map(|pattern| literal(pattern, "*"));
    prefixes.chain(patterns).filter(|glob| !glob.is_empty()).collect()
}
