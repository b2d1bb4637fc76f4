//! The policies in force: those of the configuration file, and those that were set through the API.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::PolicyChangeError;
use crate::clock::Timestamp;
use crate::metadata::{Judged, MetadataStore, PolicyRecord};
use crate::oci::{Algorithm, Hasher, RepoName, Tag};
use crate::registry::{Registry, ServiceError, TagGuard};
use crate::retention::{Compiled, Policies, Policy, PolicyError, Warning};

/// Where a policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The configuration file: it is changed there.
    File,
    /// The API.
    Record {
        /// When it was last set.
        set_at: Timestamp,
        /// By whom, if that is known.
        by: Option<String>,
    },
}

/// The policies in force.
#[derive(Debug, Default)]
pub struct InForce {
    /// Each, with where it comes from: those of the file first.
    pub policies: Vec<(Policy, Source)>,
    /// What is allowed and odd.
    pub warnings: Vec<String>,
    /// Why nothing may expire: a record cannot be read or has a mistake. What it would keep is not known.
    pub broken: Option<String>,
    pub(super) compiled: Arc<Compiled>,
    /// What tells them from others.
    pub(super) fingerprint: String,
}

impl InForce {
    /// Whether a rule may keep what no tag holds.
    pub(in crate::jobs) fn may_pin(&self) -> bool {
        self.compiled.may_pin_anywhere()
    }

    /// Whether no rule may expire this tag.
    pub fn is_protected(&self, repo: &RepoName, tag: &Tag) -> bool {
        self.compiled.is_protected(repo, tag)
    }

    /// Whether, besides, nobody may move or delete it.
    pub fn is_immutable(&self, repo: &RepoName, tag: &Tag) -> bool {
        self.compiled.is_immutable(repo, tag)
    }

    /// Whether a judgement was made by these policies.
    pub(in crate::jobs) fn made(&self, judged: &Judged) -> bool {
        judged.policies == self.fingerprint
    }
}

/// What a policy would come to.
pub(super) struct Proposed {
    /// It alone, compiled.
    pub(super) alone: Compiled,
    /// All policies as they would be with it.
    pub(super) with_it: Arc<Compiled>,
    /// What is odd about it.
    pub(super) warnings: Vec<Warning>,
}

/// Knows the policies in force. The job, the API and the guard of immutable tags share it.
#[derive(Debug, Default)]
pub struct PolicySet {
    file: Arc<Policies>,
    in_force: RwLock<Arc<InForce>>,
    changing: tokio::sync::Mutex<()>,
    /// Policies are compiled one at a time.
    compiling: Arc<tokio::sync::Mutex<()>>,
}

impl PolicySet {
    /// A book of what the configuration file says, without records yet.
    ///
    /// # Errors
    /// [`PolicyError`]: a mistake, with policy and rule.
    pub fn of_file(file: Policies) -> Result<Self, PolicyError> {
        let book = Self { file: Arc::new(file), ..Self::default() };
        book.set(join(&book.file, &[])?);
        Ok(book)
    }

    /// The policies in force.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up what is recorded. A record that cannot be used leaves the book broken, with what the file says
    /// in force for immutable tags alone.
    ///
    /// # Errors
    /// [`ServiceError`] when the store failed.
    pub async fn load(&self, metadata: &dyn MetadataStore) -> Result<(), ServiceError> {
        let records = metadata.policies().await?;
        let file = Arc::clone(&self.file);
        let in_force = self.compile_aside(move || {
            let read: Result<Vec<_>, String> = records.iter().map(read).collect();
            let joined = read.and_then(|records| join(&file, &records).map_err(|error| error.to_string()));
            joined.unwrap_or_else(|broken| {
                let file = join(&file, &[]).unwrap_or_default();
                InForce { broken: Some(broken), ..file }
            })
        });
        self.set(in_force.await?);
        Ok(())
    }

