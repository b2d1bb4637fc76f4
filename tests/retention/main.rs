//! Compares the evaluator with a slow, obvious second implementation, on random repositories and policies.

mod generate;
mod naive;
mod patterns;
mod properties;
