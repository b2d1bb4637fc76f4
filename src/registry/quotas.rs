//! Quotas, where they are looked at before the transactions that keep them: a body is not taken to its end
//! when it is clear that it cannot be kept.

use super::{Fault, Registry};
use crate::metadata::QuotaUse;
use crate::oci::RepoName;

impl Registry {
    /// Makes the quotas of the settings those that hold. To be called once, before the first request.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn enforce_quotas(&self) -> Result<(), Fault> {
        Ok(self.metadata.set_quotas(&self.settings.quotas).await?)
    }

    /// The quotas that a body for `repo` has to fit into, as of now. Where none holds nothing is asked.
    pub(super) async fn quotas_of(&self, repo: &RepoName) -> Result<Vec<QuotaUse>, Fault> {
        if !self.settings.quotas.iter().any(|quota| quota.bytes.is_some() && quota.scope.holds(repo)) {
            return Ok(Vec::new());
        }
        Ok(self.metadata.quotas(Some(repo)).await?)
    }
}
