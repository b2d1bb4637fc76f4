//! The policies in force: those of the configuration file and those set through the API.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;

use super::PolicyChangeError;
use crate::clock::Timestamp;
use crate::metadata::{EvaluationRecord, Metadata, PolicyRecord};
use crate::oci::{Algorithm, Hasher, RepoName, Tag};
use crate::registry::{Registry, ServiceError, TagGuard};
use crate::retention::{CompiledPolicies, Policies, Policy, PolicyError, Warning};
use crate::scheduling::run_blocking_with;

/// Where a policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The configuration file. The policy can only be changed there.
    File,
    /// The API.
    Record {
        /// When it was last set.
        set_at: Timestamp,
        /// The user who set it, if known.
        by: Option<String>,
    },
}

/// The policies in force.
#[derive(Debug, Default)]
pub struct InForce {
    /// The policies with their sources, those of the configuration file first.
    pub policies: Vec<(Policy, Source)>,
    /// Warnings about policies that are valid but odd.
    pub warnings: Vec<String>,
    /// Why nothing may expire: a recorded policy cannot be read or has a mistake, so what it would
    /// keep is unknown.
    pub broken: Option<String>,
    pub(super) compiled: Arc<CompiledPolicies>,
    /// A hash that identifies this set of policies.
    pub(super) fingerprint: String,
}

impl InForce {
    /// Whether a rule may keep untagged manifests.
    pub(in crate::jobs) fn may_pin(&self) -> bool {
        self.compiled.may_pin_anywhere()
    }

    /// Whether no rule may expire this tag.
    pub fn is_protected(&self, repo: &RepoName, tag: &Tag) -> bool {
        self.compiled.is_protected(repo, tag)
    }

    /// Whether the tag is protected and, besides, cannot be moved or deleted.
    pub fn is_immutable(&self, repo: &RepoName, tag: &Tag) -> bool {
        self.compiled.is_immutable(repo, tag)
    }

    /// Whether a recorded evaluation was made by these policies.
    pub(in crate::jobs) fn is_from(&self, record: &EvaluationRecord) -> bool {
        record.policies == self.fingerprint
    }
}

/// What would be in force if some policies were set.
pub(super) struct Proposed {
    /// These policies alone, compiled.
    pub(super) alone: CompiledPolicies,
    /// The recorded policies that they replace, compiled.
    pub(super) replaced: CompiledPolicies,
    /// All policies, including these.
    pub(super) combined: InForce,
    /// Warnings about these policies.
    pub(super) warnings: Vec<Warning>,
}

/// Holds the policies in force. The job, the API and the check of immutable tags share it.
#[derive(Debug, Default)]
pub struct PolicySet {
    file: Arc<Policies>,
    in_force: RwLock<Arc<InForce>>,
    changing: tokio::sync::Mutex<()>,
    /// Policies are compiled one at a time.
    compiling: Arc<tokio::sync::Mutex<()>>,
}

impl PolicySet {
    /// Creates the set from the configuration file. [`Self::load`] adds the recorded policies.
    ///
    /// # Errors
    /// Fails if a policy has a mistake; the error names the policy and the rule.
    pub fn from_file(file: Policies) -> Result<Self, PolicyError> {
        let policies = Self { file: Arc::new(file), ..Self::default() };
        policies.set(merge(&policies.file, &[])?);
        Ok(policies)
    }

    /// Returns the policies and the protected tags of the configuration file.
    pub fn file(&self) -> &Policies {
        &self.file
    }

