//! The command line's side.

use std::io;
use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use thiserror::Error;

use super::{Line, Status, socket};
use crate::jobs::progress::Progress;
use crate::server::operations::{Operation, Report};

/// The longest line that is read: far more than any report has.
const LONGEST_LINE: usize = 64 << 20;

/// Why a running server did not do what it was asked for.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The socket.
    #[error("the admin socket: {0}")]
    Io(#[from] io::Error),
    /// The connection.
    #[error("the admin socket: {0}")]
    Http(#[from] hyper::Error),
    /// What it answered makes no sense here.
    #[error("the running server answered something else than expected ({0}): is it of another version?")]
    Odd(String),
    /// It tried, and failed.
    #[error("{0}")]
    Failed(String),
}

/// A connection to a running server.
pub struct Client {
    sender: SendRequest<Empty<Bytes>>,
}

impl Client {
    /// Connects to the server that has the data directory `data`. `None` if there is none.
    ///
    /// # Errors
    /// [`ClientError::Io`] if there may be one that can't be reached.
    pub async fn connect(data: &Path) -> Result<Option<Self>, ClientError> {
        let Some(stream) = socket::connect(data)? else {
            return Ok(None);
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Some(Self { sender }))
    }

    /// How the server is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&mut self) -> Result<Status, ClientError> {
        let response = self.request("GET", "/readyz").await?;
        let body = response.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| ClientError::Odd(error.to_string()))
    }

    /// Asks for `operation` and waits for what comes of it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn run(
        &mut self,
        operation: &Operation,
        progress: &dyn Progress,
    ) -> Result<Report, ClientError> {
        let response = self.request("POST", &operation.to_string()).await?;
        if response.status() != StatusCode::OK {
            return Err(ClientError::Odd(response.status().to_string()));
        }
        let mut lines = Lines { body: response.into_body(), rest: BytesMut::new() };
        while let Some(line) = lines.next().await? {
            match line {
                Line::Progress(step) => progress.report(step),
                Line::Error(error) => return Err(ClientError::Failed(error)),
                Line::Result(json) => {
                    let report = Report::read(operation, json);
                    return report.map_err(|error| ClientError::Odd(error.to_string()));
                }
            }
        }
        Err(ClientError::Failed("the server ended before the work did".into()))
    }

    async fn request(&mut self, method: &str, path: &str) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder().method(method).uri(path).header("host", "orlop");
        let request = request.body(Empty::new()).map_err(|error| ClientError::Odd(error.to_string()))?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// A body, line by line.
struct Lines {
    body: Incoming,
    rest: BytesMut,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Line>, ClientError> {
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
