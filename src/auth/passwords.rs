//! Checks passwords. The cost in processor time and memory is bounded, and the time taken doesn't reveal whether a user
//! exists.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::expiring_cache::ExpiringCache;
use super::login_throttle::LoginThrottle;
use super::principal::AuthError;
use crate::clock::Clock;
use crate::errors::BoxError;
use crate::fair::client_network;
use crate::memory::{Holder, MemoryBudget, OutOfMemory, Purpose, Reservation};
use crate::printable::escape;
use crate::scheduling::{LowPriorityPool, run_blocking_with};
use crate::traces;

/// How long a user stays known at an address after a successful login from there.
const KNOWN_CLIENT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a successful check is cached.
const VERIFIED_TTL: Duration = Duration::from_secs(5 * 60);

/// A hash that no known password matches. It is compared for unknown users, so that their check takes as long.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm8$RmN5dHl0eXl0eXR5dHl0eXR5dHl0eXR5dHl0eXR5dHk";

/// The same for users of the htpasswd file.
const DUMMY_FILE_HASH: &str = "$2y$10$abcdefghijklmnopqrstuuH7Yh0o1rXw7q1hB8n9C2a1m4R6pJ8uK";

/// The memory that one hash by [`argon2`] takes.
const HASH_MEMORY: usize = Params::DEFAULT_M_COST as usize * 1024;

/// Argon2id with the smallest parameters that OWASP's cheat sheet recommends, because the registry runs on machines
/// with 1 GB of memory.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

/// Hashes a new password. Blocks for tens of milliseconds.
fn hash(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::generate(&mut OsRng);
    Ok(argon2().hash_password(password, &salt)?.to_string())
}

/// The hashes that a password is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PasswordHashes {
    /// The hash of the user's password, if the user exists.
    pub(super) of_user: Option<StoredHash>,
    /// The hash of any user of the htpasswd file, if there is a file. If the user is not in the file, it is compared
    /// too, so that the check takes the same time.
    pub(super) any_htpasswd_hash: Option<String>,
}

/// The stored hash of a user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoredHash {
    /// Argon2id, in an account.
    Account(String),
    /// bcrypt, in the htpasswd file.
    File(String),
}

impl StoredHash {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Account(hash) | Self::File(hash) => hash,
        }
    }
}

impl PasswordHashes {
    /// Whether the password is the user's. Blocks.
    fn matches(&self, password: &[u8]) -> bool {
        let (account, file) = match &self.of_user {
            Some(StoredHash::Account(hash)) => (Some(hash), None),
            Some(StoredHash::File(hash)) => (None, Some(hash)),
            None => (None, None),
        };
        let matches_account = matches_hash(password, account.map_or(DUMMY_HASH, String::as_str));
        let matches_file = match (file, &self.any_htpasswd_hash) {
            (None, None) => false,
            (file, any) => {
                let hash = file.or(any.as_ref()).map_or(DUMMY_FILE_HASH, String::as_str);
                bcrypt::verify(password, hash).unwrap_or(false)
            }
        };
        (matches_account && account.is_some()) || (matches_file && file.is_some())
    }
}

/// Whether a password matches a hash made by [`hash`]. Blocks for as long as hashing does.
pub(super) fn matches_hash(password: &[u8], hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| argon2().verify_password(password, &hash).is_ok())
}

/// Checks and hashes passwords.
pub(super) struct Passwords {
    verified: VerifiedPasswords,
    throttle: LoginThrottle,
    /// Users who logged in recently, by name and network.
    known_clients: ExpiringCache<(String, IpAddr), (), Duration>,
    /// At most one password is hashed at a time for known clients, one for addresses with recent failures, and one for
    /// all others: each hash keeps a processor busy for tens of milliseconds and takes 19 MiB.
    known_turn: Arc<Semaphore>,
    failing_turn: Arc<Semaphore>,
    other_turn: Arc<Semaphore>,
    /// Requests of one network wait for each other before they compete with those of others.
    network_turns: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
    pool: LowPriorityPool,
    memory: MemoryBudget,
    clock: Arc<dyn Clock>,
}

impl Passwords {
    /// Compares passwords in `pool`, so that this doesn't slow down other requests.
    pub(super) fn new(pool: LowPriorityPool, clock: Arc<dyn Clock>) -> Self {
        Self {
            verified: VerifiedPasswords::new(),
            throttle: LoginThrottle::default(),
            known_clients: ExpiringCache::default(),
            known_turn: Arc::new(Semaphore::new(1)),
            failing_turn: Arc::new(Semaphore::new(1)),
            other_turn: Arc::new(Semaphore::new(1)),
            network_turns: Mutex::default(),
            pool,
            memory: MemoryBudget::default(),
            clock,
        }
    }

    /// Hashes within this memory budget.
    pub(super) fn with_memory_budget(self, memory: MemoryBudget) -> Self {
        Self { memory, ..self }
    }