    /// Returns the policies in force.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read())
    }

    /// Loads the recorded policies. If a record can't be used, the set is marked as broken: only the immutable tags of
    /// the configuration file stay in force.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub async fn load(&self, metadata: &Metadata) -> Result<(), ServiceError> {
        let records = metadata.policies().await?;
        let file = Arc::clone(&self.file);
        let in_force = self.compile_blocking(move || {
            let read: Result<Vec<_>, String> = records.iter().map(read_record).collect();
            let merged = read.and_then(|records| merge(&file, &records).map_err(|error| error.to_string()));
            merged.unwrap_or_else(|broken| {
                let file = merge(&file, &[]).unwrap_or_default();
                InForce { broken: Some(broken), ..file }
            })
        });
        self.set(in_force.await?);
        Ok(())
    }

    /// Runs `work`, which compiles policies, on a thread for blocking work, one at a time.
    ///
    /// # Errors
    /// Fails if the work panicked.
    pub(super) async fn compile_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let turn = Arc::clone(&self.compiling).lock_owned().await;
        let (done, _) = run_blocking_with(turn, work).await?;
        Ok(done)
    }

    /// Computes the policies as they would be with these, which replace recorded policies of the same names.
    ///
    /// # Errors
    /// Fails if a policy has a mistake or belongs to the configuration file.
    pub(super) async fn propose(&self, policies: &[Policy]) -> Result<Proposed, PolicyChangeError> {
        for policy in policies {
            self.reject_file_policy(policy.name_or_preset())?;
        }
        let file = Arc::clone(&self.file);
        let proposed = policies.to_vec();
        let mut records = self.records();
        let propose = move || {
            let of = |policies: Vec<Policy>| Policies { policies, ..Policies::default() }.compile();
            let (alone, warnings) = of(proposed.clone())?;
            let mut replaced = Vec::new();
            for policy in proposed {
                let name = policy.name_or_preset();
                let place = records.iter().position(|(other, _)| other.name_or_preset() == name);
                let record = (policy, Source::Record { set_at: Timestamp(0), by: None });
                match place {
                    Some(place) => replaced.push(std::mem::replace(&mut records[place], record).0),
                    None => records.push(record),
                }
            }
            let (replaced, _) = of(replaced)?;
            Ok(Proposed { alone, replaced, combined: merge(&file, &records)?, warnings })
        };
        self.compile_blocking(propose).await?
    }

    /// Sets a policy for `by`, in force from now on.
    ///
    /// # Errors
    /// Fails if the policy has a mistake or belongs to the configuration file, or if the database can't be written.
    /// Nothing has changed then.
    pub async fn put(
        &self,
        registry: &Registry,
        policy: &Policy,
        by: Option<&str>,
    ) -> Result<(), PolicyChangeError> {
        let _one = self.changing.lock().await;
        self.propose(std::slice::from_ref(policy)).await?;
        let json = serde_json::to_string(policy).map_err(|error| ServiceError::Failed(error.into()))?;
        let record = PolicyRecord {
            name: policy.name_or_preset().to_owned(),
            policy: json,
            set_at: registry.clock().now(),
            by: by.map(str::to_owned),
        };
        registry.metadata().set_policy(record).await?;
        Ok(self.load(registry.metadata().as_ref()).await?)
    }

    /// Removes a policy that was set through the API.
    ///
    /// # Errors
    /// Fails if there is no such policy, it belongs to the configuration file, or the database can't be written.
    /// Nothing has changed then.
    pub async fn remove(
        &self,
        registry: &Registry,
        name: &str,
        by: Option<&str>,
    ) -> Result<(), PolicyChangeError> {
        let _one = self.changing.lock().await;
        self.reject_file_policy(name)?;
        let now = registry.clock().now();
        if !registry.metadata().remove_policy(name, now, by).await? {
            return Err(PolicyChangeError::Unknown(name.to_owned()));
        }
        Ok(self.load(registry.metadata().as_ref()).await?)
    }

    fn reject_file_policy(&self, name: &str) -> Result<(), PolicyChangeError> {
        if self.file.policies.iter().any(|policy| policy.name_or_preset() == name) {
            return Err(PolicyChangeError::InFile(name.to_owned()));
        }
        Ok(())
    }

    fn records(&self) -> Vec<(Policy, Source)> {
        let in_force = self.in_force();
        in_force.policies.iter().filter(|(_, source)| *source != Source::File).cloned().collect()
    }

    fn set(&self, in_force: InForce) {
        *self.in_force.write() = Arc::new(in_force);
    }
}

/// Merges the policies of the file with the recorded ones and checks them. If two have the same name, the one
/// of the file wins.
fn merge(file: &Policies, records: &[(Policy, Source)]) -> Result<InForce, PolicyError> {
    let mut listed: Vec<_> = file.policies.iter().map(|policy| (policy.clone(), Source::File)).collect();
    let names: HashSet<_> = file.policies.iter().map(Policy::name_or_preset).collect();
    let mut warnings = Vec::new();
    for (policy, source) in records {
        let name = policy.name_or_preset();
        if names.contains(name) {
            warnings.push(format!(
                "retention policy `{name}` was set through the API but is not in force: \
                 the configuration file has a policy of the same name"
            ));
            continue;
        }
        listed.push((policy.clone(), source.clone()));
    }
    let policies = Policies { policies: listed.iter().map(|(p, _)| p.clone()).collect(), ..file.clone() };
    let (compiled, odd) = policies.compile()?;
    warnings.extend(odd.iter().map(Warning::to_string));
    let text = serde_json::to_vec(&policies).unwrap_or_default();
    let fingerprint = Hasher::digest(Algorithm::Sha256, &text).to_string();
    Ok(InForce { policies: listed, warnings, broken: None, compiled: Arc::new(compiled), fingerprint })
}

impl TagGuard for PolicySet {
    fn is_immutable(&self, repo: &RepoName, tag: &Tag) -> bool {
        let in_force = self.in_force.read();
        in_force.compiled.is_immutable(repo, tag)
    }
}

fn read_record(record: &PolicyRecord) -> Result<(Policy, Source), String> {
    let policy = serde_json::from_str(&record.policy)
        .map_err(|error| format!("cannot read retention policy `{}`: {error}", record.name))?;
    Ok((policy, Source::Record { set_at: record.set_at, by: record.by.clone() }))
}
