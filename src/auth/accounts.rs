//! Keeps the accounts of the metadata store in memory and current.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};

use super::directory::Directory;
use super::lookalikes::is_look_alike;
use crate::clock::{Clock, Timestamp};
use crate::jobs::Job;
use crate::metadata::{AccountChange, AccountKind, AccountOutcome, Metadata, MetadataError, Result};
use crate::registry::ServiceError;

/// The precision with which the last use of a token is recorded.
const USE_PRECISION: Duration = Duration::from_secs(60);

/// The accounts of a metadata store.
pub struct Accounts {
    metadata: Arc<Metadata>,
    current: RwLock<Arc<Directory>>,
    /// Serialises changes, so that the copy in memory is never older than the last recorded change.
    change_lock: tokio::sync::Mutex<()>,
    /// Uses of tokens, by token id, that are not recorded yet.
    uses: Mutex<HashMap<String, Timestamp>>,
}

impl Accounts {
    /// Loads the accounts of a store.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub async fn load(metadata: Arc<Metadata>) -> Result<Self> {
        let current = RwLock::new(Arc::new(Directory::new(metadata.accounts().await?)));
        Ok(Self { metadata, current, change_lock: tokio::sync::Mutex::default(), uses: Mutex::default() })
    }

    /// The current accounts.
    pub fn current(&self) -> Arc<Directory> {
        Arc::clone(&self.current.read())
    }

    /// Makes a change. It is in effect when this returns.
    ///
    /// # Errors
    /// Fails if the change was not made, or if that can't be known until the store is reopened.
    pub async fn change(&self, change: AccountChange) -> Result<AccountOutcome> {
        let _guard = self.change_lock.lock().await;
        if let AccountChange::Add(new, _) = &change
            && new.kind != AccountKind::Bootstrap
            && self.current().account_names().any(|name| is_look_alike(name, &new.name))
        {
            return Ok(AccountOutcome::LooksAlike);
        }
        let outcome = self.metadata.change_accounts(change).await?;
        self.reload().await?;
        Ok(outcome)
    }

    async fn reload(&self) -> Result<()> {
        let directory = Arc::new(Directory::new(self.metadata.accounts().await?));
        *self.current.write() = directory;
        Ok(())
    }

    /// Remembers that a token was used, until [`Self::flush_token_uses`] records it.
    pub(super) fn record_use(&self, id: &str, last: Option<Timestamp>, now: Timestamp) {
        if last.is_some_and(|last| now < last.plus(USE_PRECISION)) {
            return;
        }
        let mut uses = self.uses.lock();
        if !uses.contains_key(id) {
            uses.insert(id.to_owned(), now);
        }
    }

    /// Records the uses of tokens in the database, and deletes expired tokens.
    ///
    /// # Errors
    /// Fails if the database can't be written.
    pub async fn flush_token_uses(&self, now: Timestamp) -> std::result::Result<(), MetadataError> {
        let uses = std::mem::take(&mut *self.uses.lock());
        let _guard = self.change_lock.lock().await;
        let used = !uses.is_empty();
        if used {
            self.metadata.record_token_uses(uses.into_iter().collect()).await?;
        }
        let any_expired = self
            .current()
            .records()
            .tokens
            .iter()
            .any(|token| token.expires_at.is_some_and(|end| end <= now));
        if any_expired {
            self.metadata.forget_tokens(now).await?;
        }
        if used || any_expired { self.reload().await } else { Ok(()) }
    }
}

/// The background job that maintains the accounts.
pub struct AccountUpkeep {
    accounts: Arc<Accounts>,
    clock: Arc<dyn Clock>,
}

impl AccountUpkeep {
    /// Creates the job.
    pub fn new(accounts: Arc<Accounts>, clock: Arc<dyn Clock>) -> Self {
        Self { accounts, clock }
    }
}

#[async_trait]
impl Job for AccountUpkeep {
    fn name(&self) -> &'static str {
        "accounts"
    }

    async fn tick(&self) -> std::result::Result<bool, ServiceError> {
        self.accounts.flush_token_uses(self.clock.now()).await?;
        Ok(false)
    }
}
