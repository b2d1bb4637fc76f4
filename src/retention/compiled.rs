//! Policies that have been checked: what has this type cannot be wrong.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::globs::Globs;
use super::matcher::Matcher;
use super::policy::{Action, Count, Final, Order, When};
use super::selectors::Selectors;
use crate::oci::{RepoName, Tag};

/// Policies that have been checked and are ready for use.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    pub(super) policies: Vec<CompiledPolicy>,
    pub(super) protected: Vec<SafeTags>,
    pub(super) immutable: Vec<SafeTags>,
}

/// The details of images that rules ask for. A snapshot may leave out all others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// The keys of labels.
    pub labels: BTreeSet<String>,
    /// The keys of annotations.
    pub annotations: BTreeSet<String>,
    /// Whether platforms are asked for.
    pub platforms: bool,
}

/// A rule's names, and its place among all rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleLabel {
    /// Its place among all rules of all policies, in the operator's order, counted from 0.
    pub index: usize,
    /// The policy's name.
    pub policy: String,
    /// The rule's name.
    pub rule: String,
}

#[derive(Debug, Clone)]
pub(super) struct CompiledPolicy {
    /// The number of its group.
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

/// What a rule judges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds {
    pub(super) tagged: bool,
    pub(super) untagged: bool,
    pub(super) orphaned: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub(super) most: usize,
    pub(super) by: Order,
    pub(super) count: Count,
    pub(super) per: Option<Matcher>,
}

#[derive(Debug, Clone)]
pub(super) struct SafeTags {
    pub(super) repositories: Globs,
    pub(super) tags: Globs,
    /// `None`: no exceptions.
    pub(super) except: Option<Globs>,
}

impl SafeTags {
    pub(super) fn is_for(&self, repo: &RepoName) -> bool {
        self.repositories.matches(repo.as_str())
    }

    pub(super) fn names(&self, tag: &Tag) -> bool {
        let tag = tag.as_str();
        self.tags.matches(tag) && !self.except.as_ref().is_some_and(|except| except.matches(tag))
    }
}

impl CompiledRule {
    fn is_for(&self, repo: &RepoName) -> bool {
        self.narrowed.matches(repo.as_str())
    }

    fn may_pin(&self) -> bool {
        let alone = self.kinds.untagged || self.kinds.orphaned;
        self.action == Action::Keep && (alone || self.keep_history > 0)
    }

    fn is_in_force(&self, pressure: bool) -> bool {
        match self.when {
            When::Always => true,
            When::Pressure => pressure,
            When::Calm => !pressure,
        }
    }
}

impl Compiled {
    /// Whether nobody may move or delete this tag.
    pub fn is_immutable(&self, repo: &RepoName, tag: &Tag) -> bool {
        self.immutable.iter().any(|list| list.is_for(repo) && list.names(tag))
    }

    /// Whether no rule may expire this tag.
    pub fn is_protected(&self, repo: &RepoName, tag: &Tag) -> bool {
        self.protected.iter().any(|list| list.is_for(repo) && list.names(tag)) || self.is_immutable(repo, tag)
    }

    /// Whether some rule could ever expire something in this repository: if not, it need not be read.
    pub fn may_expire(&self, repo: &RepoName, pressure: bool) -> bool {
        self.rules_for(repo, pressure).any(|rule| rule.action == Action::Expire)
    }

    /// Whether some rule could keep what nothing else holds: untagged manifests, orphans, what a tag pointed at
    /// before.
    pub fn may_pin(&self, repo: &RepoName, pressure: bool) -> bool {
        self.rules_for(repo, pressure).any(CompiledRule::may_pin)
    }

    /// Whether that is so of any repository.
    pub fn may_pin_anywhere(&self) -> bool {
        self.policies.iter().flat_map(|policy| &policy.rules).any(CompiledRule::may_pin)
    }

    /// How far back into the past of tags some rule looks in this repository.
    pub fn history_depth(&self, repo: &RepoName, pressure: bool) -> usize {
        self.rules_for(repo, pressure).map(|rule| rule.keep_history).max().unwrap_or(0)
    }

    /// The details of images that the rules in force in this repository ask for.
    pub fn needs(&self, repo: &RepoName, pressure: bool) -> Needs {
        let mut needs = Needs::default();
        for rule in self.rules_for(repo, pressure) {
            needs.labels.extend(rule.selectors.labels.iter().map(|(key, _)| key.clone()));
            needs.annotations.extend(rule.selectors.annotations.iter().map(|(key, _)| key.clone()));
            needs.platforms |= rule.selectors.platforms.is_some();
        }
        needs
    }

    /// The rules' names, in the operator's order.
    pub fn rules(&self) -> impl Iterator<Item = &RuleLabel> {
        self.policies.iter().flat_map(|policy| &policy.rules).map(|rule| &*rule.label)
    }

    pub(super) fn rules_for(&self, repo: &RepoName, pressure: bool) -> impl Iterator<Item = &CompiledRule> {
        self.policies_for(repo).flat_map(move |policy| policy.rules_for(repo, pressure))
    }

    /// The policies that apply to a repository: of each group the first.
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
    /// The rules in force for a repository that the policy names.
    pub(super) fn rules_for(&self, repo: &RepoName, pressure: bool) -> impl Iterator<Item = &CompiledRule> {
        self.rules.iter().filter(move |rule| rule.is_in_force(pressure) && rule.is_for(repo))
    }
}
