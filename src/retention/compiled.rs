//! CompiledPolicies policies: a value of these types has been checked.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::globs::Globs;
use super::matcher::Matcher;
use super::policy::{Action, Count, Final, Order, When};
use super::selectors::{Kinds, Selectors};
use crate::oci::{RepoName, Tag};

/// Policies that have been checked and compiled.
#[derive(Debug, Clone, Default)]
pub struct CompiledPolicies {
    pub(super) policies: Vec<CompiledPolicy>,
    pub(super) protected: Vec<ExemptTags>,
    pub(super) immutable: Vec<ExemptTags>,
}

/// The image details that rules need. A snapshot may leave out all others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// The keys of labels.
    pub labels: BTreeSet<String>,
    /// The keys of annotations.
    pub annotations: BTreeSet<String>,
    /// Whether platforms are needed.
    pub platforms: bool,
}

/// The names of a rule, and its index among all rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleLabel {
    /// The index among all rules of all policies in the operator's order, starting at 0.
    pub index: usize,
    /// The name of the policy.
    pub policy: String,
    /// The name of the rule.
    pub rule: String,
}

#[derive(Debug, Clone)]
pub(super) struct CompiledPolicy {
    /// The number of the policy's group.
    pub(super) group: Option<usize>,
    pub(super) repositories: Globs,
    pub(super) rules: Vec<CompiledRule>,
}

#[derive(Debug, Clone)]
pub(super) struct CompiledRule {
    pub(super) label: Arc<RuleLabel>,
    pub(super) action: Action,
    pub(super) when: When,
    /// Narrows the policy's repositories.
    pub(super) narrowed: Globs,
    pub(super) kinds: Kinds,
    pub(super) selectors: Selectors,
    pub(super) newest: Option<Newest>,
    pub(super) final_for: Option<Final>,
    pub(super) keep_history: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub(super) max: usize,
    pub(super) by: Order,
    pub(super) count: Count,
    pub(super) per: Option<Matcher>,
}

#[derive(Debug, Clone)]
pub(super) struct ExemptTags {
    pub(super) repositories: Globs,
    pub(super) tags: Globs,
    /// The exceptions; `None` if there are none.
    pub(super) except: Option<Globs>,
}

impl ExemptTags {
    pub(super) fn applies_to(&self, repo: &RepoName) -> bool {
        self.repositories.matches(repo.as_str())
    }

    pub(super) fn contains(&self, tag: &Tag) -> bool {
        let tag = tag.as_str();
        self.tags.matches(tag) && !self.except.as_ref().is_some_and(|except| except.matches(tag))
    }
}

impl CompiledRule {
    fn applies_to(&self, repo: &RepoName) -> bool {
        self.narrowed.matches(repo.as_str())
    }

    fn may_pin(&self) -> bool {
        let keeps_unreferenced = self.kinds.untagged || self.kinds.orphaned;
        self.action == Action::Keep && (keeps_unreferenced || self.keep_history > 0)
    }

    fn is_in_force(&self, pressure: bool) -> bool {
        match self.when {
            When::Always => true,
            When::Pressure => pressure,
            When::Calm => !pressure,
        }
    }
}

impl CompiledPolicies {
    /// Whether this tag can't be moved or deleted.
    pub fn is_immutable(&self, repo: &RepoName, tag: &Tag) -> bool {
        self.immutable.iter().any(|list| list.applies_to(repo) && list.contains(tag))
    }

    /// Whether no rule may expire this tag.
    pub fn is_protected(&self, repo: &RepoName, tag: &Tag) -> bool {
        self.protected.iter().any(|list| list.applies_to(repo) && list.contains(tag))
            || self.is_immutable(repo, tag)
    }

    /// Whether a policy applies to this repository.
    pub fn applies_to(&self, repo: &RepoName) -> bool {
        self.policies.iter().any(|policy| policy.repositories.matches(repo.as_str()))
    }

    /// Whether some rule could expire something in this repository. If not, it need not be read.
    pub fn may_expire(&self, repo: &RepoName, pressure: bool) -> bool {
        self.rules_for(repo, pressure).any(|rule| rule.action == Action::Expire)
    }

    /// Whether some rule could keep unreferenced manifests: untagged ones, orphans, or earlier versions of a tag.
    pub fn may_pin(&self, repo: &RepoName, pressure: bool) -> bool {
        self.rules_for(repo, pressure).any(CompiledRule::may_pin)
    }

    /// Whether some rule could do so in any repository.
    pub fn may_pin_anywhere(&self) -> bool {
        self.policies.iter().flat_map(|policy| &policy.rules).any(CompiledRule::may_pin)
    }

    /// Returns how many earlier versions of a tag the rules for this repository consider.
    pub fn history_depth(&self, repo: &RepoName, pressure: bool) -> usize {
        self.rules_for(repo, pressure).map(|rule| rule.keep_history).max().unwrap_or(0)
    }

    /// Returns the image details that the rules in force in this repository need.
    pub fn needs(&self, repo: &RepoName, pressure: bool) -> Needs {
        let mut needs = Needs::default();
        for rule in self.rules_for(repo, pressure) {
            needs.labels.extend(rule.selectors.labels.iter().map(|(key, _)| key.clone()));
            needs.annotations.extend(rule.selectors.annotations.iter().map(|(key, _)| key.clone()));
            needs.platforms |= rule.selectors.platforms.is_some();
        }
        needs
    }

    /// Iterates over the rules' names, in the operator's order.
    pub fn rules(&self) -> impl Iterator<Item = &RuleLabel> {
        self.policies.iter().flat_map(|policy| &policy.rules).map(|rule| &*rule.label)
    }

    pub(super) fn rules_for(&self, repo: &RepoName, pressure: bool) -> impl Iterator<Item = &CompiledRule> {
        self.policies_for(repo).flat_map(move |policy| policy.rules_for(repo, pressure))
    }

    /// Iterates over the policies that apply to a repository: the first of each group, and all without a group.
    pub(super) fn policies_for(&self, repo: &RepoName) -> impl Iterator<Item = &CompiledPolicy> {
        let mut groups = HashSet::new();
        self.policies.iter().filter(move |policy| {
            let is_open = policy.group.is_none_or(|group| !groups.contains(&group));
            let applies = is_open && policy.repositories.matches(repo.as_str());
            if applies {
                groups.extend(policy.group);
            }
            applies
        })
    }
}

impl CompiledPolicy {
    /// Iterates over the rules in force for a repository the policy applies to.
    pub(super) fn rules_for(&self, repo: &RepoName, pressure: bool) -> impl Iterator<Item = &CompiledRule> {
        self.rules.iter().filter(move |rule| rule.is_in_force(pressure) && rule.applies_to(repo))
    }
}
