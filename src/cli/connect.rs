//! The way to a store: to the server that has it, or to what it would answer, over the store itself.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{Failure, start};
use crate::config::Config;
use crate::http::AlwaysReady;
use crate::http::api::{ApiSettings, Changes};
use crate::jobs::{self, RepositoryJob};
use crate::server::admin::{self, ApiClient};
use crate::server::operations::{OperationError, Operator};
use crate::server::{LockError, Opened, Purpose, StartError, load_access_control};

/// How often a server that has the lock and no socket is looked for, and how long it is waited for between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// How often deletions and restorations of repositories are looked for on a stopped store.
const EVERY: Duration = Duration::from_millis(20);

/// A client of the store that `config` describes, of which the caller may want to `change` something.
pub(super) async fn connect(config: &Config, change: bool) -> Result<ApiClient, Failure> {
    for attempt in 0.. {
        if let Some(client) = ApiClient::connect(&config.storage.data).await? {
            return Ok(client);
        }
        match Opened::open(config, Purpose::Maintain).await {
            Ok(opened) => return here(config, opened, change).await,
            // It may be just starting, or just ending.
            Err(StartError::Lock(LockError::Held { .. })) if attempt < TRIES => {
                tokio::time::sleep(PAUSE).await
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Other("unreachable".into()))
}

/// What the store that `config` describes answers to one question.
pub(super) async fn ask<Q, A>(config: &Config, path: &str, parameters: &Q) -> Result<A, Failure>
where
    Q: Serialize + Sync,
    A: DeserializeOwned,
{
    Ok(connect(config, false).await?.get(path, parameters).await?)
}

/// The same for up to `most` items of a list, or all.
pub(super) async fn list<P, T>(
    config: &Config,
    path: &str,
    parameters: P,
    most: Option<usize>,
) -> Result<Vec<T>, Failure>
where
    P: Serialize,
    T: DeserializeOwned,
{
    Ok(connect(config, false).await?.list(path, parameters, most.unwrap_or(usize::MAX)).await?)
}

/// Asks for a change, and waits for what comes of it.
pub(super) fn change<B, T>(
    config: &Config,
    method: Method,
    path: &str,
    body: Option<&B>,
) -> Result<T, Failure>
where
    B: Serialize,
    T: DeserializeOwned,
{
    start()?.block_on(async { Ok(connect(config, true).await?.send(method, path, body).await?) })
}

/// Asks for something to be removed that `parameters` name.
pub(super) fn remove<Q: Serialize + Sync>(
    config: &Config,
    path: &str,
    parameters: &Q,
) -> Result<(), Failure> {
    start()?.block_on(async { Ok(connect(config, true).await?.remove(path, parameters).await?) })
}

async fn here(config: &Config, opened: Opened, change: bool) -> Result<ApiClient, Failure> {
    let registry = Arc::clone(&opened.registry);
    if change {
        registry.recover().await.map_err(OperationError::from)?;
    }
    let keys = (!config.storage.read_only).then(|| opened.metadata_dir.clone());
    let metadata = Arc::clone(registry.metadata());
    let in_force = opened.config_in_force(config);
    let access_control =
        Arc::new(load_access_control(&without_lost_file(&in_force), metadata, keys.as_deref(), None).await?);
    opened.watch_access(&access_control);
    let operator = Operator::new(config, Arc::new(opened), access_control).await?;
    if change && !config.storage.read_only {
        // Where no server does it, this process goes on with what is deleted or restored, until it ends.
        let job = RepositoryJob::new(registry, config.gc.batch.get());
        tokio::spawn(jobs::run(Arc::new(job), EVERY, CancellationToken::new()));
    }
    let settings = ApiSettings { changes: Changes::Socket, trash: config.gc.trash.0 };
    let api = operator.api(Arc::new(AlwaysReady), settings);
    Ok(ApiClient::here(admin::router(Arc::new(operator), api)))
}

/// A stopped store is looked after whether its file of users is there or not.
fn without_lost_file(config: &Config) -> Config {
    let mut config = config.clone();
    config.auth.htpasswd = config.auth.htpasswd.filter(|path| path.is_file());
    config
}
