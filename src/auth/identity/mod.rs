//! External identities: CI jobs and people who authenticate with an OpenID Connect provider, and clients that have
//! tokens from an external token authority.
//!
//! | file | what it does |
//! | --- | --- |
//! | `provider` | verifies the tokens of an OpenID Connect provider and evaluates its rules |
//! | `rules` | matches claims against globs, and says which roles and teams they give |
//! | `sign_in` | the authorization code flow, with which people sign in |
//! | `authority` | verifies the tokens of an external token authority |
//! | `signed` | verifies tokens that others have signed |
//! | `identities` | finds the provider or authority that issued a token, and caches the result |
//! | `keys` | caches the public keys of an issuer and keeps them current |
//! | `discovery` | finds a provider's endpoints (OpenID Connect Discovery) |
//! | `jwks` | parses published keys |

mod authority;
mod discovery;
mod identities;
mod jwks;
mod keys;
mod provider;
mod rules;
mod sign_in;
mod signed;

pub use authority::{Authority, AuthoritySettings};
pub use identities::Identities;
pub use keys::KeySource;
pub(super) use provider::Person;
pub use provider::{Provider, ProviderSettings, SignInError};
pub use rules::{Rule, RuleError, RuleSettings};
pub(super) use sign_in::Attempt;
pub use sign_in::SignInSettings;
