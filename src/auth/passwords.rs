//! Whether a password is somebody's: bounded in what that costs, and the same to see from outside whoever it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::fresh::Fresh;
use super::login_throttle::{LoginThrottle, network};
use super::low_priority_pool::LowPriorityPool;
use super::principal::AuthError;
use super::verified::Verified;
use crate::clock::Clock;
use crate::memory::{Holder, MemoryBudget, OutOfMemory, Purpose, Reservation};
use crate::printable::escape;
use crate::traces;

/// For how long it is known that somebody knew a password.
const KNOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// A hash of nothing that anybody knows, by the same function: it takes the time that a hash takes.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm8$RmN5dHl0eXl0eXR5dHl0eXR5dHl0eXR5dHl0eXR5dHk";

/// The same for files.
const NOBODY_IN_FILE: &str = "$2y$10$abcdefghijklmnopqrstuuH7Yh0o1rXw7q1hB8n9C2a1m4R6pJ8uK";

/// What one hash by [`argon2`] holds while it is computed.
const HASH_MEMORY: usize = Params::DEFAULT_M_COST as usize * 1024;

/// Argon2id with the least parameters that OWASP's cheat sheet recommends: boxes have 1 GB.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

/// Hashes a new password. Blocks for some tens of milliseconds.
fn hash(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::generate(&mut OsRng);
    Ok(argon2().hash_password(password, &salt)?.to_string())
}

/// What a password is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The hash of the user's password, if there is such a user.
    pub(super) of_user: Option<Kept>,
    /// Any user's of the file, if there is one: it is compared with too, for the time that takes.
    pub(super) of_file: Option<String>,
}

/// A hash of a user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    OfAccount(String),
    OfFile(String),
}

impl Kept {
    pub(super) fn hash(&self) -> &str {
        match self {
            Self::OfAccount(hash) | Self::OfFile(hash) => hash,
        }
    }
}

impl Stored {
    /// Blocks.
    fn fits(&self, password: &[u8]) -> bool {
        let (account, file) = match &self.of_user {
            Some(Kept::OfAccount(hash)) => (Some(hash), None),
            Some(Kept::OfFile(hash)) => (None, Some(hash)),
            None => (None, None),
        };
        let by_account = fits(password, account.map_or(NOBODY, String::as_str));
        let by_file = match (file, &self.of_file) {
            (None, None) => false,
            (file, any) => {
                let hash = file.or(any.as_ref()).map_or(NOBODY_IN_FILE, String::as_str);
                bcrypt::verify(password, hash).unwrap_or(false)
            }
        };
        (by_account && account.is_some()) || (by_file && file.is_some())
    }
}

/// Whether a password is the one of a hash of [`hash`]'s. Blocks for as long.
pub(super) fn fits(password: &[u8], hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| argon2().verify_password(password, &hash).is_ok())
}

/// Compares passwords.
pub(super) struct Passwords {
    verified: Verified,
    guesses: LoginThrottle,
    /// Who knew a password lately, by name and address.
    known: Fresh<(String, IpAddr), (), Duration>,
    /// One password is hashed at once of those who knew theirs lately, one of those from where a guess was wrong, and one
    /// of all others: each keeps a processor busy for some tens of milliseconds, and takes 19 MiB.
    turn_of_known: Semaphore,
    turn_of_guessers: Semaphore,
    turn_of_others: Semaphore,
    /// An address waits for its own, before it does for others'.
    own: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
    aside: LowPriorityPool,
    memory: MemoryBudget,
    clock: Arc<dyn Clock>,
}

impl Passwords {
    /// LoginThrottle are compared `aside`, so that nobody else is slower for them.
    pub(super) fn new(aside: LowPriorityPool, clock: Arc<dyn Clock>) -> Self {
        Self {
            verified: Verified::new(),
            guesses: LoginThrottle::default(),
            known: Fresh::default(),
            turn_of_known: Semaphore::new(1),
            turn_of_guessers: Semaphore::new(1),
            turn_of_others: Semaphore::new(1),
            own: Mutex::default(),
            aside,
            memory: MemoryBudget::default(),
            clock,
        }
    }

    /// The same within a budget of memory.
    pub(super) fn within(self, memory: MemoryBudget) -> Self {
        Self { memory, ..self }
    }

