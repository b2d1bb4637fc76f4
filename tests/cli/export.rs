//! `orlop export`.
