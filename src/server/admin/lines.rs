//! Reads an operation's response line by line.

use axum::body::Body;
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;

use super::{ClientError, Line};

/// Maximum length of a line, far more than any report has.
const MAX_LINE_LEN: usize = 64 << 20;

/// A response body, split into lines.
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
                return line.map(Some).map_err(|error| ClientError::UnexpectedResponse(error.into()));
            }
            if self.rest.len() > MAX_LINE_LEN {
                return Err(ClientError::UnexpectedResponse("a line is too long".into()));
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
