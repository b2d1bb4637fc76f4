//! The way to a store: to the server that has it, or to what it would answer, over the store itself.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::config::Config;
use crate::http::AlwaysReady;
use crate::http::api::{Api, ApiSettings, Changes};
use crate::jobs::{self, Collector, RepositoryJob, Scrub};
use crate::server::admin::{self, ApiClient};
use crate::server::operations::{OperationError, Operator};
use crate::server::{LockError, Opened, Purpose, StartError, collector_settings, retention, scrub_settings};

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

async fn here(config: &Config, opened: Opened, change: bool) -> Result<ApiClient, Failure> {
    let registry = Arc::clone(&opened.registry);
    if change {
        registry.recover().await.map_err(OperationError::from)?;
    }
    let retention = retention(config, &registry).await?;
    let collector = Collector::new(Arc::clone(&registry), collector_settings(config))
        .with_policies(Arc::clone(retention.book()));
    let scrub = Arc::new(Scrub::new(Arc::clone(&registry), scrub_settings(config)));
    let collector = Arc::new(collector);
    if change && !config.storage.read_only {
        // Where no server does it, this process goes on with what is deleted or restored, until it ends.
        let job = RepositoryJob::new(Arc::clone(&registry), config.gc.batch.get());
        tokio::spawn(jobs::run(Arc::new(job), EVERY, CancellationToken::new()));
    }
    let settings = ApiSettings { changes: Changes::Socket, trash: config.gc.trash.0 };
    let api = Api::new(registry, Arc::clone(&collector), Arc::new(AlwaysReady), Arc::clone(&scrub), settings)
        .with_retention(Arc::clone(&retention));
    let operator = Operator { opened: Arc::new(opened), collector, scrub, retention };
    Ok(ApiClient::here(admin::router(Arc::new(operator), Arc::new(api))))
}
