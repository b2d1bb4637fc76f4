//! Policies as people write them: in the configuration file, through the API, in a preset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All that an operator has said about what stays and what goes. [`Policies::compile`] checks it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// The policies, in the order in which their rules are used under pressure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// Tags that no rule may expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<TagList>,
    /// Tags that no rule may expire, and that nobody may move or delete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub immutable: Vec<TagList>,
}

/// A named list of rules for some repositories.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Its name, which no other policy has. May be left away where `preset` is given.
    pub name: String,
    /// A preset whose rules follow this policy's own: see [`super::PRESETS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A name that policies share of which only the first that names a repository applies to it. Policies of other
    /// groups and of none apply as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Globs of repository names; `!` in front makes an exception. Empty: all repositories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Its rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Its name; without one of its own, its preset's.
    pub fn called(&self) -> &str {
        match &self.preset {
            Some(preset) if self.name.is_empty() => preset,
            _ => &self.name,
        }
    }
}

/// Tags that are safe from rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TagList {
    /// Globs of repository names. Empty: all repositories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Globs of tags. Empty: all tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Globs of tags that are not meant after all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// What a rule does with what it selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Keeps it, whatever other rules say.
    Keep,
    /// Lets it go, unless something keeps it.
    Expire,
}

/// When a rule is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Always.
    #[default]
    Always,
    /// While the store is above its high mark: for expire rules.
    Pressure,
    /// While the store is not above its high mark: for keep rules.
    Calm,
}

/// What makes one thing newer than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The last push; for an untagged manifest the moment since which nothing holds it, if that is later.
    #[default]
    Push,
    /// The last pull; what was never pulled comes last.
    Pull,
    /// The semantic version that the tag spells; a tag that spells none is not selected.
    Version,
}

/// What `newest` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Count {
    /// Tags.
    #[default]
    Tags,
    /// Images: several tags of one image count once, by the newest of them.
    Images,
}

/// What later rules of the policy do not select.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Final {
    /// The tags that the rule matches by name, and the manifests of the kinds that it judges.
    Tag,
    /// Besides, all other tags of their images.
    Image,
}

/// Expressions, of which one must match: a text, or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a regular expression or a list of them")]
pub enum Expressions {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Expressions {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(expression) => std::slice::from_ref(expression),
            Self::Several(expressions) => expressions,
        }
    }
}

impl From<&str> for Expressions {
    fn from(expression: &str) -> Self {
        Self::One(expression.to_owned())
    }
}

/// A rule: it selects what *all* of its selectors match. Spans are written like `"30d"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, which no other rule of the policy has.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// When it is in force.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// Narrows the policy's repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Judges tags: the default, unless `untagged` or `orphaned` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tagged: Option<bool>,
    /// Judges manifests that no tag, index or subject holds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub untagged: bool,
    /// Judges signatures, attestations and the like whose subject is not in the repository.
    #[serde(default, skip_serializing_if = "is_default")]
    pub orphaned: bool,
    /// Globs of tags; `!` in front makes an exception.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Regular expressions of which one matches somewhere in the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_regex: Option<Expressions>,
    /// Regular expressions of which none matches anywhere in the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except_regex: Option<Expressions>,
    /// Last pushed longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_before: Option<String>,
    /// Last pushed not longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_within: Option<String>,
    /// Neither pulled nor pushed for longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled_before: Option<String>,
    /// Pulled, and not longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled_within: Option<String>,
    /// A keep rule keeps the newest so many of what the other selectors match; an expire rule expires the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u32>,
    /// What `newest` goes by: the push, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Order>,
    /// What `newest` counts: tags, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// A regular expression with one capture group: `newest` counts for each value of it. Tags that it does
    /// not match are not selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// Globs of artifact types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifact_types: Vec<String>,
    /// Globs of platforms like `linux/arm64`. A keep rule selects what has one of them, an expire rule what
    /// has no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Globs of values, by the annotation's key. All must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Globs of values, by the label's key. All must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Later rules of the policy do not select what this rule matches by kind and name, whatever its age and count.
    #[serde(default, rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_for: Option<Final>,
    /// For keep rules: keeps what the last so many different digests of a kept tag's past are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_history: Option<u32>,
}

impl Rule {
    /// A rule that selects every tag.
    pub fn new(name: impl Into<String>, action: Action) -> Self {
        Self {
            name: name.into(),
            action,
            when: When::Always,
            repositories: Vec::new(),
            tagged: None,
            untagged: false,
            orphaned: false,
            tags: Vec::new(),
            tag_regex: None,
            except_regex: None,
            pushed_before: None,
            pushed_within: None,
            pulled_before: None,
            pulled_within: None,
            newest: None,
            by: None,
            count: None,
            per: None,
            artifact_types: Vec::new(),
            platforms: Vec::new(),
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            final_for: None,
            keep_history: None,
        }
    }

    /// Whether it judges tags.
    pub(super) fn judges_tags(&self) -> bool {
        self.tagged.unwrap_or(!self.untagged && !self.orphaned)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