    /// Checks whether a password is the user's.
    pub(super) async fn check(
        &self,
        name: &str,
        password: Vec<u8>,
        hashes: PasswordHashes,
        from: IpAddr,
    ) -> Result<(), AuthError> {
        let expected = hashes.of_user.as_ref().map_or("", StoredHash::as_str);
        let fingerprint = self.verified.fingerprint(name, &password, expected);
        if self.verified.is_verified(fingerprint, self.clock.elapsed()) {
            return Ok(());
        }
        let client = (name.to_owned(), client_network(from));
        let is_known = self.known_clients.get(&client, &self.clock.elapsed()).is_some();
        // Guesses from elsewhere must not lock out a client that knew the password.
        let throttled_name = (!is_known).then_some(name);
        self.check_throttle(throttled_name, from)?;
        let network_turn = NetworkTurn::new(self, client_network(from));
        let Ok(_network_turn) = network_turn.turn.acquire().await else {
            return Err(AuthError::Unauthenticated);
        };
        let Ok(turn) = Arc::clone(self.turn(is_known, from)).acquire_owned().await else {
            return Err(AuthError::Unauthenticated);
        };
        // While this request waited, another may have verified the same password, or used up the allowance.
        if self.verified.is_verified(fingerprint, self.clock.elapsed()) {
            return Ok(());
        }
        self.check_throttle(throttled_name, from)?;
        // Logins of unknown clients are limited to the memory for anonymous requests.
        let holder = if is_known { Holder::Authenticated } else { Holder::Anonymous };
        let memory = self.reserve(holder).await.map_err(|_| AuthError::OutOfMemory)?;
        let matches = self.compare(password, hashes, (turn, memory));
        if !traces::start_step("password check").run(matches).await {
            self.record_failure(Some(name), from);
            return Err(AuthError::Unauthenticated);
        }
        let now = self.clock.elapsed();
        self.verified.record(fingerprint, now);
        self.known_clients.put(client, (), now + KNOWN_CLIENT_TTL, &now);
        Ok(())
    }

    /// Compares a password. A comparison that has begun goes on when its client disconnects, so it keeps the turn and the
    /// memory in a task of its own: clients that disconnect at once can't start more than the turns allow.
    async fn compare(
        &self,
        password: Vec<u8>,
        hashes: PasswordHashes,
        held: (OwnedSemaphorePermit, Reservation),
    ) -> bool {
        let pool = self.pool.clone();
        let comparison = tokio::spawn(async move {
            let matches = pool.run(move || hashes.matches(&password)).await;
            drop(held);
            matches
        });
        comparison.await.ok().flatten().unwrap_or(false)
    }

    async fn reserve(&self, holder: Holder) -> Result<Reservation, OutOfMemory> {
        self.memory.reserve(holder, Purpose::Passwords, HASH_MEMORY).await
    }

    fn turn(&self, is_known: bool, from: IpAddr) -> &Arc<Semaphore> {
        match is_known {
            true => &self.known_turn,
            false if self.throttle.has_recent_failure(from, self.clock.elapsed()) => &self.failing_turn,
            false => &self.other_turn,
        }
    }

    /// Hashes a new password. Takes turns with the checks of unknown clients, to bound processor time and memory.
    pub(super) async fn hash(&self, password: String) -> Result<String, BoxError> {
        let turn = Arc::clone(&self.other_turn).acquire_owned().await?;
        let memory = self.reserve(Holder::Authenticated).await?;
        let hashed = run_blocking_with((turn, memory), move || hash(password.as_bytes()));
        let (hashed, _) = traces::start_step("password hash").run(hashed).await?;
        Ok(hashed?)
    }

    /// Checks whether a login from this address, as this user if given, may be tried now.
    pub(super) fn check_throttle(&self, name: Option<&str>, from: IpAddr) -> Result<(), AuthError> {
        self.throttle.check(from, name, self.clock.elapsed()).map_err(AuthError::RateLimited)
    }

    /// Counts and logs a failed login.
    pub(super) fn record_failure(&self, name: Option<&str>, from: IpAddr) {
        self.throttle.record_failure(from, name, self.clock.elapsed());
        tracing::warn!(remote = %from, user = %escape(name.unwrap_or_default()), "login failed");
    }
}

/// The semaphore of a network, which is removed from the map when no request waits for it.
struct NetworkTurn<'a> {
    passwords: &'a Passwords,
    from: IpAddr,
    turn: Arc<Semaphore>,
}

impl<'a> NetworkTurn<'a> {
    fn new(passwords: &'a Passwords, from: IpAddr) -> Self {
        let mut turns = passwords.network_turns.lock();
        let turn = Arc::clone(turns.entry(from).or_insert_with(|| Arc::new(Semaphore::new(1))));
        Self { passwords, from, turn }
    }
}

