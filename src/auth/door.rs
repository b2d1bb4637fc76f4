//! The door: who comes in, and as whom.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::guesses::Guesses;
use super::htpasswd::Users;
use super::public::Public;
use super::scope::{Action, Grant, Wanted};
use super::tokens::{Bearer, Token, Tokens, User};
use super::verified::Verified;
use super::watched::WatchedUsers;
use crate::clock::Clock;

/// How many passwords are hashed at once: each keeps a processor busy for a tenth of a second.
const AT_ONCE: usize = 2;

/// A bcrypt hash of nothing that anybody knows, for files without users.
const NOBODY: &str = "$2y$10$abcdefghijklmnopqrstuuH7Yh0o1rXw7q1hB8n9C2a1m4R6pJ8uK";

/// The longest password; bcrypt itself looks at 72 bytes.
const LONGEST: usize = 1024;

/// Who is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody: the door is open.
    Anybody,
    /// This user.
    User(Arc<str>),
    /// Somebody with a token.
    Bearer(Arc<Bearer>),
    /// Somebody who did not say who they are, where some of it is for everybody.
    Stranger,
}

impl Caller {
    /// The user's name; what `other` says of somebody who has none.
    pub fn name_or(&self, other: impl FnOnce() -> String) -> String {
        self.user().map_or_else(other, |name| name.to_string())
    }

    /// The user's name.
    pub fn user(&self) -> Option<&Arc<str>> {
        match self {
            Self::User(name) => Some(name),
            Self::Bearer(bearer) => bearer.user.as_ref().map(|user| &user.name),
            Self::Anybody | Self::Stranger => None,
        }
    }

    /// Whether a right is theirs, and not everybody's.
    pub(super) fn holds(&self, wanted: Wanted<'_>) -> bool {
        match self {
            Self::Anybody | Self::User(_) => true,
            Self::Bearer(_) if let Wanted::Mount(to, from) = wanted => {
                let (to, from) =
                    (Wanted::Repository(to, Action::Push), Wanted::Repository(from, Action::Pull));
                self.holds(to) && self.holds(from)
            }
            Self::Bearer(bearer) => bearer.grants.iter().any(|grant| grant.covers(wanted)),
            Self::Stranger => false,
        }
    }
}

/// Why somebody does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// They did not say who they are, or it is not true. Which of the two parts is wrong is never told.
    Unknown,
    /// Too many were wrong from there.
    Wait(Duration),
}

/// The door of a registry.
pub struct Door(Option<Lock>);

struct Lock {
    users: WatchedUsers,
    verified: Verified,
    guesses: Guesses,
    turns: Semaphore,
    clock: Arc<dyn Clock>,
    issuer: Option<Issuer>,
}

/// What it takes to let some of it be for everybody.
struct Issuer {
    tokens: Tokens,
    public: Public,
}

/// The most scopes that are looked at in a request for a token: what it carries has to fit into a header.
const MOST_SCOPES: usize = 32;

impl Door {
    /// A door that is open to everybody.
    pub fn open() -> Self {
        Self(None)
    }

