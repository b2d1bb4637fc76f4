//! Properties that hold for every repository and every policy.

use std::collections::{BTreeMap, BTreeSet};

use orlop::oci::Digest;
use orlop::retention::{Decision, KeepReason, RepoPlan, RepoSnapshot, StepTarget, evaluate};
use proptest::prelude::*;

use crate::generate::{NOW, policies, snapshot};
use crate::naive::{Fate, World};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_implementations_agree(snapshot in snapshot(), policies in policies(), pressure: bool) {
        // Some policies would empty a repository; these are rejected.
        let Ok((compiled, _)) = policies.compile() else { return Ok(()) };
        let plan = evaluate(&snapshot, &compiled, NOW, pressure);
        let (tags, manifests) = World { snapshot: &snapshot, policies: &policies, pressure }.fates();
        let found = snapshot.tags.iter().zip(&plan.tags).map(|(tag, d)| (tag.name.to_string(), fate(d)));
        prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), tags);
        let found = snapshot.manifests.iter().zip(&plan.manifests).map(|(m, d)| (m.digest.clone(), fate(d)));
        let without_reasons = |fate| if let Fate::Keep(_) = fate { Fate::Keep(BTreeSet::new()) } else { fate };
        prop_assert_eq!(found.map(|(d, f)| (d, without_reasons(f))).collect::<BTreeMap<_, _>>(), manifests);
        check_consistency(&snapshot, &plan)?;
    }
}

fn fate(decision: &Decision) -> Fate {
    match decision {
        Decision::Expire(expiry) => Fate::Expire(expiry.rule.index, expiry.used_at),
        Decision::Keep { by } => Fate::Keep(by.iter().map(reason).collect()),
    }
}

fn reason(reason: &KeepReason) -> String {
    match reason {
        KeepReason::Rule(rule) => format!("rule {}", rule.index),
        KeepReason::Unknown(rule) => format!("unknown {}", rule.index),
        KeepReason::NoRule => "unnamed".into(),
        KeepReason::Protected => "protected".into(),
        KeepReason::Immutable => "immutable".into(),
        KeepReason::Adopted => "adopted".into(),
        KeepReason::NoManifest => "no manifest".into(),
        KeepReason::Subject(_) => "subject".into(),
        KeepReason::Tag(_) | KeepReason::Index(_) | KeepReason::History { .. } => "reference".into(),
    }
}

/// Checks what needs no second implementation: kept manifests are complete, and the steps are in order.
fn check_consistency(snapshot: &RepoSnapshot, plan: &RepoPlan) -> Result<(), TestCaseError> {
    let stays = |decision: &Decision| decision.expiry().is_none();
    let manifests = || snapshot.manifests.iter().zip(&plan.manifests);
    let expired: BTreeSet<&Digest> = manifests().filter(|(_, d)| !stays(d)).map(|(m, _)| &m.digest).collect();
    for (manifest, decision) in manifests() {
        if stays(decision) {
            prop_assert!(manifest.children.iter().all(|child| !expired.contains(child)));
        } else {
            let subject = manifest.subject.as_ref();
            prop_assert!(
                subject.is_none_or(|s| expired.contains(s) || manifests().all(|(m, _)| m.digest != *s))
            );
        }
    }
    for (tag, decision) in snapshot.tags.iter().zip(&plan.tags) {
        prop_assert!(!stays(decision) || !expired.contains(&tag.digest));
    }
    let steps = plan.steps();
    let order: Vec<_> = steps.iter().map(|(_, e)| (e.rule.index, e.used_at)).collect();
    prop_assert!(order.is_sorted());
    let stepped = steps.iter().filter(|(target, _)| matches!(target, StepTarget::Tag(_))).count();
    prop_assert_eq!(stepped, plan.tags.iter().filter(|decision| !stays(decision)).count());
    Ok(())
}