impl Drop for NetworkTurn<'_> {
    fn drop(&mut self) {
        let mut turns = self.passwords.network_turns.lock();
        // The two references left are this one and the one in the map.
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(&self.from);
        }
    }
}

/// Identifies a user name with a password and the hash that it was compared with. Reveals none of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct LoginFingerprint([u8; 32]);

/// The fingerprints of recent successful checks. Hashing the password again for each request would cost a hundred times
/// as much as the request itself.
struct VerifiedPasswords {
    /// Makes the fingerprints of this process useless elsewhere.
    salt: Uuid,
    recent: ExpiringCache<LoginFingerprint, Duration, Duration>,
}

impl VerifiedPasswords {
    fn new() -> Self {
        Self { salt: Uuid::new_v4(), recent: ExpiringCache::default() }
    }

    /// The fingerprint of a login. It changes when the expected hash does, that is when the password is changed.
    fn fingerprint(&self, name: &str, password: &[u8], expected_hash: &str) -> LoginFingerprint {
        let mut hash = Sha256::new();
        hash.update(self.salt.as_bytes());
        for part in [expected_hash, name] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(password);
        LoginFingerprint(hash.finalize().into())
    }

    /// Whether this login was verified recently. Renews the entry, so that the password in regular use is not hashed
    /// again. This is safe, because another password means another fingerprint.
    fn is_verified(&self, fingerprint: LoginFingerprint, now: Duration) -> bool {
        let Some(until) = self.recent.get(&fingerprint, &now) else { return false };
        if until < now + VERIFIED_TTL / 2 {
            self.record(fingerprint, now);
        }
        true
    }

    fn record(&self, fingerprint: LoginFingerprint, now: Duration) {
        self.recent.put(fingerprint, now + VERIFIED_TTL, now + VERIFIED_TTL, &now);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn password_matches_only_its_own_hash() {
        let hash = hash(b"secret").expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let ann = PasswordHashes { of_user: Some(StoredHash::Account(hash)), any_htpasswd_hash: None };
        assert!(ann.matches(b"secret") && !ann.matches(b"Secret") && !ann.matches(b""));
        let in_file = bcrypt::hash("secret", 4).expect("hashed");
        let bob = PasswordHashes {
            of_user: Some(StoredHash::File(in_file.clone())),
            any_htpasswd_hash: Some(in_file.clone()),
        };
        assert!(bob.matches(b"secret") && !bob.matches(b"Secret"));
        let unknown = PasswordHashes { of_user: None, any_htpasswd_hash: Some(in_file) };
        assert!(!unknown.matches(b"secret"), "the password of another user");
    }

    #[test]
    fn dummy_hashes_cost_as_much_as_real_ones() {
        let parsed = PasswordHash::new(DUMMY_HASH).expect("a hash");
        let params = Params::try_from(&parsed).expect("parameters");
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        assert_eq!(cost(&params), cost(&Params::default()));
        assert!(matches!(bcrypt::verify("secret", DUMMY_FILE_HASH), Ok(false)));
    }

    #[tokio::test]
    async fn comparison_keeps_its_turn_and_memory_when_the_client_disconnects() {
        let memory = MemoryBudget::new(256 << 20);
        let passwords = Passwords::new(LowPriorityPool::new(None), Arc::new(ManualClock::default()))
            .with_memory_budget(memory.clone());
        let unknown = || PasswordHashes { of_user: None, any_htpasswd_hash: None };
        let attempt =
            || Box::pin(passwords.check("ann", b"guess".to_vec(), unknown(), IpAddr::from([10, 0, 0, 1])));
        for _ in 0..3 {
            assert!(attempt().now_or_never().is_none());
            assert_eq!(memory.reserved_for(Purpose::Passwords), HASH_MEMORY);
        }
        assert!(attempt().await.is_err());
        assert_eq!(memory.reserved_for(Purpose::Passwords), 0);
    }

    #[test]
    fn fingerprint_depends_on_user_password_and_hash() {
        let verified = VerifiedPasswords::new();
        let fingerprint = verified.fingerprint("ann", b"secret", "x");
        verified.record(fingerprint, Duration::ZERO);
        assert!(verified.is_verified(verified.fingerprint("ann", b"secret", "x"), VERIFIED_TTL / 2));
        for other in
            [("ann", "secre", "x"), ("anns", "ecret", "x"), ("ann", "secret", "y"), ("nn", "secret", "xa")]
        {
            let other = verified.fingerprint(other.0, other.1.as_bytes(), other.2);
            assert!(!verified.is_verified(other, Duration::ZERO));
        }
        assert!(verified.is_verified(fingerprint, VERIFIED_TTL * 3 / 4));
        assert!(verified.is_verified(fingerprint, VERIFIED_TTL), "renewed by its use");
        assert!(!verified.is_verified(fingerprint, VERIFIED_TTL * 2), "expired");
    }
}
