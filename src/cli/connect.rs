//! Starts a short-lived command and connects it to its store: through the running server that uses it, or directly,
//! through the same API router in this process.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use crate::config::Config;
use crate::http::AlwaysReady;
use crate::http::api::Changes;
use crate::jobs::{self, RepositoryJob};
use crate::scheduling::request_runtime;
use crate::server::admin::{self, ApiClient, path};
use crate::server::operations::{OperationError, Operations};
use crate::server::{LockError, OpenMode, Opened, StartError, load_access_control, logging};

/// How often the lock of a store is tried if it is held but the server has no socket.
const MAX_ATTEMPTS: u32 = 20;
/// How long to wait between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// How often deletions and restorations of repositories are continued on a stopped store.
const REPOSITORY_JOB_INTERVAL: Duration = Duration::from_millis(20);

/// Starts plain logging of warnings, and returns a runtime for a short-lived command.
pub(super) fn start_runtime() -> Result<Runtime, Failure> {
    logging::start_plain();
    request_runtime().map_err(|error| Failure::of("cannot start threads", error))
}

/// Returns a client of the store that `config` describes. `change` says whether it may change the store.
pub(super) async fn connect(config: &Config, change: bool) -> Result<ApiClient, Failure> {
    connect_in_mode(config, change, OpenMode::Maintain).await
}

/// Returns a client of the store that `config` describes, which may change it. A missing store is created.
pub(super) async fn connect_or_create(config: &Config) -> Result<ApiClient, Failure> {
    connect_in_mode(config, true, OpenMode::Serve).await
}

async fn connect_in_mode(config: &Config, change: bool, mode: OpenMode) -> Result<ApiClient, Failure> {
    for attempt in 0.. {
        if let Some(client) = ApiClient::connect(&config.storage.data).await? {
            return Ok(client);
        }
        match Opened::open(config, mode).await {
            Ok(opened) => return open_in_process(config, opened, change).await,
            // The server may be starting or stopping.
            Err(StartError::Lock(LockError::Held { .. })) if attempt < MAX_ATTEMPTS => {
                tokio::time::sleep(RETRY_DELAY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Other("unreachable".into()))
}

/// Sends a GET request for the API path of `segments` to the store that `config` describes.
pub(super) fn fetch<T: DeserializeOwned>(
    config: &Config,
    segments: &[&str],
    parameters: &impl Serialize,
) -> Result<T, Failure> {
    start_runtime()?
        .block_on(async { Ok(connect(config, false).await?.get(&path(segments), parameters).await?) })
}

/// Returns up to `limit` items of the list at the API path of `segments`, or all.
pub(super) fn list<T: DeserializeOwned>(
    config: &Config,
    segments: &[&str],
    parameters: impl Serialize,
    limit: Option<usize>,
) -> Result<Vec<T>, Failure> {
    let limit = limit.unwrap_or(usize::MAX);
    start_runtime()?
        .block_on(async { Ok(connect(config, false).await?.list(&path(segments), parameters, limit).await?) })
}

/// Sends a request that changes the store, and waits for its result.
pub(super) fn change<T: DeserializeOwned>(
    config: &Config,
    method: Method,
    segments: &[&str],
    body: Option<&impl Serialize>,
) -> Result<T, Failure> {
    start_runtime()?
        .block_on(async { Ok(connect(config, true).await?.send(method, &path(segments), body).await?) })
}

/// Sends a DELETE request for the API path of `segments` with `parameters`.
pub(super) fn remove(config: &Config, segments: &[&str], parameters: &impl Serialize) -> Result<(), Failure> {
    start_runtime()?
        .block_on(async { Ok(connect(config, true).await?.remove(&path(segments), parameters).await?) })
}

async fn open_in_process(config: &Config, opened: Opened, change: bool) -> Result<ApiClient, Failure> {
    let registry = Arc::clone(&opened.registry);
    if change {
        registry.recover().await.map_err(OperationError::from)?;
    }
    let keys = (!config.storage.read_only).then(|| opened.metadata_dir.clone());
    let metadata = Arc::clone(registry.metadata());
    let effective = opened.effective_config(config);
    let settings = without_missing_htpasswd(&effective);
    let access_control = Arc::new(load_access_control(&settings, metadata, keys.as_deref(), None).await?);
    opened.record_login_requirement(&access_control);
    let operations = Operations::new(config, Arc::new(opened), access_control).await?;
    if change && !config.storage.read_only {
        // Without a server this process continues deletions and restorations until it ends.
        let job = RepositoryJob::new(registry, config.gc.batch.get());
        tokio::spawn(jobs::run(Arc::new(job), REPOSITORY_JOB_INTERVAL, CancellationToken::new()));
    }
    let api = operations.api(Arc::new(AlwaysReady), Changes::Socket);
    Ok(ApiClient::in_process(admin::router(Arc::new(operations), api)))
}

/// Drops the setting of a missing user file: maintenance of a stopped store does not need it.
fn without_missing_htpasswd(config: &Config) -> Config {
    let mut config = config.clone();
    config.auth.htpasswd = config.auth.htpasswd.filter(|path| path.is_file());
    config
}
