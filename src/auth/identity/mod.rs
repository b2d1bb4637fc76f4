//! External identities: CI jobs and people that authenticate at an OpenID Connect provider, and clients with tokens of an
//! external token authority.
//!
//! | file | what it does |
//! | --- | --- |
//! | `provider` | verifies the tokens of an OpenID Connect provider and evaluates its rules |
//! | `rules` | matches claims, and gives roles and teams |
//! | `federated` | an identity without an account |
//! | `sign_in` | the authorization code flow, by which people sign in |
//! | `authority` | verifies the tokens of an external token authority |
//! | `signed` | verifies signed tokens of others |
//! | `known` | finds the provider or authority that issued a token, and caches the result |
//! | `keys` | the public keys of an issuer, kept current |
//! | `discovery` | OpenID Connect Discovery |
//! | `jwks` | parses published keys |

mod authority;
mod discovery;
mod federated;
mod jwks;
mod keys;
mod known;
mod provider;
mod rules;
mod sign_in;
mod signed;

pub use authority::{Authority, AuthoritySettings};
pub use federated::FederatedIdentity;
pub use keys::KeySource;
pub use known::Identities;
pub(super) use provider::Person;
pub use provider::{Provider, ProviderSettings, SignInError, SignInSettings};
pub use rules::{Rule, RuleError, RuleSettings};
pub(super) use sign_in::Attempt;
pub(super) use signed::looks_signed;