    /// Does work that compiles policies: on a thread for blocking work, one at a time.
    ///
    /// # Errors
    /// [`ServiceError`] if it panicked.
    pub(super) async fn compile_aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        // The work holds its turn: it goes on where the client goes away.
        let turn = Arc::clone(&self.compiling).lock_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        work.await.map_err(|error| ServiceError::Failed(error.to_string()))
    }

    /// What the policies would be with this one, in the place of a record of its name.
    ///
    /// # Errors
    /// [`PolicyChangeError`]: a mistake, or it is the file's.
    pub(super) async fn propose(&self, policy: &Policy) -> Result<Proposed, PolicyChangeError> {
        self.refuse_file(policy.called())?;
        let (file, policy, mut records) = (Arc::clone(&self.file), policy.clone(), self.records());
        let propose = move || {
            let alone = Policies { policies: vec![policy.clone()], ..Policies::default() };
            let (alone, warnings) = alone.compile()?;
            let place = records.iter().position(|(other, _)| other.called() == policy.called());
            let record = (policy, Source::Record { set_at: Timestamp(0), by: None });
            match place {
                Some(place) => records[place] = record,
                None => records.push(record),
            }
            let with_it = join(&file, &records)?.compiled;
            Ok(Proposed { alone, with_it, warnings })
        };
        self.compile_aside(propose).await?
    }

    /// Sets a policy, in force from now on, for `by`.
    ///
    /// # Errors
    /// [`PolicyChangeError`]; then nothing changed.
    pub async fn put(
        &self,
        registry: &Registry,
        policy: &Policy,
        by: Option<&str>,
    ) -> Result<(), PolicyChangeError> {
        let _one = self.changing.lock().await;
        self.propose(policy).await?;
        let json = serde_json::to_string(policy).map_err(|error| ServiceError::Failed(error.to_string()))?;
        let record = PolicyRecord {
            name: policy.called().to_owned(),
            policy: json,
            set_at: registry.clock().now(),
            by: by.map(str::to_owned),
        };
        registry.metadata().set_policy(record).await.map_err(ServiceError::from)?;
        Ok(self.load(registry.metadata().as_ref()).await?)
    }

    /// Removes a policy that was set through the API.
    ///
    /// # Errors
    /// [`PolicyChangeError`]; then nothing changed.
    pub async fn remove(
        &self,
        registry: &Registry,
        name: &str,
        by: Option<&str>,
    ) -> Result<(), PolicyChangeError> {
        let _one = self.changing.lock().await;
        self.refuse_file(name)?;
        let now = registry.clock().now();
        if !registry.metadata().remove_policy(name, now, by).await.map_err(ServiceError::from)? {
            return Err(PolicyChangeError::Unknown(name.to_owned()));
        }
        Ok(self.load(registry.metadata().as_ref()).await?)
    }

    fn refuse_file(&self, name: &str) -> Result<(), PolicyChangeError> {
        if self.file.policies.iter().any(|policy| policy.called() == name) {
            return Err(PolicyChangeError::InFile(name.to_owned()));
        }
        Ok(())
    }

    fn records(&self) -> Vec<(Policy, Source)> {
        let in_force = self.in_force();
        in_force.policies.iter().filter(|(_, source)| *source != Source::File).cloned().collect()
    }

    fn set(&self, in_force: InForce) {
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
    }
}

/// The file's policies and these records, checked together. The file's win where names are the same.
fn join(file: &Policies, records: &[(Policy, Source)]) -> Result<InForce, PolicyError> {
    let mut listed: Vec<_> = file.policies.iter().map(|policy| (policy.clone(), Source::File)).collect();
    let names: HashSet<_> = file.policies.iter().map(Policy::called).collect();
    let mut warnings = Vec::new();
    for (policy, source) in records {
        let name = policy.called();
        if names.contains(name) {
            warnings.push(format!(
                "retention policy `{name}` was set through the API, and is not in force: \
                 the configuration file has one of this name"
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
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        in_force.compiled.is_immutable(repo, tag)
    }
}

fn read(record: &PolicyRecord) -> Result<(Policy, Source), String> {
    let policy = serde_json::from_str(&record.policy)
        .map_err(|error| format!("retention policy `{}` cannot be read: {error}", record.name))?;
    Ok((policy, Source::Record { set_at: record.set_at, by: record.by.clone() }))
}
