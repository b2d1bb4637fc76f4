//! Shows why a manifest is kept, and what deleting it would free.

use super::format::Moment;
use super::reference::Link;
use super::visitor::Visitor;
use crate::metadata::{Holder, ManifestState};
use crate::oci::{RepoName, Tag};
use crate::reports::{KeptManifest, Why};

/// Why a manifest is kept in its repository.
pub(super) struct WhyView {
    pub(super) reasons: Vec<Reason>,
    /// What policies would do now; `None` if there are too many tags to say.
    pub(super) rules: Option<Vec<Rule>>,
    /// The bytes that deleting it would free.
    pub(super) frees: u64,
}

/// Something that keeps a manifest.
pub(super) struct Reason {
    pub(super) text: String,
    pub(super) link: Option<Link>,
    pub(super) until: Option<Moment>,
    pub(super) remark: String,
}

/// What policies would do to a tag or to the manifest itself.
pub(super) struct Rule {
    pub(super) tag: Option<Tag>,
    pub(super) goes: bool,
    pub(super) reason: String,
}

impl Reason {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), link: None, until: None, remark: String::new() }
    }

    fn linked(text: &str, link: Link, remark: impl Into<String>) -> Self {
        Self { link: Some(link), remark: remark.into(), ..Self::new(text) }
    }
}

/// Prepares the report on a manifest of the repository `name`.
pub(super) fn why(visitor: &Visitor, name: &RepoName, found: Why) -> WhyView {
    let now = found.now;
    let mut reasons = Vec::new();
    let Some(kept) = found.manifests.into_iter().next() else {
        return WhyView { reasons, rules: Some(Vec::new()), frees: 0 };
    };
    reasons.extend(of_tags(name, &kept));
    let KeptManifest { why, pinned_by, rules, .. } = kept;
    reasons.extend(why.indexes.first.iter().map(|index| of_holder(visitor, name, "Index", index)));
    let others = why.indexes.count.saturating_sub(why.indexes.first.len() as u64);
    if others > 0 {
        reasons.push(Reason::new(format!("{others} more indexes")));
    }
    reasons.extend(why.subjects.iter().map(|subject| of_holder(visitor, name, "Attached to", subject)));
    reasons.extend(why.unreleased.then(|| Reason::new("Adopted, not released yet".to_owned())));
    reasons.extend(pinned_by.map(|rule| Reason::new(format!("Kept by {rule}"))));
    if let Some(until) = why.lease.active_until(now) {
        let until = Some(visitor.moment(until));
        reasons.push(Reason {
            until,
            ..Reason::new("Leased because a client pushed or checked it; the lease ends")
        });
    }
    if why.lease.extended {
        reasons.push(Reason::new("An upload that is open or has just ended keeps it longer"));
    }
    if let Some(review) = why.review {
        let until = Some(visitor.moment(review));
        let text = "If nothing else holds it, it moves to the trash";
        reasons.push(Reason { until, ..Reason::new(text) });
    }
    let rules = rules.map(|rows| {
        let rule = |row: crate::jobs::retention::Row| Rule {
            goes: row.decision.expiry().is_some(),
            reason: row.decision.explain(now).to_string(),
            tag: row.tag,
        };
        rows.into_iter().map(rule).collect()
    });
    WhyView { reasons, rules, frees: why.frees }
}

fn of_tags(name: &RepoName, kept: &KeptManifest) -> Vec<Reason> {
    let reason = |tag: &Tag| {
        let link = Link::to_tag(name, tag);
        let remark = if kept.immutable.contains(tag) {
            "immutable"
        } else if kept.protected.contains(tag) {
            "protected"
        } else {
            ""
        };
        Reason::linked("Tag", link, remark)
    };
    let tags = &kept.why.tags;
    let mut reasons: Vec<_> = tags.first.iter().map(reason).collect();
    let others = tags.count.saturating_sub(tags.first.len() as u64);
    if others > 0 {
        reasons.push(Reason::new(format!("{others} more tags")));
    }
    reasons
}

fn of_holder(visitor: &Visitor, name: &RepoName, text: &str, holder: &Holder) -> Reason {
    let tags: Vec<_> = holder.tags.first.iter().map(Tag::as_str).collect();
    let tags = if tags.is_empty() { String::new() } else { format!("tagged {}", tags.join(", ")) };
    let link = Link::to_manifest(name, &holder.digest);
    match holder.state {
        ManifestState::Live => Reason::linked(text, link, tags),
        ManifestState::Trash(until) => {
            let until = Some(visitor.moment(until));
            Reason { until, ..Reason::linked(text, link, "in the trash, removed for good") }
        }
        ManifestState::Purging => Reason::linked(text, link, "being removed for good"),
    }
}