    /// Whether a password is the user's.
    pub(super) async fn check(
        &self,
        name: &str,
        password: Vec<u8>,
        stored: Stored,
        from: IpAddr,
    ) -> Result<(), AuthError> {
        let against = stored.of_user.as_ref().map_or("", Kept::hash);
        let print = self.verified.print(name, &password, against);
        if self.verified.is_fresh(print, self.clock.elapsed()) {
            return Ok(());
        }
        let who = (name.to_owned(), network(from));
        let known = self.known.get(&who, &self.clock.elapsed()).is_some();
        // Others' guesses must not keep somebody out who knew the password.
        let guessed = (!known).then_some(name);
        self.may_guess(guessed, from)?;
        let own = OwnTurn::of(self, network(from));
        let Ok(_own) = own.turn.acquire().await else { return Err(AuthError::Unauthenticated) };
        let Ok(_turn) = self.turn(known, from).acquire().await else {
            return Err(AuthError::Unauthenticated);
        };
        // Those who waited with others may have shown the same, or guessed wrong often enough, meanwhile.
        if self.verified.is_fresh(print, self.clock.elapsed()) {
            return Ok(());
        }
        self.may_guess(guessed, from)?;
        // LoginThrottle of anonymous clients keep to their share.
        let holder = if known { Holder::Authenticated } else { Holder::Anonymous };
        let memory = self.reserve(holder).await.map_err(|_| AuthError::OutOfMemory)?;
        let fits = self.aside.run(move || stored.fits(&password));
        let fits = traces::step("password check").run(fits).await;
        drop(memory);
        if !fits.unwrap_or(false) {
            self.note_wrong(Some(name), from);
            return Err(AuthError::Unauthenticated);
        }
        let now = self.clock.elapsed();
        self.verified.note(print, now);
        self.known.put(who, (), now + KNOWN, &now);
        Ok(())
    }

    async fn reserve(&self, holder: Holder) -> Result<Reservation, OutOfMemory> {
        self.memory.reserve(holder, Purpose::Passwords, HASH_MEMORY).await
    }

    fn turn(&self, known: bool, from: IpAddr) -> &Semaphore {
        match known {
            true => &self.turn_of_known,
            false if self.guesses.has_guessed(from, self.clock.elapsed()) => &self.turn_of_guessers,
            false => &self.turn_of_others,
        }
    }

    /// Hashes a new password in turn with others, for what that takes of processor and memory.
    pub(super) async fn hash(&self, password: String) -> Result<String, String> {
        let _turn = self.turn_of_others.acquire().await.map_err(|error| error.to_string())?;
        let _memory = self.reserve(Holder::Authenticated).await.map_err(|error| error.to_string())?;
        let hashed = tokio::task::spawn_blocking(move || hash(password.as_bytes()));
        let hashed = traces::step("password hash").run(hashed).await;
        hashed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Whether somebody may guess now, at the password of a user if one is named.
    pub(super) fn may_guess(&self, name: Option<&str>, from: IpAddr) -> Result<(), AuthError> {
        self.guesses.allow(from, name, self.clock.elapsed()).map_err(AuthError::RateLimited)
    }

    /// Notes a wrong guess.
    pub(super) fn note_wrong(&self, name: Option<&str>, from: IpAddr) {
        self.guesses.wrong(from, name, self.clock.elapsed());
        tracing::warn!(remote = %from, user = %escape(name.unwrap_or_default()), "a wrong user or password");
    }
}

/// The turn of an address, which is forgotten when nobody waits for it any more.
struct OwnTurn<'a> {
    passwords: &'a Passwords,
    from: IpAddr,
    turn: Arc<Semaphore>,
}

impl<'a> OwnTurn<'a> {
    fn of(passwords: &'a Passwords, from: IpAddr) -> Self {
        let mut own = passwords.own.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = Arc::clone(own.entry(from).or_insert_with(|| Arc::new(Semaphore::new(1))));
        Self { passwords, from, turn }
    }
}

impl Drop for OwnTurn<'_> {
    fn drop(&mut self) {
        let mut own = self.passwords.own.lock().unwrap_or_else(PoisonError::into_inner);
        // Its own, and that in the map.
        if Arc::strong_count(&self.turn) == 2 {
            own.remove(&self.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_and_no_other() {
        let hash = hash(b"secret").expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let ann = Stored { of_user: Some(Kept::OfAccount(hash)), of_file: None };
        assert!(ann.fits(b"secret") && !ann.fits(b"Secret") && !ann.fits(b""));
        let in_file = bcrypt::hash("secret", 4).expect("hashed");
        let bob = Stored { of_user: Some(Kept::OfFile(in_file.clone())), of_file: Some(in_file.clone()) };
        assert!(bob.fits(b"secret") && !bob.fits(b"Secret"));
        let nobody = Stored { of_user: None, of_file: Some(in_file) };
        assert!(!nobody.fits(b"secret"), "another user's password opens nothing");
    }

    #[test]
    fn who_there_is_not_takes_the_time_that_a_hash_takes() {
        let parsed = PasswordHash::new(NOBODY).expect("a hash");
        let params = Params::try_from(&parsed).expect("parameters");
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        assert_eq!(cost(&params), cost(&Params::default()));
        assert!(matches!(bcrypt::verify("secret", NOBODY_IN_FILE), Ok(false)));
    }
}
