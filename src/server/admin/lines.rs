//! An operation's answer, as the command line reads it.

use axum::body::Body;
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;

use super::{ClientError, Line};

/// The longest line that is read: far more than any report has.
const LONGEST_LINE: usize = 64 << 20;

/// A body, line by line.
pub(super) struct Lines {
    body: Body,
    rest: BytesMut,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, rest: BytesMut::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Line>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end);
                self.rest.advance(1);
                let line = serde_json::from_slice(&line);
                return line.map(Some).map_err(|error| ClientError::Odd(error.to_string()));
            }
            if self.rest.len() > LONGEST_LINE {
                return Err(ClientError::Odd("an endless line".into()));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Some(data) = frame?.data_ref() {
                self.rest.extend_from_slice(data);
            }
        }
    }
}
