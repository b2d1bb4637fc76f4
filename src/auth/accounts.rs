//! Keeps the accounts of the metadata store in memory and current.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::directory::Directory;
use super::lookalikes::is_look_alike;
use crate::clock::Timestamp;
use crate::metadata::{AccountChange, AccountKind, AccountOutcome, Metadata, Result, SessionRecord};

/// The precision with which the last use of a token or session is recorded.
const USE_PRECISION: Duration = Duration::from_secs(60);

/// The accounts of a metadata store.
pub struct Accounts {
    metadata: Arc<Metadata>,
    current: RwLock<Arc<Directory>>,
    /// Serialises changes, so that the copy in memory is never older than the last recorded change.
    change_lock: tokio::sync::Mutex<()>,
    /// Uses of tokens, by token id, that are not recorded yet.
    uses: Mutex<HashMap<String, Timestamp>>,
    /// The last use of each session since the start, by session id.
    session_uses: Mutex<HashMap<String, Timestamp>>,
}

impl Accounts {
    /// Loads the accounts of a store.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub async fn load(metadata: Arc<Metadata>) -> Result<Self> {
        let current = RwLock::new(Arc::new(Directory::new(metadata.accounts().await?)));
        Ok(Self {
            metadata,
            current,
            change_lock: tokio::sync::Mutex::default(),
            uses: Mutex::default(),
            session_uses: Mutex::default(),
        })
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

    /// Remembers that a token was used, until [`Self::flush_uses`] records it.
    pub(super) fn record_use(&self, id: &str, last: Option<Timestamp>, now: Timestamp) {
        if last.is_some_and(|last| now < last.plus(USE_PRECISION)) {
            return;
        }
        let mut uses = self.uses.lock();
        if !uses.contains_key(id) {
            uses.insert(id.to_owned(), now);
        }
    }

    /// Remembers that a session was used. [`Self::flush_uses`] records it.
    pub(super) fn record_session_use(&self, id: &str, now: Timestamp) {
        self.session_uses.lock().insert(id.to_owned(), now);
    }

    /// When a session was last used.
    pub(super) fn last_use_of_session(&self, session: &SessionRecord) -> Timestamp {
        self.session_uses.lock().get(&session.id).copied().unwrap_or(session.used_at)
    }

    /// Records the uses of tokens and sessions in the database, and deletes expired tokens and the sessions with these
    /// ids.
    ///
    /// # Errors
    /// Fails if the database can't be written.
    pub async fn flush_uses(&self, ended_sessions: Vec<String>, now: Timestamp) -> Result<()> {
        let uses = std::mem::take(&mut *self.uses.lock());
        let _guard = self.change_lock.lock().await;
        let mut has_changed = false;
        if !uses.is_empty() {
            self.metadata.record_token_uses(uses.into_iter().collect()).await?;
            has_changed = true;
        }
        let session_uses = self.unrecorded_session_uses();
        if !session_uses.is_empty() {
            self.metadata.record_session_uses(session_uses).await?;
            has_changed = true;
        }
        let is_expired = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        if self.current().records().tokens.iter().any(|token| is_expired(token.expires_at)) {
            self.metadata.forget_tokens(now).await?;
            has_changed = true;
        }
        if !ended_sessions.is_empty() {
            self.metadata.forget_sessions(ended_sessions).await?;
            has_changed = true;
        }
        if has_changed { self.reload().await } else { Ok(()) }
    }

    /// The uses of sessions that the database doesn't have to the precision. Forgets the uses of ended sessions.
    fn unrecorded_session_uses(&self) -> Vec<(String, Timestamp)> {
        let directory = self.current();
        let sessions = &directory.records().sessions;
        let ids: HashSet<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
        let mut uses = self.session_uses.lock();
        uses.retain(|id, _| ids.contains(id.as_str()));
        let is_unrecorded =
            |session: &SessionRecord, at: Timestamp| at >= session.used_at.plus(USE_PRECISION);
        let unrecorded = sessions.iter().filter_map(|session| {
            let at = *uses.get(&session.id)?;
            is_unrecorded(session, at).then(|| (session.id.clone(), at))
        });
        unrecorded.collect()
    }
}
