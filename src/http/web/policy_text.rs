//! Policies as people write them, in TOML or JSON, and their rules in words.

use serde::{Deserialize, Serialize};

use crate::retention::{Action, Policies, Policy, Rule};

/// A rule in words.
pub(super) struct RuleView {
    pub(super) name: String,
    pub(super) keeps: bool,
    pub(super) words: String,
}

/// Describes rules in words.
pub(super) fn rules(rules: &[Rule]) -> Vec<RuleView> {
    let view = |rule: &Rule| RuleView {
        name: rule.name.clone(),
        keeps: rule.action == Action::Keep,
        words: rule.describe(),
    };
    rules.iter().map(view).collect()
}

/// Writes policies as in the configuration file.
pub(super) fn to_text(policies: &[Policy]) -> String {
    let section = Document {
        retention: Some(Policies { policies: policies.to_vec(), ..Policies::default() }),
        ..Document::default()
    };
    toml::to_string(&section).unwrap_or_default()
}

/// A text with policies: a configuration file, its section, or a policy alone.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<Policies>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Policy>,
}

/// Parses policies in TOML, as in the configuration file, or in JSON, as in the API. An error says where it is.
pub(super) fn parse_policies(text: &str) -> Result<Vec<Policy>, String> {
    let is_json = text.trim_start().starts_with('{');
    let has_document = if is_json {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        object.contains_key("retention") || object.contains_key("policies")
    } else {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        table.contains_key("retention") || table.contains_key("policies")
    };
    let document = match (is_json, has_document) {
        (true, true) => from_json(text)?,
        (false, true) => toml::from_str(text).map_err(|error| error.to_string())?,
        (true, false) => Document { policies: vec![from_json(text)?], ..Document::default() },
        (false, false) => {
            let policy = toml::from_str(text).map_err(|error| error.to_string())?;
            Document { policies: vec![policy], ..Document::default() }
        }
    };
    let Document { retention, mut policies } = document;
    if let Some(retention) = retention {
        if !retention.protected.is_empty() || !retention.immutable.is_empty() {
            return Err("protected and immutable tags can be set in the settings file only".into());
        }
        policies.extend(retention.policies);
    }
    if policies.iter().all(|policy| policy.name_or_preset().is_empty() && policy.rules.is_empty()) {
        return Err("there is no policy here".into());
    }
    Ok(policies)
}

fn from_json<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(text.as_bytes());
    serde_path_to_error::deserialize(&mut json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::PRESETS;

    #[test]
    fn policies_are_read_from_all_forms() {
        let alone =
            "name = \"builds\"\n[[rules]]\nname = \"old\"\naction = \"expire\"\npushed_before = \"30d\"\n";
        let found = parse_policies(alone).expect("a policy");
        assert_eq!(found.len(), 1);
        assert_eq!(parse_policies(&to_text(&found)).as_ref(), Ok(&found));
        let json = serde_json::to_string(&found[0]).expect("JSON");
        assert_eq!(parse_policies(&json).as_ref(), Ok(&found));
        assert_eq!(parse_policies(&format!("{{\"policies\": [{json}]}}")).as_ref(), Ok(&found));
        for preset in PRESETS {
            assert_eq!(parse_policies(preset.toml).expect("a preset")[0].name, preset.name);
        }
    }

    #[test]
    fn errors_say_where_they_are() {
        let error = parse_policies("name = \"a\"\nrepos = [\"x\"]\n").expect_err("an unknown key");
        assert!(error.contains("line 2") && error.contains("repos"), "{error}");
        let error = parse_policies("{\"name\": \"a\", \"rules\": [{\"name\": 1}]}").expect_err("a number");
        assert!(error.contains("rules[0].name"), "{error}");
        assert!(parse_policies("").is_err());
        assert!(parse_policies("[retention]\nprotected = [{ tags = [\"v*\"] }]").is_err());
    }
}
