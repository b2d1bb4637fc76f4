//! Compares the evaluator with a slow, obvious second implementation, on random repositories and policies.

#![expect(unreachable_pub, reason = "here `pub` means: for the other files of this program")]

mod generate;
mod naive;
mod patterns;
mod properties;
