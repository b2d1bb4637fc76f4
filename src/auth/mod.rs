//! Who may do what. With no accounts, everybody may do everything.

use crate::registry::Access;

/// What an anonymous caller may do.
pub fn anonymous() -> Access {
    Access { push: true }
}
