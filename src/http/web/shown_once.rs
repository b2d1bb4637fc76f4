//! Secrets that a page shows once: generated passwords and access tokens. An action leaves one here for the page that
//! the browser is redirected to.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Timestamp;

/// How long a browser may take to load the page.
const SHOWN_WITHIN: Duration = Duration::from_secs(5 * 60);

/// The maximum number of secrets that wait for their page. Beyond that, the oldest is forgotten.
const MAX_SECRETS: usize = 256;

/// A secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// The generated password of a user.
    Password(String),
    /// An access token.
    Token {
        /// The user that it belongs to.
        account: String,
        /// The token itself.
        text: String,
    },
}

/// Secrets that wait for their page, the oldest first.
#[derive(Default)]
pub(super) struct ShownOnce(Mutex<VecDeque<Waiting>>);

struct Waiting {
    /// The CSRF token of the browser, which no other browser knows.
    browser: String,
    page: String,
    secret: Secret,
    until: Timestamp,
}

impl ShownOnce {
    /// Keeps a secret until `browser` loads `page`. It replaces the last one of this browser.
    pub(super) fn keep(&self, browser: &str, page: &str, secret: Secret, now: Timestamp) {
        let mut waiting = self.0.lock();
        waiting.retain(|waiting| waiting.until > now && waiting.browser != browser);
        if waiting.len() >= MAX_SECRETS {
            waiting.pop_front();
        }
        waiting.push_back(Waiting {
            browser: browser.to_owned(),
            page: page.to_owned(),
            secret,
            until: now.plus(SHOWN_WITHIN),
        });
    }

    /// Returns the secret that `browser` shows on `page`, and forgets it.
    pub(super) fn take(&self, browser: &str, page: &str, now: Timestamp) -> Option<Secret> {
        let mut waiting = self.0.lock();
        waiting.retain(|waiting| waiting.until > now);
        let at = waiting.iter().position(|waiting| waiting.browser == browser && waiting.page == page)?;
        waiting.remove(at).map(|found| found.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn secret(text: &str) -> Secret {
        Secret::Password(text.to_owned())
    }

    #[test]
    fn a_secret_is_shown_once_to_its_browser_on_its_page() {
        let secrets = ShownOnce::default();
        secrets.keep("one", "/profile", secret("a"), NOW);
        secrets.keep("two", "/profile", secret("b"), NOW);
        assert_eq!(secrets.take("three", "/profile", NOW), None);
        assert_eq!(secrets.take("one", "/people", NOW), None);
        assert_eq!(secrets.take("one", "/profile", NOW), Some(secret("a")));
        assert_eq!(secrets.take("one", "/profile", NOW), None);
        assert_eq!(secrets.take("two", "/profile", NOW), Some(secret("b")));
    }

    #[test]
    fn secrets_are_forgotten_after_a_while() {
        let secrets = ShownOnce::default();
        secrets.keep("one", "/profile", secret("a"), NOW);
        assert_eq!(secrets.take("one", "/profile", NOW.plus(SHOWN_WITHIN)), None);
        secrets.keep("one", "/profile", secret("b"), NOW);
        secrets.keep("one", "/profile", secret("c"), NOW);
        assert_eq!(secrets.take("one", "/profile", NOW), Some(secret("c")), "a browser has one");
        for at in 0..=MAX_SECRETS {
            secrets.keep(&at.to_string(), "/profile", secret("d"), NOW);
        }
        assert_eq!(secrets.0.lock().len(), MAX_SECRETS);
        assert_eq!(secrets.take("0", "/profile", NOW), None, "the oldest is forgotten");
    }
}
