//! Policies as written in the configuration file, through the API, or in a preset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All retention settings of an operator. [`Policies::compile`] checks them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// The policies. Under pressure, their rules apply in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// Tags that no rule may expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<TagList>,
    /// Tags that no rule may expire, and that can't be moved or deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub immutable: Vec<TagList>,
}

/// A named list of rules for some repositories.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The name, which must be unique. It may be omitted if `preset` is given.
    pub name: String,
    /// A preset whose rules are appended to this policy's own: see [`super::PRESETS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A group of policies, of which only the first that matches a repository applies to it. Policies of other groups,
    /// and policies without a group, apply as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Globs of repository names; a leading `!` makes an exception. Empty matches all repositories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// The rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Returns the name, or the name of the preset if the policy has none of its own.
    pub fn name_or_preset(&self) -> &str {
        match &self.preset {
            Some(preset) if self.name.is_empty() => preset,
            _ => &self.name,
        }
    }
}

/// A list of tags that are protected from rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TagList {
    /// Globs of repository names. Empty matches all repositories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Globs of tags. Empty matches all tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Globs of tags that are excepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// What a rule does with the items it selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Keeps them, regardless of other rules.
    Keep,
    /// Expires them, unless something keeps them.
    Expire,
}

/// When a rule is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Always.
    #[default]
    Always,
    /// While the store is above its high mark. For expire rules.
    Pressure,
    /// While the store is not above its high mark. For keep rules.
    Calm,
}

/// The order in which `newest` ranks items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By the last push. For an untagged manifest, at least the time when it became unreferenced.
    #[default]
    Push,
    /// By the last pull. Items that were never pulled come last.
    Pull,
    /// By the semantic version in the tag. Tags without one are not selected.
    Version,
}

/// What `newest` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Count {
    /// Tags.
    #[default]
    Tags,
    /// Images: several tags of one image count once, ranked by the newest of them.
    Images,
}

/// What a final rule hides from later rules of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Final {
    /// The tags the rule matches by name, and the manifests of the kinds it applies to.
    Tag,
    /// Also all other tags of their images.
    Image,
}

/// Regular expressions, one of which must match: a string or a list of strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a regular expression or a list of them")]
pub enum Expressions {
    /// One expression.
    One(String),
    /// Several expressions.
    Several(Vec<String>),
}

impl Expressions {
    /// Returns all expressions.
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

/// A rule. It selects items that *all* of its selectors match. Time spans are written like `"30d"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name, which must be unique within the policy.
    pub name: String,
    /// What the rule does.
    pub action: Action,
    /// When the rule is in force.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// Globs that narrow the policy's repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Applies to tags: the default, unless `untagged` or `orphaned` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tagged: Option<bool>,
    /// Applies to manifests without a tag, an index or a subject.
    #[serde(default, skip_serializing_if = "is_default")]
    pub untagged: bool,
    /// Applies to signatures, attestations and the like whose subject is not in the repository.
    #[serde(default, skip_serializing_if = "is_default")]
    pub orphaned: bool,
    /// Globs of tags; a leading `!` makes an exception.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Regular expressions, one of which must match somewhere in the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_regex: Option<Expressions>,
    /// Regular expressions, none of which may match anywhere in the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except_regex: Option<Expressions>,
    /// Matches items last pushed longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_before: Option<String>,
    /// Matches items pushed within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_within: Option<String>,
    /// Matches items neither pulled nor pushed within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled_before: Option<String>,
    /// Matches items pulled within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled_within: Option<String>,
    /// A keep rule keeps this many of the newest items that the other selectors match; an expire rule expires the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u32>,
    /// The order of `newest`: by push, by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Order>,
    /// What `newest` counts: tags, by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// A regular expression with one capture group. `newest` counts separately for each value of the group. Tags that
    /// do not match are not selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// Globs of artifact types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifact_types: Vec<String>,
    /// Globs of platforms such as `linux/arm64`. A keep rule selects images with at least one matching platform, an
    /// expire rule images whose platforms all match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Globs of annotation values by key. All must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Globs of label values by key. All must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Hides items this rule matches by kind and name from later rules of the policy, whatever their age and number.
    #[serde(default, rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_for: Option<Final>,
    /// For keep rules: also keeps this many earlier versions of a kept tag, counted by different digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_history: Option<u32>,
}

impl Rule {
    /// Creates a rule that selects every tag.
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

    /// Whether the rule applies to tags.
    pub(super) fn selects_tags(&self) -> bool {
        self.tagged.unwrap_or(!self.untagged && !self.orphaned)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
