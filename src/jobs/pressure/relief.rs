//! Between who needs room and who knows what may go for it.

use async_trait::async_trait;

use crate::registry::ServiceError;

/// Lets go, while the store is nearly full, what policies allow.
#[async_trait]
pub trait Relief: Send + Sync + 'static {
    /// Moves to the trash what policies allow, in the operator's order and the least recently pulled first, one
    /// small step after the other, until `need` is met, which is asked before each step. What has gone is
    /// purged meanwhile: it has no time in the trash.
    ///
    /// # Errors
    /// [`ServiceError`]; what has gone until then is gone. That nothing may expire for now, because policies are broken
    /// or the clock is not trusted, is none.
    async fn relieve(&self, need: &dyn Need) -> Result<Relieved, ServiceError>;

    /// The names of the policies that decide what is kept.
    fn policies(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Room that is needed.
#[async_trait]
pub trait Need: Send + Sync {
    /// Whether it is there, after so many manifests have gone to the trash since [`Relief::relieve`] was called.
    /// Takes its time: it removes their bytes to find out.
    ///
    /// # Errors
    /// [`ServiceError`]: nothing more should go.
    async fn is_met(&self, gone: u64) -> Result<bool, ServiceError>;
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relieved {
    /// Tags that went.
    pub tags: u64,
    /// Manifests that went to the trash.
    pub manifests: u64,
}
