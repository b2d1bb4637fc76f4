//! The metadata store: small transactional records about repositories, manifests, blobs, accounts and
//! everything else that is not blob content.
//!
//! | module | contents |
//! | --- | --- |
//! | `model` | records |
//! | `transaction` | access, durability and errors, on which callers and the engine agree |
//! | `sql` | connections, statements, rows and values, whatever the engine |
//! | `facts`, `image_details`, `unverified_hint` | what rules, queries and the engine share: the table of single facts, details of images, whether blobs may be unverified |
//! | `queries` | reads: lists, reports, snapshots |
//! | `ops` | changes, with the rules of the registry |
//! | `sqlite` | the engine: opening, group commit, readers, cache, migrations |
//!
//! Every public method of [`Metadata`] is one transaction and one step of a use case; no transaction type crosses this
//! interface. A method that changes something returns after its COMMIT and the change is durable, unless the method is
//! documented as *lazy*: a lazy change survives a crash of the process, but a power failure may undo it.
#![expect(
    clippy::missing_errors_doc,
    reason = "methods of the store fail for the reasons that `MetadataError` lists"
)]

mod engine;
mod facts;
#[cfg(any(test, feature = "testing"))]
#[path = "../../tests/doubles/metadata_faults.rs"]
mod faults;
mod image_details;
mod model;
mod operation;
mod ops;
mod queries;
mod sql;
pub mod sqlite;
#[cfg(test)]
pub mod suite;
mod transaction;
mod unverified_hint;

pub use engine::Metadata;
#[cfg(any(test, feature = "testing"))]
pub use faults::Faults;
pub use model::*;
pub use operation::Operation;
pub use transaction::{Access, MetadataError, Result};

use transaction::Durability;
