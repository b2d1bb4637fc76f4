//! Client side of the admin socket, for the command line.

use std::io;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tower::ServiceExt;

use super::routes::{Line, Status};
use super::socket;
use crate::errors::BoxError;
use crate::http::api::{self, Page, Problem};
use crate::http::listen::Peer;
use crate::maintenance::progress::Progress;
use crate::server::operations::{Operation, Report};

/// All characters except RFC 3986's unreserved ones.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Maximum length of a line, far more than any report has.
const MAX_LINE_LEN: usize = 64 << 20;

/// Why an operation or API request failed, in a running server or in this process.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The socket cannot be used.
    #[error("the admin socket")]
    Io(#[from] io::Error),
    /// The connection failed.
    #[error("the admin socket")]
    Http(#[from] hyper::Error),
    /// A response was cut off.
    #[error("the admin socket")]
    Body(#[from] axum::Error),
    /// The response has an unexpected form.
    #[error("unexpected response from the running server, which may have another version")]
    UnexpectedResponse(#[source] BoxError),
    /// The operation failed.
    #[error("{0}")]
    Failed(String),
    /// The API rejected the request.
    #[error("{0}")]
    Refused(Problem),
}

/// A client for a store: through the admin socket of the server that uses it, or through the same router in this
/// process.
pub struct ApiClient {
    transport: Transport,
}

impl ApiClient {
    /// Connects to the server that uses the data directory `data`. Returns `None` if there is none.
    ///
    /// # Errors
    /// Fails with [`ClientError::Io`] if there may be a server, but it cannot be reached.
    pub async fn connect(data: &Path) -> Result<Option<Self>, ClientError> {
        let Some(stream) = socket::connect(data)? else {
            return Ok(None);
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Some(Self { transport: Transport::Socket(sender) }))
    }

    /// Creates a client for `router`, which [`super::router`] built over a store that this process has opened.
    pub fn in_process(router: Router) -> Self {
        Self { transport: Transport::InProcess(router) }
    }

    /// Sends a GET request for `path`. `query` is an object of plain values.
    ///
    /// # Errors
    /// Fails with [`ClientError::Refused`] if the API rejects the request.
    pub async fn get<T: DeserializeOwned>(
        &mut self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let target = format!("{path}{}", query_text(query)?);
        self.exchange(Method::GET, &target, None).await
    }

    /// Sends `body` to `path`. A response without a body is read as `()`.
    ///
    /// # Errors
    /// Fails with [`ClientError::Refused`] if the API rejects the request.
    pub async fn send<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let body = body.map(serde_json::to_vec).transpose().map_err(unexpected)?;
        self.exchange(method, path, body.map(Bytes::from)).await
    }

    /// Sends a DELETE request for `path` with `query`.
    ///
    /// # Errors
    /// Fails with [`ClientError::Refused`] if the API rejects the request.
    pub async fn remove(&mut self, path: &str, query: &impl Serialize) -> Result<(), ClientError> {
        let target = format!("{path}{}", query_text(query)?);
        self.exchange(Method::DELETE, &target, None).await
    }

    /// Returns the items of the list at `path` with `parameters`: all of them, page by page, or the first `max_items`.
    ///
    /// # Errors
    /// Fails with [`ClientError::Refused`] if the API rejects a request.
    pub async fn list<T: DeserializeOwned>(
        &mut self,
        path: &str,
        parameters: impl Serialize,
        max_items: usize,
    ) -> Result<Vec<T>, ClientError> {
        let mut parameters = serde_json::to_value(parameters).map_err(unexpected)?;
        let mut items = Vec::new();
        while items.len() < max_items {
            let left = u32::try_from(max_items - items.len()).unwrap_or(u32::MAX);
            parameters["limit"] = left.min(api::MAX_PAGE_ITEMS).into();
            let page: Page<T> = self.get(path, &parameters).await?;
            items.extend(page.items);
            let Some(next) = page.next else {
                break;
            };
            parameters["after"] = next.into();
        }
        Ok(items)
    }

    /// Returns the server's status.
    ///
    /// # Errors
    /// Fails if the server cannot be reached.
    pub async fn status(&mut self) -> Result<Status, ClientError> {
        let response = self.request(Method::GET, "/readyz", None).await?;
        let body = response.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&body).map_err(unexpected)
    }

    /// Runs `operation` in the server and waits for its report.
    ///
    /// # Errors
    /// Fails if the operation fails or the server cannot be reached.
    pub async fn run(
        &mut self,
        operation: &Operation,
        progress: &dyn Progress,
    ) -> Result<Report, ClientError> {
        let response = self.request(Method::POST, &operation.to_string(), None).await?;
        if response.status() != StatusCode::OK {
            return Err(unexpected(response.status().to_string()));
        }
        let mut lines = Lines::new(response.into_body());
        while let Some(line) = lines.next().await? {
            match line {
                Line::Progress(step) => progress.report(step),
                Line::Error(error) => return Err(ClientError::Failed(error)),
                Line::Result(json) => {
                    return Report::parse(operation, json).map_err(unexpected);
                }
            }
        }
        Err(ClientError::Failed("the server stopped before the operation finished".into()))
    }

    async fn exchange<T: DeserializeOwned>(
        &mut self,
        method: Method,
        target: &str,
        body: Option<Bytes>,
    ) -> Result<T, ClientError> {
        let response = self.request(method, target, body).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            let problem = serde_json::from_slice(&body);
            return Err(problem.map_or_else(|_| unexpected(status.to_string()), ClientError::Refused));
        }
        let json: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(json).map_err(unexpected)
    }

    async fn request(
        &mut self,
        method: Method,
        target: &str,
        body: Option<Bytes>,
    ) -> Result<Response<Body>, ClientError> {
        let mut request = Request::builder().method(method).uri(target).header(HOST, "orlop");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Body::from(body.unwrap_or_default())).map_err(unexpected)?;
        self.transport.send(request).await
    }
}

