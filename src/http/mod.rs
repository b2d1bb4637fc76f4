//! The wire.

pub mod listen;
