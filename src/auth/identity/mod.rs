//! Those who prove who they are by somebody else's word: jobs and people by OpenID Connect, and clients that another
//! authority lets in.
//!
//! | file | what it does |
//! | --- | --- |
//! | `provider` | a provider of OpenID Connect, and what its word is good for here |
//! | `rules` | what claims give |
//! | `identity` | somebody who has no account |
//! | `sign_in` | how people sign in |
//! | `authority` | another authority that issues tokens for this registry |
//! | `signed` | verifies what others signed |
//! | `known` | all whose word counts here |
//! | `keys` | their public keys, kept current |
//! | `discovery` | what a provider tells of itself |
//! | `jwks` | the keys as they are published |

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