/// How requests reach a router.
enum Transport {
    /// The socket of a running server.
    Socket(SendRequest<Body>),
    /// A router over a store that this process has opened.
    InProcess(Router),
}

impl Transport {
    async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Body>, ClientError> {
        match self {
            Self::Socket(sender) => {
                sender.ready().await?;
                Ok(sender.send_request(request).await?.map(Body::new))
            }
            Self::InProcess(router) => {
                // A user who can open the store could also use its socket.
                request.extensions_mut().insert(Peer::Unix);
                match router.clone().oneshot(request).await {
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        }
    }
}

/// A response body, split into lines.
struct Lines {
    body: Body,
    rest: BytesMut,
}

impl Lines {
    fn new(body: Body) -> Self {
        Self { body, rest: BytesMut::new() }
    }

    async fn next(&mut self) -> Result<Option<Line>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end);
                self.rest.advance(1);
                return serde_json::from_slice(&line).map(Some).map_err(unexpected);
            }
            if self.rest.len() > MAX_LINE_LEN {
                return Err(unexpected("a line is too long"));
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

/// Returns the API path of these `segments`, each percent-encoded, slashes included.
pub fn path(segments: &[&str]) -> String {
    let each = segments.iter().map(|segment| format!("/{}", utf8_percent_encode(segment, RESERVED)));
    each.fold(api::ROOT.to_owned(), |path, segment| path + &segment)
}

/// Formats `query` as a query string with its question mark, without null values.
fn query_text(query: &impl Serialize) -> Result<String, ClientError> {
    let Value::Object(members) = serde_json::to_value(query).map_err(unexpected)? else {
        return Ok(String::new());
    };
    let mut text = String::new();
    for (name, value) in members.into_iter().filter(|(_, value)| !value.is_null()) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mark = if text.is_empty() { '?' } else { '&' };
        text.push_str(&format!("{mark}{name}={}", utf8_percent_encode(&value, RESERVED)));
    }
    Ok(text)
}

fn unexpected(error: impl Into<BoxError>) -> ClientError {
    ClientError::UnexpectedResponse(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_path_segments_and_query_values() {
        assert_eq!(path(&["repositories", "a/b", "tags", "v1+x"]), "/api/v1/repositories/a%2Fb/tags/v1%2Bx");
        let query = serde_json::json!({ "a": "x&y", "b": 7, "c": null });
        assert_eq!(query_text(&query).expect("plain values"), "?a=x%26y&b=7");
        assert_eq!(query_text(&()).expect("nothing"), "");
    }
}
