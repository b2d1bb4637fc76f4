//! Stub.
#![allow(missing_docs, clippy::all, clippy::pedantic)]
use super::*;
use crate::clock::Timestamp;
use std::net::IpAddr;
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("no")]
    NoUser,
    #[error(transparent)]
    Account(#[from] AccountError),
}
#[derive(Debug)]
pub struct SessionRecord {
    pub id: String,
    pub account: String,
}
#[derive(Debug)]
pub struct NewSession {
    pub secret: String,
    pub record: SessionRecord,
}
#[derive(Debug, Clone)]
pub struct Session {
    pub id: String,
    pub principal: Principal,
    pub created_at: Timestamp,
}
impl AccessControl {
    pub async fn start_session(&self, _: &Principal, _: IpAddr, _: &str) -> Result<NewSession, SessionError> {
        todo!()
    }
    pub fn session(&self, _: &str) -> Option<Session> {
        None
    }
    pub async fn end_session(&self, _: &str) -> Result<(), AccountError> {
        Ok(())
    }
}
impl AccessControl {
    pub fn session_lifetime(&self) -> std::time::Duration {
        std::time::Duration::from_secs(1)
    }
}
