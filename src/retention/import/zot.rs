//! zot's `retention` block.
//!
//! There, the first policy that matches a repository is the only one for it, the first entry of `keepTags`
//! that matches a tag is the only one for it, and a tag that no entry keeps goes. So each policy and each
//! entry gets what those before it match as exceptions, and a rule that lets the rest go stands last.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ImportError, Imported, unknown_keys};
use crate::retention::policy::{Action, Order, Policies, Policy, Rule};

const EXPECTED: &str = "zot's retention block";

/// zot's own default.
const DELAY: &str = "24h";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Retention {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    delay: Option<String>,
    #[serde(default)]
    policies: Vec<ZotPolicy>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ZotPolicy {
    #[serde(alias = "repoNames", default)]
    repositories: Vec<String>,
    #[serde(default)]
    delete_referrers: bool,
    #[serde(default = "yes")]
    delete_untagged: bool,
    #[serde(default)]
    keep_tags: Vec<KeepTags>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeepTags {
    #[serde(default)]
    patterns: Vec<String>,
    #[serde(default)]
    most_recently_pushed_count: u32,
    #[serde(default)]
    most_recently_pulled_count: u32,
    #[serde(default)]
    pushed_within: Option<String>,
    #[serde(default)]
    pulled_within: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

const fn yes() -> bool {
    true
}

/// Reads the `retention` block, alone or within zot's whole configuration, into policies whose names begin
/// with `name`.
///
/// # Errors
/// There is no such block, or what comes out does not compile, as with patterns that are no expressions.
pub fn import_zot(json: &str, name: &str) -> Result<Imported, ImportError> {
    let format = |error| ImportError::Format { expected: EXPECTED, error };
    let value: Value = serde_json::from_str(json).map_err(format)?;
    let mut notes = Vec::new();
    let storage = value.get("storage").unwrap_or(&value);
    for path in storage.get("subPaths").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        notes.push(format!("subPaths: there are none here; the retention of {path:?} was left out"));
    }
    let block = storage.get("retention").unwrap_or(storage);
    if block.get("policies").is_none() {
        return Err(ImportError::Nothing("block `retention` with `policies`"));
    }
    let retention: Retention = serde_json::from_value(block.clone()).map_err(format)?;
    notes.extend(unknown_keys("retention", &retention.rest));
    if retention.dry_run {
        notes.push("dryRun: zot deleted nothing so far; look at the plan before you apply it".into());
    }
    let delay = retention.delay.as_deref().unwrap_or(DELAY);
    let mut taken: Vec<String> = Vec::new();
    let mut policies = Vec::new();
    for (number, from) in retention.policies.iter().enumerate() {
        let of = format!("policy {}", number + 1);
        notes.extend(unknown_keys(&of, &from.rest));
        let globs: Vec<String> = from.repositories.iter().flat_map(|glob| with_root(glob)).collect();
        if globs.is_empty() {
            notes.push(format!("{of}: it names no repositories, so zot never uses it; left out"));
            continue;
        }
        let rules = rules(from, delay, &of, &mut notes);
        let repositories = globs.iter().cloned().chain(taken.iter().cloned()).collect();
        policies.push(Policy { name: format!("{name}-{}", number + 1), preset: None, repositories, rules });
        taken.extend(globs.into_iter().map(|glob| format!("!{glob}")));
    }
    notes.push(
        "repositories that no policy names keep all that is in them; zot deletes what is untagged there too"
            .into(),
    );
    let policies = Policies { policies, ..Policies::default() };
    policies.compile()?;
    Ok(Imported { policies, notes })
}

/// `infra/**` matches `infra` itself there.
fn with_root(glob: &str) -> Vec<String> {
    let root = glob.strip_suffix("/**").filter(|root| !root.is_empty()).map(str::to_owned);
    [glob.to_owned()].into_iter().chain(root).collect()
}

fn rules(from: &ZotPolicy, delay: &str, of: &str, notes: &mut Vec<String>) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut taken: Vec<String> = Vec::new();
    for (number, entry) in from.keep_tags.iter().enumerate() {
        notes.extend(unknown_keys(&format!("{of}, keepTags {}", number + 1), &entry.rest));
        rules.extend(keep_rules(entry, number + 1, &taken));
        // Without patterns it is for all tags.
        let all = entry.patterns.is_empty();
        taken.extend(if all { vec![String::new()] } else { entry.patterns.clone() });
    }
    if !rules.is_empty() {
        rules.push(Rule::new("rest", Action::Expire));
    }
    // A delay of zero is none at all.
    let zero = humantime::parse_duration(delay).is_ok_and(|delay| delay.is_zero());
    let pushed_before = (!zero).then(|| delay.to_owned());
    let after = |name: &str| Rule { pushed_before: pushed_before.clone(), ..Rule::new(name, Action::Expire) };
    if from.delete_untagged {
        rules.push(Rule { untagged: true, ..after("untagged") });
    }
    if from.delete_referrers {
        rules.push(Rule { orphaned: true, ..after("referrers") });
    }
    rules
}

/// What an entry keeps: whatever one of its limits keeps, or all if it has none.
fn keep_rules(entry: &KeepTags, number: usize, taken: &[String]) -> Vec<Rule> {
    let base = |limit: &str| Rule {
        tag_regex: any_of(&entry.patterns),
        except_regex: any_of(taken),
        ..Rule::new(format!("keep-{number}{limit}"), Action::Keep)
    };
    let (pushes, pulls) = (entry.most_recently_pushed_count, entry.most_recently_pulled_count);
    let mut rules = Vec::new();
    if pushes > 0 {
        rules.push(Rule { newest: Some(pushes), ..base("-newest") });
    }
    if pulls > 0 {
        rules.push(Rule { newest: Some(pulls), by: Some(Order::Pull), ..base("-newest-pulled") });
    }
    if entry.pushed_within.is_some() {
        rules.push(Rule { pushed_within: entry.pushed_within.clone(), ..base("-pushed") });
    }
    if entry.pulled_within.is_some() {
        rules.push(Rule { pulled_within: entry.pulled_within.clone(), ..base("-pulled") });
        // There, a push counts as a pull.
        rules.push(Rule { pushed_within: entry.pulled_within.clone(), ..base("-pulled-or-pushed") });
    }
    if rules.is_empty() {
        rules.push(base(""));
    }
    rules
}

/// One expression that matches what any of them matches. `None` for none.
fn any_of(patterns: &[String]) -> Option<String> {
    let each: Vec<_> = patterns.iter().map(|pattern| format!("(?:{pattern})")).collect();
    (!each.is_empty()).then(|| each.join("|"))
}
