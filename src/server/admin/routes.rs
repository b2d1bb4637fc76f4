//! Server side of the admin socket: routes for operations, readiness and the API, and what they respond with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use futures_util::stream;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::mpsc;

use crate::errors::{BoxError, Chain};
use crate::http::api::{self, Api};
use crate::maintenance::export::{ExportLayout, ExportRequest};
use crate::maintenance::progress::Step;
use crate::metadata::{AuditOutcome, Audited, Origin, Scope};
use crate::oci::RepoName;
use crate::server::health::{Health, Readiness};
use crate::server::operations::{Operation, Operations};
use crate::store::{Adoption, ExportMethod};

/// Minimum time between progress lines, in milliseconds.
const PROGRESS_INTERVAL_MS: u64 = 100;

/// A line of an operation's response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Progress so far.
    Progress(Step),
    /// The report of a finished operation.
    Result(serde_json::Value),
    /// The operation failed.
    Error(String),
}

/// The status of a running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// The address it listens at.
    pub listen: std::net::SocketAddr,
    /// Whether it uses TLS there.
    pub tls: bool,
    /// Whether a push would work.
    #[serde(flatten)]
    pub readiness: Readiness,
}

/// Builds the router for command-line requests, for a running server or for this process.
pub fn router(operations: Arc<Operations>, api: Arc<Api>) -> Router {
    Router::new()
        .route("/gc", operation(|GcQuery { dry_run }| Operation::Gc { dry_run }))
        .route("/fsck", operation(|FsckQuery { repair }| Operation::Fsck { repair }))
        .route("/scrub", operation(|ScrubQuery { now, rate }| Operation::Scrub { now, rate }))
        .route("/adopt", operation(|AdoptQuery { path, how }| Operation::Adopt { path, how }))
        .route("/finish-adoption", operation(|FinishQuery { path }| Operation::FinishAdoption { path }))
        .route("/backup", operation(|BackupQuery { dir }| Operation::Backup { dir }))
        .route("/export", operation(|query: ExportQuery| Operation::Export(query.into())))
        .with_state(operations)
        .merge(api::router(api))
}

/// Builds the route that only a running server has.
pub fn readiness(health: Arc<Health>, listen: SocketAddr, tls: bool) -> Router {
    Router::new().route("/readyz", get(readyz)).with_state((health, listen, tls))
}

async fn readyz(State((health, listen, tls)): State<(Arc<Health>, SocketAddr, bool)>) -> Response {
    let readiness = health.readiness().await.as_ref().clone();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let body = Status { version, listen, tls, readiness };
    let mut response = Response::new(Body::from(serde_json::to_vec(&body).unwrap_or_default()));
    *response.status_mut() = status;
    response
}

/// Routes requests with these parameters to the operation that `build` returns.
fn operation<Q: DeserializeOwned + Send + 'static>(
    build: fn(Q) -> Operation,
) -> MethodRouter<Arc<Operations>> {
    post(async move |State(operations): State<Arc<Operations>>, Query(query): Query<Q>| {
        run(operations, build(query))
    })
}

#[derive(Deserialize)]
struct GcQuery {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
struct FsckQuery {
    #[serde(default)]
    repair: bool,
}

#[derive(Deserialize)]
struct ScrubQuery {
    #[serde(default)]
    now: bool,
    rate: Option<u64>,
}

#[derive(Deserialize)]
struct AdoptQuery {
    path: PathBuf,
    how: Adoption,
}

#[derive(Deserialize)]
struct FinishQuery {
    path: PathBuf,
}

#[derive(Deserialize)]
struct BackupQuery {
    dir: PathBuf,
}

#[derive(Deserialize)]
struct ExportQuery {
    layout: ExportLayout,
    dir: PathBuf,
    copy: bool,
    #[serde(deserialize_with = "comma_separated")]
    repositories: Vec<RepoName>,
}

/// Parses names that are separated by commas; there may be none.
fn comma_separated<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<RepoName>, D::Error> {
    let text = String::deserialize(from)?;
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.parse().map_err(D::Error::custom)).collect()
}

impl From<ExportQuery> for ExportRequest {
    fn from(query: ExportQuery) -> Self {
        let method = if query.copy { ExportMethod::Copy } else { ExportMethod::HardLink };
        Self { layout: query.layout, dir: query.dir, repositories: query.repositories, method }
    }
}

/// Runs an operation in its own task, which ends when the client disconnects.
fn run(operations: Arc<Operations>, operation: Operation) -> Response {
    let (lines, response) = mpsc::channel::<Bytes>(16);
    tokio::spawn(async move {
        tracing::info!(%operation, "operation requested through the admin socket");
        let disconnected = lines.clone();
        let last = tokio::select! {
            last = run_operation(&operations, &operation, &lines) => last,
            () = disconnected.closed() => {
                audit(&operations, &operation, AuditOutcome::Failed).await;
                tracing::info!(%operation, "operation cancelled: the client disconnected");
                return;
            }
        };
        let failed = matches!(last, Line::Error(_));
        // Before the last line: on a stopped store the client process exits after that line.
        audit(&operations, &operation, if failed { AuditOutcome::Failed } else { AuditOutcome::Allowed })
            .await;
        let _ = lines.send(encode(&last)).await;
    });
    let next = async |mut response: mpsc::Receiver<Bytes>| {
        let line = response.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), response))
    };
    Response::new(Body::from_stream(stream::unfold(response, next)))
}

/// Records the outcome of an operation in the audit log.
async fn audit(operations: &Operations, operation: &Operation, outcome: AuditOutcome) {
    let Some((action, subject)) = operation.audit_entry() else { return };
    let entry = Audited {
        user: None,
        token: None,
        from: Origin::LocalAdmin,
        action,
        scope: Scope::All,
        subject,
        outcome,
        status: None,
    };
    let registry = &operations.opened.registry;
    registry.audit(entry, None);
    if let Err(error) = registry.flush_audit(false).await {
        tracing::warn!(error = %Chain(&error), "failed to write the audit log; will retry");
    }
}

async fn run_operation(operations: &Operations, operation: &Operation, lines: &mpsc::Sender<Bytes>) -> Line {
    let started = Instant::now();
    let last_reported = AtomicU64::new(0);
    let progress = |step: Step| {
        let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = last_reported.load(Ordering::Relaxed);
        if before == 0 || now.saturating_sub(before) >= PROGRESS_INTERVAL_MS {
            last_reported.store(now.max(1), Ordering::Relaxed);
            // A slow client misses some progress lines.
            let _ = lines.try_send(encode(&Line::Progress(step)));
        }
    };
    let report = match operations.run(operation, &progress).await {
        Ok(report) => serde_json::to_value(report).map_err(BoxError::from),
        Err(error) => Err(error.into()),
    };
    match report {
        Ok(result) => Line::Result(result),
        Err(error) => {
            let error = Chain(&*error).to_string();
            tracing::error!(%operation, error, "operation failed");
            Line::Error(error)
        }
    }
}

fn encode(line: &Line) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
