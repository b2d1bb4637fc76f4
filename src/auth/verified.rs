//! Passwords that were right a moment ago: to hash them anew for each request would cost a hundred times what the
//! request does.

use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::fresh::Fresh;

/// For how long a password need not be hashed again.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// What stands for a user with a password: nothing of either can be read from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Print([u8; 32]);

/// The prints of those that were right, until when.
pub(super) struct Verified {
    /// So that prints of one run mean nothing elsewhere.
    salt: Uuid,
    fresh: Fresh<Print, Duration, Duration>,
}

impl Verified {
    pub(super) fn new() -> Self {
        Self { salt: Uuid::new_v4(), fresh: Fresh::default() }
    }

    /// The print of a user with a password that was compared with a hash: with another hash it is another.
    pub(super) fn print(&self, name: &str, password: &[u8], against: &str) -> Print {
        let mut hash = Sha256::new();
        hash.update(self.salt.as_bytes());
        for part in [against, name] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(password);
        Print(hash.finalize().into())
    }

    /// Whether a password is. Whoever goes on using it is not asked again: with another one its hash is another.
    pub(super) fn is_fresh(&self, print: Print, now: Duration) -> bool {
        let Some(until) = self.fresh.get(&print, &now) else { return false };
        if until < now + FRESH / 2 {
            self.note(print, now);
        }
        true
    }

    pub(super) fn note(&self, print: Print, now: Duration) {
        self.fresh.put(print, now + FRESH, now + FRESH, &now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_is_of_one_user_one_password_and_one_hash() {
        let verified = Verified::new();
        let print = verified.print("ann", b"secret", "x");
        verified.note(print, Duration::ZERO);
        assert!(verified.is_fresh(verified.print("ann", b"secret", "x"), FRESH / 2));
        for other in
            [("ann", "secre", "x"), ("anns", "ecret", "x"), ("ann", "secret", "y"), ("nn", "secret", "xa")]
        {
            let other = verified.print(other.0, other.1.as_bytes(), other.2);
            assert!(!verified.is_fresh(other, Duration::ZERO));
        }
        assert!(verified.is_fresh(print, FRESH * 3 / 4));
        assert!(verified.is_fresh(print, FRESH), "it was used meanwhile");
        assert!(!verified.is_fresh(print, FRESH * 2), "not for ever");
    }
}
