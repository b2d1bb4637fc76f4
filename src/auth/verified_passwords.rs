//! Caches successful password checks. Hashing the password again for each request would cost a hundred times as much as
//! the request itself.

use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::expiring_cache::ExpiringCache;

/// How long a successful check is cached.
const VERIFIED_TTL: Duration = Duration::from_secs(5 * 60);

/// Identifies a user name with a password and the hash that it was compared with. Reveals none of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LoginFingerprint([u8; 32]);

/// The fingerprints of recent successful checks.
pub(super) struct VerifiedPasswords {
    /// Makes the fingerprints of this process useless elsewhere.
    salt: Uuid,
    recent: ExpiringCache<LoginFingerprint, Duration, Duration>,
}

impl VerifiedPasswords {
    pub(super) fn new() -> Self {
        Self { salt: Uuid::new_v4(), recent: ExpiringCache::default() }
    }

    /// The fingerprint of a login. It changes when the expected hash does, that is when the password is changed.
    pub(super) fn fingerprint(&self, name: &str, password: &[u8], expected_hash: &str) -> LoginFingerprint {
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
    pub(super) fn is_verified(&self, fingerprint: LoginFingerprint, now: Duration) -> bool {
        let Some(until) = self.recent.get(&fingerprint, &now) else { return false };
        if until < now + VERIFIED_TTL / 2 {
            self.record(fingerprint, now);
        }
        true
    }

    pub(super) fn record(&self, fingerprint: LoginFingerprint, now: Duration) {
        self.recent.put(fingerprint, now + VERIFIED_TTL, now + VERIFIED_TTL, &now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
