//! Browser sessions: users stay signed in without sending their password again.
//!
//! A browser keeps a random secret in a cookie; only its hash is stored. A session ends when it is idle, at its end, on
//! request, when its user is disabled or removed, and when the credential changes that the user signed in with.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::access_control::AccessControl;
use super::administration::{self, AccountError};
use super::principal::{Principal, User};
use super::secret;
use crate::clock::Timestamp;
use crate::metadata::{AccountChange, MetadataError, SessionRecord};
use crate::printable::is_unprintable;

/// The maximum length of a browser's name, in characters; longer names are truncated.
const MAX_CLIENT_NAME_CHARS: usize = 200;

/// Why a session can't start.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The principal is not a user who signed in with a password or an identity provider.
    #[error("only a user who signs in with a password or an identity provider can have a session")]
    NoUser,
    /// No secret could be generated, or the session couldn't be recorded.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        Self::Account(error.into())
    }
}

/// A new session.
#[derive(Debug)]
pub struct NewSession {
    /// The secret that the browser keeps. It is not stored.
    pub secret: String,
    /// The record of the session.
    pub record: SessionRecord,
}

/// A session that has not ended.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id, which is not secret.
    pub id: String,
    /// Its user, as [`Principal::User`].
    pub principal: Principal,
    /// When it started.
    pub created_at: Timestamp,
}

impl AccessControl {
    /// Starts a session for a user who authenticated with a password ([`Self::log_in`]). `client` is the name of the
    /// browser.
    ///
    /// # Errors
    /// [`SessionError::NoUser`] for any other principal, such as an access token that came in place of the password.
    /// Also fails if the session can't be recorded.
    pub async fn start_session(
        &self,
        principal: &Principal,
        from: IpAddr,
        client: &str,
    ) -> Result<NewSession, SessionError> {
        match principal {
            Principal::User(user) if user.access_token_id.is_none() => {
                self.record_session(user, from, client).await
            }
            _ => Err(SessionError::NoUser),
        }
    }

    /// Starts a session for an account whose user signed in with an identity provider ([`Self::finish_sign_in`]).
    ///
    /// # Errors
    /// [`SessionError::NoUser`] if there is no such account or it is disabled. Also fails if the session can't be
    /// recorded.
    pub async fn start_session_for(
        &self,
        account: &str,
        from: IpAddr,
        client: &str,
    ) -> Result<NewSession, SessionError> {
        let user = self.current_user(account, None).ok_or(SessionError::NoUser)?;
        self.record_session(&user, from, client).await
    }

    async fn record_session(
        &self,
        user: &User,
        from: IpAddr,
        client: &str,
    ) -> Result<NewSession, SessionError> {
        let secret = secret::generate_nonce()?;
        let now = self.clock.now();
        let client = client.chars().filter(|letter| !is_unprintable(*letter)).take(MAX_CLIENT_NAME_CHARS);
        let record = SessionRecord {
            id: secret::generate_id()?,
            hash: secret::hash_token(secret.as_bytes()),
            account: user.name.to_string(),
            credential_fingerprint: user.credential_fingerprint.clone(),
            address: from,
            client: client.collect(),
            created_at: now,
            used_at: now,
        };
        self.change(AccountChange::AddSession(record.clone()), || "session".to_owned()).await?;
        Ok(NewSession { secret, record })
    }

    /// How long a session lasts at most.
    pub fn session_lifetime(&self) -> Duration {
        self.settings.sessions.lifetime
    }

    /// The session with this secret, unless it has ended. Counts as a use of the session.
    pub fn session(&self, secret: &str) -> Option<Session> {
        let session = self.peek_session(secret)?;
        self.accounts().record_session_use(&session.id, self.clock.now());
        Some(session)
    }

    /// Like [`Self::session`], but does not count as a use: for what a browser does by itself.
    pub fn peek_session(&self, secret: &str) -> Option<Session> {
        let directory = self.accounts().current();
        let record = directory.session(&secret::hash_token(secret.as_bytes()))?;
        let user = self.user_of_session(record, self.clock.now())?;
        Some(Session {
            id: record.id.clone(),
            principal: Principal::User(Arc::new(user)),
            created_at: record.created_at,
        })
    }

