//! The accounts: what is recorded of them, kept in memory and current.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use super::directory::Directory;
use super::lookalikes::look_alike;
use crate::clock::{Clock, Timestamp};
use crate::jobs::Job;
use crate::metadata::{AccountChange, AccountKind, AccountOutcome, MetadataError, MetadataStore, Result};
use crate::registry::ServiceError;

/// How exactly the last use of a token is noted.
const EACH: Duration = Duration::from_secs(60);

/// The accounts of a store.
pub struct Accounts {
    metadata: Arc<dyn MetadataStore>,
    current: RwLock<Arc<Directory>>,
    /// One change at a time, so that what is in memory is never older than what was recorded last.
    turn: tokio::sync::Mutex<()>,
    uses: Mutex<HashMap<String, Timestamp>>,
}

impl Accounts {
    /// Those that are recorded.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub async fn load(metadata: Arc<dyn MetadataStore>) -> Result<Self> {
        let current = RwLock::new(Arc::new(Directory::of(metadata.accounts().await?)));
        Ok(Self { metadata, current, turn: tokio::sync::Mutex::default(), uses: Mutex::default() })
    }

    /// As they are now.
    pub fn now(&self) -> Arc<Directory> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a change that counts from its end on.
    ///
    /// # Errors
    /// [`MetadataError`]: it was not made, or the store has to be opened anew to tell.
    pub async fn change(&self, change: AccountChange) -> Result<AccountOutcome> {
        let _turn = self.turn.lock().await;
        if let AccountChange::Add(new, _) = &change
            && new.kind != AccountKind::Bootstrap
            && self.now().names().any(|name| look_alike(name, &new.name))
        {
            return Ok(AccountOutcome::LooksAlike);
        }
        let outcome = self.metadata.change_accounts(change).await?;
        self.read().await?;
        Ok(outcome)
    }

    async fn read(&self) -> Result<()> {
        let directory = Arc::new(Directory::of(self.metadata.accounts().await?));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = directory;
        Ok(())
    }

    /// Notes that a token was used, to be recorded by [`Self::settle`].
    pub(super) fn note_use(&self, id: &str, last: Option<Timestamp>, now: Timestamp) {
        if last.is_some_and(|last| now < last.plus(EACH)) {
            return;
        }
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if !uses.contains_key(id) {
            uses.insert(id.to_owned(), now);
        }
    }

    /// Records when tokens were used, and forgets those that have ended.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub async fn settle(&self, now: Timestamp) -> std::result::Result<(), MetadataError> {
        let uses = std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner));
        let _turn = self.turn.lock().await;
        let used = !uses.is_empty();
        if used {
            self.metadata.note_token_uses(uses.into_iter().collect()).await?;
        }
        let ended =
            self.now().records().tokens.iter().any(|token| token.expires_at.is_some_and(|end| end <= now));
        if ended {
            self.metadata.forget_tokens(now).await?;
        }
        if used || ended { self.read().await } else { Ok(()) }
    }
}

/// What is to be done now and then for accounts.
pub struct AccountUpkeep {
    accounts: Arc<Accounts>,
    clock: Arc<dyn Clock>,
}

impl AccountUpkeep {
    /// Of `accounts`, by `clock`.
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
        self.accounts.settle(self.clock.now()).await?;
        Ok(false)
    }
}