    /// A door that is open to the users in the file `htpasswd`, which is read again whenever it changes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn locked(htpasswd: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        Ok(Self(Some(Lock {
            users: WatchedUsers::open(htpasswd, Arc::clone(&clock))?,
            verified: Verified::new(),
            guesses: Guesses::default(),
            turns: Semaphore::new(AT_ONCE),
            clock,
            issuer: None,
        })))
    }

    /// The same with `public` repositories, which everybody may pull. Docker shows no password to a registry that
    /// lets it in without one, so everybody gets a token first.
    #[must_use]
    pub fn with_public(self, public: Public, tokens: Tokens) -> Self {
        Self(self.0.map(|lock| Lock { issuer: Some(Issuer { tokens, public }), ..lock }))
    }

    /// Whether everybody comes in.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Whether whoever has no token is sent for one.
    pub fn has_tokens(&self) -> bool {
        self.0.as_ref().is_some_and(|lock| lock.issuer.is_some())
    }

    /// Lets somebody in who comes from an address with the value of an `Authorization` header (RFC 7617, RFC 6750).
    /// What they may do is for [`Self::decide`].
    ///
    /// # Errors
    /// [`Denial`].
    pub async fn admit(&self, credentials: Option<&[u8]>, from: IpAddr) -> Result<Caller, Denial> {
        match &self.0 {
            None => Ok(Caller::Anybody),
            Some(lock) => lock.admit(credentials, from).await,
        }
    }

    /// Decides whether somebody who was let in may do what they want: the one place where that is done.
    ///
    /// # Errors
    /// [`Denial::Unknown`].
    pub fn decide(&self, caller: &Caller, wanted: Wanted<'_>) -> Result<(), Denial> {
        let may = match caller {
            Caller::Anybody | Caller::User(_) => true,
            Caller::Stranger => self.is_for_everybody(wanted),
            Caller::Bearer(_) if wanted == Wanted::Registry => true,
            Caller::Bearer(bearer) => {
                caller.holds(wanted) && (bearer.user.is_some() || self.is_for_everybody(wanted))
            }
        };
        if may { Ok(()) } else { Err(Denial::Unknown) }
    }

    fn is_for_everybody(&self, wanted: Wanted<'_>) -> bool {
        let public = self.0.as_ref().and_then(|lock| lock.issuer.as_ref()).map(|issuer| &issuer.public);
        matches!((wanted, public), (Wanted::Repository(name, Action::Pull), Some(public)) if public.holds(name))
    }

    /// A token for as much of the `scopes` as somebody may do; `None` where there are no tokens.
    ///
    /// # Errors
    /// [`Denial::Unknown`] to somebody who shows a token, or who is a user no more.
    pub fn token<'a>(
        &self,
        caller: &Caller,
        scopes: impl Iterator<Item = &'a str>,
    ) -> Result<Option<Token>, Denial> {
        let Some((lock, issuer)) = self.0.as_ref().and_then(|lock| Some((lock, lock.issuer.as_ref()?)))
        else {
            return Ok(None);
        };
        let user = match caller {
            Caller::Anybody => return Ok(None),
            Caller::Stranger => None,
            Caller::User(name) => Some(lock.user(name).ok_or(Denial::Unknown)?),
            Caller::Bearer(_) => return Err(Denial::Unknown),
        };
        let asked = scopes.take(MOST_SCOPES).filter_map(Grant::asked);
        let grants = asked.filter_map(|grant| grant.within(|wanted| self.decide(caller, wanted).is_ok()));
        let bearer = Bearer { user, grants: grants.collect() };
        let token = issuer.tokens.issue(bearer, lock.clock.now());
        token.map(Some).map_err(|error| {
            tracing::error!(%error, "a token could not be issued");
            Denial::Unknown
        })
    }
}

impl Lock {
    async fn admit(&self, credentials: Option<&[u8]>, from: IpAddr) -> Result<Caller, Denial> {
        match (credentials.map(Shown::of), &self.issuer) {
            (None | Some(Shown::Nobody), Some(_)) => Ok(Caller::Stranger),
            (Some(Shown::Token(token)), Some(issuer)) => self.bearer(issuer, token),
            (Some(Shown::Password(name, password)), _) => self.user_with(name, password, from).await,
            (None | Some(Shown::Nobody | Shown::Token(_) | Shown::Nonsense), _) => Err(Denial::Unknown),
        }
    }

    /// Somebody with a token, whose user has the password still that it was asked for with.
    fn bearer(&self, issuer: &Issuer, token: &[u8]) -> Result<Caller, Denial> {
        let bearer = issuer.tokens.verify(token, self.clock.now()).ok_or(Denial::Unknown)?;
        match &bearer.user {
            Some(user) if self.user(&user.name).as_ref() != Some(user) => Err(Denial::Unknown),
            _ => Ok(Caller::Bearer(bearer)),
        }
    }

    /// A user as a token names one.
    fn user(&self, name: &Arc<str>) -> Option<User> {
        let (users, _) = self.users.current();
        let mut print = hex::encode(Sha256::digest(users.hash(name)?));
        print.truncate(32);
        Some(User { name: Arc::clone(name), print })
    }

    async fn user_with(&self, name: String, password: Vec<u8>, from: IpAddr) -> Result<Caller, Denial> {
        let (users, reading) = self.users.current();
        let print = self.verified.print(&name, &password, reading);
        if !self.verified.is_fresh(print, self.clock.elapsed()) {
            self.guesses.allow(from, self.clock.elapsed()).map_err(Denial::Wait)?;
            let Ok(_turn) = self.turns.acquire().await else { return Err(Denial::Unknown) };
            // Those who waited for their turn with others may have guessed wrong often enough meanwhile.
            self.guesses.allow(from, self.clock.elapsed()).map_err(Denial::Wait)?;
            if !is_right(users, name.clone(), password).await {
                self.guesses.wrong(from, self.clock.elapsed());
                tracing::warn!(remote = %from, user = %name.escape_debug(), "a wrong user or password");
                return Err(Denial::Unknown);
            }
            self.verified.note(print, self.clock.elapsed());
        }
        Ok(Caller::User(name.into()))
    }
}

/// Whether a password is a user's. It takes as long for those who are none.
async fn is_right(users: Arc<Users>, name: String, password: Vec<u8>) -> bool {
    let compared = tokio::task::spawn_blocking(move || {
        let known = users.hash(&name);
        let hash = known.or_else(|| users.any_hash()).unwrap_or(NOBODY);
        let fits = bcrypt::verify(&password, hash).unwrap_or(false);
        fits && known.is_some()
    });
    compared.await.unwrap_or(false)
}

