//! Undo: history of tags, the trash, restoring and deleting repositories.

pub(in crate::metadata) mod deletion;
pub(in crate::metadata) mod history;
pub(in crate::metadata) mod restore;
pub(in crate::metadata) mod trash;
