//! Whether the registry is able to work.

use async_trait::async_trait;

/// Reports whether the registry is able to work.
#[async_trait]
pub trait Health: Send + Sync + 'static {
    /// Checks that a push would succeed, and returns warnings.
    ///
    /// # Errors
    /// The reason why a push would fail.
    async fn ready(&self) -> Result<Vec<String>, String>;

    /// The result of a recent check. Costs nothing, because the server checks by itself.
    ///
    /// # Errors
    /// The reason why a push would have failed.
    async fn recent(&self) -> Result<Vec<String>, String> {
        self.ready().await
    }

    /// The fingerprint by which the health check recognises the store that is served.
    fn store_fingerprint(&self) -> Option<&str> {
        None
    }

    /// Whether the server is shutting down.
    fn is_draining(&self) -> bool {
        false
    }

    /// Warnings for clients that push. Must be cheap: every push calls it.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A health check that always succeeds.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysReady;

#[async_trait]
impl Health for AlwaysReady {
    async fn ready(&self) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}
