//! Lifecycle policies of Amazon ECR.
//!
//! There, a rule never expires what the tags of a rule before it match, even if that rule lets it stay. So
//! each rule gets the patterns of those before it as exceptions.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ImportError, Imported, unknown_keys};
use crate::retention::policy::{Action, Policies, Policy, Rule};

const EXPECTED: &str = "an ECR lifecycle policy";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
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

/// Reads a lifecycle policy, or the answer of `get-lifecycle-policy` that has it as text, into a policy of
/// this name for these repositories: Amazon's policies each belong to one repository.
///
/// # Errors
/// It is no lifecycle policy, or what comes out does not compile, as with repositories that are no globs.
pub fn import_ecr(json: &str, name: &str, repositories: &[String]) -> Result<Imported, ImportError> {
    let format = |error| ImportError::Format { expected: EXPECTED, error };
    let mut value: Value = serde_json::from_str(json).map_err(format)?;
    if let Some(text) = value.get("lifecyclePolicyText").and_then(Value::as_str) {
        value = serde_json::from_str(text).map_err(format)?;
    }
    let mut lifecycle: Lifecycle = serde_json::from_value(value).map_err(format)?;
    lifecycle.rules.sort_by_key(|rule| rule.rule_priority);
    let mut import = Import { notes: unknown_keys("the policy", &lifecycle.rest), ..Import::default() };
    lifecycle.rules.iter().for_each(|rule| import.rule(rule));
    if lifecycle.rules.iter().any(|rule| rule.selection.tag_status != "untagged") {
        import.notes.push(
            "Amazon judges images, Orlop judges tags: an image goes when the last of its tags goes, and \
             newest counts tags"
                .into(),
        );
    }
    if repositories.is_empty() {
        import.notes.push("it is for all repositories here; Amazon's was for one".into());
    }
    let (name, repositories) = (name.to_owned(), repositories.to_vec());
    let policy = Policy { name, preset: None, repositories, rules: import.rules };
    let policies = Policies { policies: vec![policy], ..Policies::default() };
    policies.compile()?;
    Ok(Imported { policies, notes: import.notes })
}

#[derive(Debug, Default)]
struct Import {
    rules: Vec<Rule>,
    notes: Vec<String>,
    /// Globs of tags that rules before have taken, as exceptions.
    taken: Vec<String>,
    /// A rule before has taken all tags, or all that is untagged.
    all_tags_taken: bool,
    untagged_taken: bool,
}

impl Import {
    fn rule(&mut self, rule: &EcrRule) {
        let of = format!("rule {}", rule.rule_priority);
        let selection = &rule.selection;
        self.notes.extend(unknown_keys(&of, &rule.rest));
        self.notes.extend(unknown_keys(&of, &selection.rest));
        let globs = globs(selection);
        let (tagged, untagged) = match selection.tag_status.as_str() {
            "tagged" => (true, false),
            "untagged" => (false, true),
            "any" => (true, true),
            other => {
                self.notes.push(format!("{of}: the tagStatus {other:?} is not known; left out"));
                // What it was meant for may be anything, so nothing after it may expire anything.
                (self.all_tags_taken, self.untagged_taken) = (true, true);
                return;
            }
        };
        match carried(rule) {
            Ok(template) => self.add(&of, &template, &globs, (tagged, untagged)),
            Err(why) => self.notes.push(format!("{of}: {why}; left out, and what its tags match is kept")),
        }
        self.take(globs, tagged, untagged);
    }

    fn add(&mut self, of: &str, template: &Rule, globs: &[String], (tagged, untagged): (bool, bool)) {
        let both = tagged && untagged;
        let name = |kind: &str| {
            let name = of.replace(' ', "-");
            if both { format!("{name}-{kind}") } else { name }
        };
        if tagged && self.all_tags_taken || untagged && self.untagged_taken {
            self.notes
                .push(format!("{of}: a rule before it has taken what it would expire; left out in part"));
        }
        if tagged && !self.all_tags_taken {
            let mut tags = if globs.is_empty() { vec!["*".to_owned()] } else { globs.to_vec() };
            tags.extend(self.taken.iter().cloned());
            self.rules.push(Rule { name: name("tagged"), tags, ..template.clone() });
            if template.newest.is_some() && !self.taken.is_empty() {
                self.notes.push(format!("{of}: what rules before it match is not counted among the newest"));
            }
        }
        if untagged && !self.untagged_taken {
            self.rules.push(Rule { name: name("untagged"), untagged: true, ..template.clone() });
        }
        if both && template.newest.is_some() {
            self.notes.push(format!("{of}: tags and untagged manifests are counted apart"));
        }
    }

    fn take(&mut self, globs: Vec<String>, tagged: bool, untagged: bool) {
        self.all_tags_taken |= tagged && globs.is_empty();
        self.untagged_taken |= untagged;
        self.taken.extend(globs.into_iter().map(|glob| format!("!{glob}")));
    }
}

/// The rule without tags, or why there is none.
fn carried(rule: &EcrRule) -> Result<Rule, String> {
    let selection = &rule.selection;
    let mut carried = Rule::new("", Action::Expire);
    if rule.action.kind != "expire" {
        return Err(format!("the action {:?} has no counterpart", rule.action.kind));
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
        "imageCountMoreThan" => {
            let count = u32::try_from(selection.count_number).map_err(|_| "the countNumber is too large")?;
            carried.newest = Some(count);
        }
        "sinceImagePushed" => carried.pushed_before = days()?,
        "sinceImagePulled" => carried.pulled_before = days()?,
        other => return Err(format!("the countType {other:?} has no counterpart")),
    }
    Ok(carried)
}

/// Its patterns as globs: in patterns `*` alone has a meaning, in prefixes nothing has.
fn globs(selection: &Selection) -> Vec<String> {
    let literal = |text: &str, special: &str| {
        let escape = |c| special.contains(c).then_some('\\');
        text.chars().flat_map(|c| escape(c).into_iter().chain([c])).collect::<String>()
    };
    let prefixes = selection.tag_prefix_list.iter().filter(|prefix| !prefix.is_empty());
    let prefixes = prefixes.map(|prefix| literal(prefix, r"*?[]{}\!") + "*");
    let patterns = selection.tag_pattern_list.iter().map(|pattern| literal(pattern, r"?[]{}\!"));
    prefixes.chain(patterns).filter(|glob| !glob.is_empty()).collect()
}
