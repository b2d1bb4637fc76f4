//! The wire, over a real listener: what clients send and what they must get, right or wrong.

mod api;
mod audit;
mod blobs;
mod connections;
mod door;
mod events;
mod files;
mod identities;
mod issuer;
mod kit;
mod lists;
mod log;
mod malformed;
mod manifests;
mod operations;
mod proxies;
mod queries;
mod rate_limit;
mod reports;
mod roles;
mod security_headers;
mod smuggling;
mod tls;
mod tokens;
mod undo;
mod uploads;