    /// The user of a session; `None` if the session has ended.
    fn user_of_session(&self, record: &SessionRecord, now: Timestamp) -> Option<User> {
        let settings = self.settings.sessions;
        let idle_end = self.accounts().last_use_of_session(record).plus(settings.idle_timeout);
        let end = record.created_at.plus(settings.lifetime);
        if now >= idle_end || now >= end {
            return None;
        }
        let user = self.current_user(&record.account, None)?;
        (user.credential_fingerprint == record.credential_fingerprint).then_some(user)
    }

    /// All sessions that have not ended, by account.
    pub fn sessions(&self) -> Vec<SessionRecord> {
        let directory = self.accounts().current();
        let now = self.clock.now();
        let records = directory.records().sessions.iter();
        let live = records.filter(|record| self.user_of_session(record, now).is_some());
        live.map(|record| SessionRecord {
            used_at: self.accounts().last_use_of_session(record),
            ..record.clone()
        })
        .collect()
    }

    /// The sessions of an account that have not ended.
    pub fn sessions_of(&self, account: &str) -> Vec<SessionRecord> {
        let mut sessions = self.sessions();
        sessions.retain(|session| session.account == account);
        sessions
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Fails if there is no such session or the database can't be written.
    pub async fn end_session(&self, id: &str) -> administration::Result<()> {
        self.change(AccountChange::EndSession(id.to_owned()), || format!("session {id}")).await
    }

    /// Ends all sessions of an account, except the one with this id.
    ///
    /// # Errors
    /// Fails if the database can't be written.
    pub async fn end_sessions_of(&self, account: &str, except: Option<&str>) -> administration::Result<()> {
        let change = AccountChange::EndSessions(account.to_owned(), except.map(str::to_owned));
        self.change(change, || format!("user {account}")).await
    }

    /// Records when tokens and sessions were used, and removes those that have ended.
    ///
    /// # Errors
    /// Fails if the database can't be written.
    pub async fn flush_uses(&self) -> Result<(), MetadataError> {
        let now = self.clock.now();
        let directory = self.accounts().current();
        let records = directory.records().sessions.iter();
        let ended = records.filter(|record| self.user_of_session(record, now).is_none());
        let ended = ended.map(|record| record.id.clone()).collect();
        self.accounts().flush_uses(ended, now).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::auth::{
        AccessSettings, Accounts, ChangeAuthor, NewAccessToken, NewAccount, SessionSettings, TokenKey, Tokens,
    };
    use crate::clock::{Clock, ManualClock};
    use crate::metadata::{
        Access, AccountKind, AccountRecord, MAX_SESSIONS_PER_ACCOUNT, Metadata, Role, Scope,
    };

    const PASSWORD: &str = "correct horse";
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const ALMOST_AN_HOUR: Duration = Duration::from_secs(60 * 60 - 1);
    const SETTINGS: SessionSettings =
        SessionSettings { idle_timeout: HOUR, lifetime: Duration::from_secs(8 * 60 * 60) };

    fn here() -> IpAddr {
        IpAddr::from([192, 0, 2, 1])
    }

    struct Fixture {
        folder: TempDir,
        clock: Arc<ManualClock>,
        control: AccessControl,
    }

    impl Fixture {
        /// A registry with the users `ann`, who has a password, and `bob`, who signs in with a provider.
        async fn new() -> Self {
            let folder = TempDir::new().expect("a folder");
            let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
            let control = Self::open(&folder, &clock).await;
            let new = NewAccount {
                name: "ann".into(),
                robot: false,
                password: Some(PASSWORD.into()),
                grants: Vec::new(),
            };
            control.add_account(new, ChangeAuthor { name: "admin", now: clock.now() }).await.expect("added");
            let bob = AccountRecord {
                name: "bob".into(),
                kind: AccountKind::Person,
                password: None,
                identity: Some("https://id.example.com 7".into()),
                disabled: false,
                created_at: clock.now(),
                by: None,
            };
            control.add_user(bob, Vec::new()).await.expect("added");
            Self { folder, clock, control }
        }

        async fn open(folder: &TempDir, clock: &Arc<ManualClock>) -> AccessControl {
            let metadata = Metadata::open(folder.path(), Access::ReadWrite).expect("opened");
            let accounts = Arc::new(Accounts::load(Arc::new(metadata)).await.expect("loaded"));
            let tokens = Tokens::new(&TokenKey::random().expect("a key"), HOUR);
            let settings = AccessSettings { sessions: SETTINGS, ..AccessSettings::default() };
            AccessControl::new(settings, accounts, tokens, Arc::clone(clock) as _).expect("an access control")
        }

        async fn restart(self) -> Self {
            let Self { folder, clock, control } = self;
            drop(control);
            let control = Self::open(&folder, &clock).await;
            Self { folder, clock, control }
        }

        async fn sign_in(&self) -> NewSession {
            let ann = self.control.log_in("ann", PASSWORD.as_bytes(), here()).await.expect("logged in");
            self.control.start_session(&ann, here(), "a browser").await.expect("started")
        }

        fn user(&self, session: &NewSession) -> Option<String> {
            let session = self.control.session(&session.secret)?;
            assert!(matches!(session.principal, Principal::User(_)));
            assert!(self.control.is_still_valid(&session.principal));
            session.principal.name().map(str::to_owned)
        }

        /// Number of sessions in the database.
        fn stored(&self) -> usize {
            self.control.accounts().current().records().sessions.len()
        }
    }

    #[tokio::test]
    async fn session_ends_when_idle() {
        let f = Fixture::new().await;
        let session = f.sign_in().await;
        assert_eq!((session.record.id.len(), session.record.client.as_str()), (12, "a browser"));
        for _ in 0..3 {
            f.clock.advance(ALMOST_AN_HOUR);
            assert_eq!(f.user(&session).as_deref(), Some("ann"));
        }
        let used = f.clock.now();
        assert_eq!(f.control.sessions_of("ann")[0].used_at, used);
        f.control.flush_uses().await.expect("flushed");
        let f = f.restart().await;
        assert_eq!(f.control.accounts().current().records().sessions[0].used_at, used, "the use is recorded");
        f.clock.advance(ALMOST_AN_HOUR);
        assert!(f.control.peek_session(&session.secret).is_some());
        f.clock.advance(Duration::from_secs(1));
        assert_eq!(f.user(&session), None, "a peek is no use");
        assert!(f.control.sessions().is_empty());
        f.control.flush_uses().await.expect("flushed");
        assert_eq!(f.stored(), 0);
    }

    #[tokio::test]
    async fn session_ends_at_its_lifetime() {
        let f = Fixture::new().await;
        let session = f.sign_in().await;
        for _ in 0..15 {
            f.clock.advance(HOUR / 2);
            assert_eq!(f.user(&session).as_deref(), Some("ann"));
        }
        f.clock.advance(HOUR / 2);
        assert_eq!(f.user(&session), None);
    }

    #[tokio::test]
    async fn session_ends_with_the_password_and_the_account() {
        let f = Fixture::new().await;
        let session = f.sign_in().await;
        let principal = f.control.session(&session.secret).expect("live").principal;
        f.control.set_password("ann", Some("another password".into())).await.expect("set");
        assert!(!f.control.is_still_valid(&principal));
        assert_eq!((f.user(&session), f.stored()), (None, 0));
        // A sign-in that overlaps with the change of the password.
        let outdated = f.control.start_session(&principal, here(), "").await.expect("recorded");
        assert_eq!(f.user(&outdated), None);
        f.control.flush_uses().await.expect("flushed");
        assert_eq!(f.stored(), 0);
        let session = f.control.start_session_for("ann", here(), "").await.expect("started");
        assert_eq!(f.user(&session).as_deref(), Some("ann"));
        f.control.set_disabled("ann", true).await.expect("set");
        assert_eq!((f.user(&session), f.stored()), (None, 0));
        assert!(f.control.start_session_for("ann", here(), "").await.is_err());
        f.control.set_disabled("ann", false).await.expect("set");
        assert_eq!(f.user(&session), None, "it does not come back");
        let session = f.control.start_session_for("ann", here(), "").await.expect("started");
        f.control.remove_account("ann").await.expect("removed");
        assert_eq!((f.user(&session), f.stored()), (None, 0));
    }

    #[tokio::test]
    async fn session_without_a_password_belongs_to_the_identity() {
        let f = Fixture::new().await;
        let session = f.control.start_session_for("bob", here(), "").await.expect("started");
        assert_eq!(f.user(&session).as_deref(), Some("bob"));
        f.control.set_password("bob", Some(PASSWORD.into())).await.expect("set");
        assert_eq!(f.user(&session), None, "the credential changed");
        let session = f.control.start_session_for("bob", here(), "").await.expect("started");
        assert_eq!(f.user(&session).as_deref(), Some("bob"));
        f.control.set_disabled("bob", true).await.expect("set");
        assert_eq!(f.user(&session), None);
        assert!(f.control.start_session_for("none", here(), "").await.is_err());
    }

    #[tokio::test]
    async fn sign_out_ends_one_session_or_all_others() {
        let f = Fixture::new().await;
        let here_too = f.sign_in().await;
        let there = f.sign_in().await;
        let elsewhere = f.sign_in().await;
        let of_bob = f.control.start_session_for("bob", here(), "").await.expect("started");
        assert_eq!(f.control.sessions_of("ann").len(), 3);
        assert_eq!(f.control.sessions().len(), 4);
        f.control.end_session(&there.record.id).await.expect("ended");
        assert!(matches!(f.control.end_session(&there.record.id).await, Err(AccountError::Unknown(_))));
        assert_eq!(f.user(&there), None);
        f.control.end_sessions_of("ann", Some(&elsewhere.record.id)).await.expect("ended");
        assert_eq!(f.user(&here_too), None);
        assert_eq!(f.user(&elsewhere).as_deref(), Some("ann"));
        f.control.end_sessions_of("ann", None).await.expect("ended");
        assert!(f.control.sessions_of("ann").is_empty());
        assert_eq!(f.user(&of_bob).as_deref(), Some("bob"));
    }

    #[tokio::test]
    async fn sessions_of_a_user_are_limited() {
        let f = Fixture::new().await;
        let start = async || f.control.start_session_for("ann", here(), "").await.expect("started");
        let first = start().await;
        for _ in 0..MAX_SESSIONS_PER_ACCOUNT {
            f.clock.advance(Duration::from_secs(1));
            start().await;
        }
        assert_eq!(f.user(&first), None);
        assert_eq!(i64::try_from(f.stored()), Ok(MAX_SESSIONS_PER_ACCOUNT));
    }

    #[tokio::test]
    async fn only_users_have_sessions() {
        let f = Fixture::new().await;
        let new = NewAccessToken {
            account: "ann".into(),
            name: "ci".into(),
            role: Role::Admin,
            scope: Scope::All,
            lifetime: None,
        };
        let by = ChangeAuthor { name: "ann", now: f.clock.now() };
        let (_, token) = f.control.add_token(new, by).await.expect("added");
        let with_token = f.control.log_in("ann", token.as_bytes(), here()).await.expect("logged in");
        for principal in [with_token, Principal::Anonymous, Principal::LocalAdmin] {
            let started = f.control.start_session(&principal, here(), "").await;
            assert!(matches!(started, Err(SessionError::NoUser)), "{principal:?}");
        }
        let ann = f.control.log_in("ann", PASSWORD.as_bytes(), here()).await.expect("logged in");
        let refresh = f.control.create_refresh_token(&ann, "docker", f.clock.now()).await.expect("created");
        let refresh = refresh.expect("a token");
        assert!(f.control.log_in("ann", refresh.as_bytes(), here()).await.is_err());
    }

    #[tokio::test]
    async fn only_the_hash_of_the_secret_is_stored() {
        let f = Fixture::new().await;
        let session =
            f.control.start_session_for("ann", here(), &"x\u{202e}".repeat(300)).await.expect("started");
        assert_eq!(session.record.client, "x".repeat(MAX_CLIENT_NAME_CHARS));
        assert_eq!(session.secret.len(), 64);
        for wrong in ["", "x", &session.record.id, &hex::encode(session.record.hash)] {
            assert!(f.control.session(wrong).is_none(), "{wrong}");
        }
        let f = f.restart().await;
        assert_eq!(f.user(&session).as_deref(), Some("ann"), "sessions outlast a restart");
        let Fixture { folder, control, .. } = f;
        drop(control);
        for file in std::fs::read_dir(folder.path()).expect("listed") {
            let bytes = std::fs::read(file.expect("a file").path()).expect("read");
            let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(!has(session.secret.as_bytes()));
            assert!(!has(&hex::decode(&session.secret).expect("hexadecimal")));
        }
    }
}
