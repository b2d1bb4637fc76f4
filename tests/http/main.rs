//! Tests of the HTTP server over a real listener: valid and invalid requests, and the responses to them.

#![expect(unreachable_pub, reason = "here `pub` means: for the other files of this program")]
#![expect(clippy::cast_possible_truncation, reason = "patterns of bytes")]
#![expect(clippy::unchecked_time_subtraction, reason = "between constants")]

mod access_control;
mod acme;
mod api;
mod audit;
mod blobs;
mod browse;
mod browser;
mod connections;
mod cors;
mod events;
mod failures;
mod files;
mod identities;
mod issuer;
mod kit;
mod lists;
mod log;
mod malformed;
mod manifests;
mod memory;
mod operations;
mod pages_manage;
mod pages_people;
mod pages_repository;
mod pages_security;
mod proxies;
mod queries;
mod rate_limit;
mod refused_pushes;
mod reports;
mod roles;
mod security_headers;
mod sign_in;
mod smuggling;
mod tls;
mod tokens;
mod undo;
mod uploads;