/// What an `Authorization` header shows.
enum Shown<'a> {
    Password(String, Vec<u8>),
    Token(&'a [u8]),
    /// An empty name with an empty password, as clients without any write it.
    Nobody,
    Nonsense,
}

impl<'a> Shown<'a> {
    fn of(header: &'a [u8]) -> Self {
        match header.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => {
                Self::Token(token.trim_ascii())
            }
            _ if header.eq_ignore_ascii_case(b"Basic Og==") => Self::Nobody,
            _ => basic(header).map_or(Self::Nonsense, |(name, password)| Self::Password(name, password)),
        }
    }
}

/// The user and password of a Basic `Authorization` header.
fn basic(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    let password = decoded[colon + 1..].to_vec();
    (!name.is_empty() && password.len() <= LONGEST).then_some((name, password))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn header(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    struct House {
        dir: tempfile::TempDir,
        clock: Arc<ManualClock>,
        door: Door,
    }

    impl House {
        fn of(users: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let clock = Arc::new(ManualClock::at(Timestamp(0)));
            write(dir.path(), users);
            let door = Door::locked(&dir.path().join("users"), clock.clone()).expect("read");
            Self { dir, clock, door }
        }

        async fn admit(&self, text: &str) -> Result<Caller, Denial> {
            self.door.admit(Some(&header(text)), HOME).await
        }
    }

    fn write(dir: &Path, users: &[(&str, &str)]) {
        let line = |(name, password): &(&str, &str)| {
            format!("{name}:{}\n", bcrypt::hash(password, 4).expect("hashed"))
        };
        fs::write(dir.join("users"), users.iter().map(line).collect::<String>()).expect("written");
    }

    fn user(name: &str) -> Result<Caller, Denial> {
        Ok(Caller::User(name.into()))
    }

    #[tokio::test]
    async fn an_open_door_asks_nobody() {
        assert_eq!(Door::open().admit(None, HOME).await, Ok(Caller::Anybody));
        assert_eq!(Door::open().admit(Some(b"Basic nonsense"), HOME).await, Ok(Caller::Anybody));
    }

    #[tokio::test]
    async fn users_come_in_by_their_own_passwords() {
        let house = House::of(&[("ann", "secret"), ("bob", "with:colon")]);
        assert_eq!(house.admit("ann:secret").await, user("ann"));
        assert_eq!(house.admit("bob:with:colon").await, user("bob"));
        for wrong in ["ann:Secret", "ann:", "ann", ":secret", "eve:secret", "bob:secret", "ann :secret"] {
            assert_eq!(house.admit(wrong).await, Err(Denial::Unknown), "{wrong}");
        }
        for header in [
            &b"Bearer x"[..],
            b"Basic",
            b"Basic ",
            b"Basic ====",
            b"basic\tYTpi",
            b"\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(house.door.admit(Some(header), HOME).await, Err(Denial::Unknown), "{header:?}");
        }
        assert_eq!(house.door.admit(None, HOME).await, Err(Denial::Unknown));
    }

    #[tokio::test]
    async fn who_was_taken_out_of_the_file_is_out() {
        let house = House::of(&[("ann", "secret"), ("bob", "secret")]);
        assert_eq!(house.admit("ann:secret").await, user("ann"));
        write(house.dir.path(), &[("bob", "other")]);
        house.clock.advance(Duration::from_secs(1));
        assert_eq!(house.admit("ann:secret").await, Err(Denial::Unknown));
        assert_eq!(house.admit("bob:secret").await, Err(Denial::Unknown));
        assert_eq!(house.admit("bob:other").await, user("bob"));
    }

    #[tokio::test]
    async fn a_file_without_users_lets_nobody_in() {
        let house = House::of(&[]);
        assert_eq!(house.admit("ann:secret").await, Err(Denial::Unknown));
        assert!(matches!(bcrypt::verify("secret", NOBODY), Ok(false)), "it takes the time that a hash takes");
    }

    #[tokio::test]
    async fn who_guesses_waits_and_who_is_in_does_not() {
        let house = House::of(&[("ann", "secret")]);
        assert_eq!(house.admit("ann:secret").await, user("ann"));
        let mut denied = Vec::new();
        for guess in 0..12 {
            denied.push(house.admit(&format!("ann:{guess}")).await);
        }
        assert!(denied[..10].iter().all(|denied| *denied == Err(Denial::Unknown)));
        assert!(matches!(denied[11], Err(Denial::Wait(wait)) if !wait.is_zero()));
        assert_eq!(house.admit("ann:secret").await, user("ann"), "it was right a moment ago");
        let elsewhere = IpAddr::from([10, 0, 0, 1]);
        let guess = house.door.admit(Some(&header("ann:guess")), elsewhere).await;
        assert_eq!(guess, Err(Denial::Unknown));
    }
}
