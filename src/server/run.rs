//! The lifecycle of `orlop serve`: start, background jobs, serving, shutdown.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access_control::{ensure_administrator, load_access_control};
use super::admin;
use super::certificates::{CertificateMetrics, Certificates};
use super::data_directory::refuse_foreign_images;
use super::disk_space::{Watch, watch};
use super::errors::StartError;
use super::health::{Health, check_periodically};
use super::logging::Logs;
use super::metrics::StoreMetrics;
use super::open::{OpenMode, Opened};
use super::operations::Operations;
use super::process::{install_signal_handlers, raise_open_file_limit};
use super::settings::{http_settings, listen_settings};
use super::tasks::{Tasks, supervise};
use crate::acme::CertificateRenewer;
use crate::auth::{ADMINISTRATOR, AccountUpkeep};
use crate::config::Config;
use crate::errors::{Chain, SharedError};
use crate::http::api::Api;
use crate::http::listen::{ListenSettings, Peer, serve as listen};
use crate::http::{App, AppState, HttpMetrics};
use crate::jobs::{AuditUpkeep, Evictor, RepositoryJob, SpaceReclaimer, Upkeep};

/// Interval of the frequent upkeep jobs.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often the last use of tokens and sessions is written to the database.
const ACCOUNTS_INTERVAL: Duration = Duration::from_secs(60);

/// How often the scrub checks whether it may continue.
const SCRUB_INTERVAL: Duration = Duration::from_secs(1);

/// How long a shutdown waits for background work.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections may wait to be accepted. If more arrive at once, Linux drops their first packet, and clients
/// retry a second later. The kernel has its own limit (net.core.somaxconn, 4096).
const BACKLOG: u32 = 4096;

/// Serves until a signal arrives, then drains: running requests may finish. Low-priority work runs in `background`.
///
/// # Errors
/// Fails if the server cannot start, and with [`StartError::SyncFailed`] if a sync failed while it served.
pub async fn serve(
    config: Config,
    mode: OpenMode,
    logs: Arc<Logs>,
    background: &Handle,
) -> Result<(), StartError> {
    let draining = install_signal_handlers(logs).map_err(StartError::Signals)?;
    raise_open_file_limit(config.server.max_connections.get());
    let server = Server::start(&config, mode, draining, background).await?;
    match server.run(&config, background).await {
        Some(error) => Err(StartError::SyncFailed(error)),
        None => Ok(()),
    }
}

/// A started server with everything it needs to serve.
struct Server {
    operations: Arc<Operations>,
    health: Arc<Health>,
    watch: Arc<Watch>,
    reclaimer: Arc<SpaceReclaimer>,
    settings: ListenSettings,
    acme: Option<Arc<CertificateRenewer>>,
    listener: TcpListener,
    address: SocketAddr,
    draining: CancellationToken,
}

impl Server {
    async fn start(
        config: &Config,
        mode: OpenMode,
        draining: CancellationToken,
        background: &Handle,
    ) -> Result<Self, StartError> {
        let Certificates { tls, acme } = Certificates::open(config)?;
        refuse_foreign_images(config)?;
        let opened = Arc::new(Opened::open(config, mode).await?);
        let settings = listen_settings(config, tls, opened.registry.memory().clone());
        let key_folder = (!config.storage.read_only).then_some(&*opened.metadata_dir);
        let metadata = Arc::clone(opened.registry.metadata());
        let effective = opened.effective_config(config);
        let access_control = load_access_control(&effective, metadata, key_folder, Some(background)).await?;
        let access_control = Arc::new(access_control.with_memory_budget(opened.registry.memory().clone()));
        for pair in access_control.look_alikes() {
            tracing::warn!(one = pair.one, other = pair.other, "the names of two users differ only in case");
        }
        if !config.storage.read_only
            && let Some(password) = ensure_administrator(config, &access_control).await?
        {
            show_once(&password);
        }
        opened.record_login_requirement(&access_control);
        if !config.storage.read_only {
            let interrupted = opened.registry.recover().await?;
            if interrupted > 0 {
                tracing::info!(interrupted, "rolled back commits that a crash interrupted");
            }
        }
        let address = config.server.listen.0;
        let listener = bind(address).map_err(|error| StartError::Listen { address, error })?;
        let address = listener.local_addr().unwrap_or(address);
        let watch = Arc::new(Watch::new(Arc::clone(&opened)));
        let health = Arc::new(Health::new(
            Arc::clone(&opened),
            Arc::clone(&watch),
            settings.tls.clone(),
            draining.clone(),
        ));
        let operations = Operations::new(config, Arc::clone(&opened), access_control).await?;
        let of_policies = operations.retention.policy_set().in_force();
        for warning in config.warnings().iter().chain(&of_policies.warnings) {
            tracing::warn!("{warning}");
        }
        let evictor: Arc<dyn Evictor> = Arc::clone(&operations.retention) as _;
        let collector = Arc::clone(&operations.collector);
        let reclaimer = SpaceReclaimer::new(Arc::clone(&opened.registry), collector, Some(evictor));
        let operations = Arc::new(operations);
        let reclaimer = Arc::new(reclaimer);
        Ok(Self { operations, health, watch, reclaimer, settings, acme, listener, address, draining })
    }

    /// Serves until shutdown. Returns the error if a failed sync ended it.
    async fn run(self, config: &Config, background: &Handle) -> Option<SharedError> {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        self.spawn_jobs(config, &Tasks { tracker: &tasks, background, stop: &stop });
        let api = self.operations.api(Arc::clone(&self.health) as _, config.api.changes);
        self.spawn_admin(Arc::clone(&api), &tasks, &stop);
        let app = self.app(config, api);
        self.announce(config);
        listen(self.listener, app, self.settings, self.draining).await;
        stop.cancel();
        tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, tasks.wait()).await.is_err() {
            tracing::warn!("background work did not stop in time");
        }
        admin::remove(&self.operations.opened.data);
        let registry = &self.operations.opened.registry;
        registry.checkpoint_uploads(true).await;
        self.operations.scrub.shut_down().await;
        if let Err(error) = registry.flush_pulls().await {
            tracing::warn!(error = %Chain(&error), "failed to record the last pulls");
        }
        if let Err(error) = registry.flush_audit(true).await {
            tracing::warn!(error = %Chain(&error), "failed to write the end of the audit log");
        }
        let opened = Arc::clone(&self.operations.opened);
        let _ = tokio::task::spawn_blocking(move || opened.close()).await;
        tracing::info!("stopped");
        self.operations.opened.failures.first()
    }

    fn spawn_jobs(&self, config: &Config, tasks: &Tasks<'_>) {
        tasks.supervise("watch", &self.watch, watch);
        tasks.supervise("health", &self.health, check_periodically);
        tasks.spawn_job(self.operations.scrub.clone(), SCRUB_INTERVAL);
        let audit = AuditUpkeep::new(Arc::clone(&self.operations.opened.registry));
        tasks.spawn_job(Arc::new(audit), UPKEEP_INTERVAL);
        if config.storage.read_only {
            if self.acme.is_some() {
                tracing::warn!(
                    "read-only: no certificate is requested; the stored one is used until it expires"
                );
            }
            return;
        }
        if let Some(acme) = &self.acme {
            // Not in the background: on a busy machine the certificate authority would time out.
            tasks.supervise("acme", acme, |acme| async move { acme.run().await });
        }
        tasks.supervise("state", &self.operations.opened, refresh_state_periodically);
        let opened = Arc::clone(&self.operations.opened);
        let draining = self.draining.clone();
        tasks.tracker.spawn(tasks.stop.clone().run_until_cancelled_owned(async move {
            let blobs = opened.registry.blobs();
            opened.failures.wait_until_restart_is_due(&**blobs, &opened.metadata_dir).await;
            draining.cancel();
        }));
        let registry = Arc::clone(&self.operations.opened.registry);
        let repositories = RepositoryJob::new(Arc::clone(&registry), config.gc.batch.get());
        tasks.spawn_job(self.operations.collector.clone(), config.gc.interval.0);
        tasks.spawn_job(self.operations.retention.clone(), config.retention.interval.0);
        tasks.spawn_job(Arc::new(repositories), UPKEEP_INTERVAL);
        let accounts = AccountUpkeep::new(Arc::clone(&self.operations.access_control));
        tasks.spawn_job(Arc::new(accounts), ACCOUNTS_INTERVAL);
        tasks.spawn_job(Arc::new(Upkeep::new(registry)), UPKEEP_INTERVAL);
        if config.storage.budget.is_some() {
            let reclaimer = Arc::clone(&self.reclaimer);
            let token = tasks.stop.clone();
            let reclaim_space = move || {
                let reclaimer = Arc::clone(&reclaimer);
                let token = token.clone();
                async move { reclaimer.run(token).await }
            };
            // Not in the background: pushes wait for it.
            tasks.tracker.spawn(supervise("pressure", CancellationToken::new(), reclaim_space));
        }
    }

    fn spawn_admin(&self, api: Arc<Api>, tasks: &TaskTracker, stop: &CancellationToken) {
        let listener = match admin::bind(&self.operations.opened.data) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%error, "admin socket unavailable: other commands need a stopped server");
                return;
            }
        };
        let readiness = admin::readiness(Arc::clone(&self.health), self.address, self.settings.tls.is_some());
        let router = admin::router(Arc::clone(&self.operations), api).merge(readiness);
        let settings = ListenSettings {
            max_connections: 16,
            // A client suspended with ^Z may resume.
            write_timeout: Duration::from_secs(60 * 60),
            drain_timeout: Duration::from_millis(100),
            memory: self.settings.memory.clone(),
            ..ListenSettings::default()
        };
        tasks.spawn(listen(listener, router, settings, stop.clone()));
    }

    fn app(&self, config: &Config, api: Arc<Api>) -> App {
        let mut exposition = prometheus_client::registry::Registry::default();
        let metrics = Arc::new(HttpMetrics::register(&mut exposition));
        let store = StoreMetrics::new(
            Arc::clone(&self.operations),
            Arc::clone(&self.watch),
            Arc::clone(&self.reclaimer),
            config.metrics.repositories.get(),
        );
        exposition.register_collector(Box::new(store));
        exposition.register_collector(Box::new(self.operations.opened.registry.memory().clone()));
        if let Some(tls) = &self.settings.tls {
            exposition.register_collector(Box::new(CertificateMetrics(Arc::clone(tls))));
        }
        let state = AppState {
            access_control: Arc::clone(&self.operations.access_control),
            registry: Arc::clone(&self.operations.opened.registry),
            settings: http_settings(config),
            health: Arc::clone(&self.health) as _,
            metrics,
            exposition,
        };
        App::new(state, api)
    }

    fn announce(&self, config: &Config) {
        let version = env!("CARGO_PKG_VERSION");
        let data = config.storage.data.display();
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let mode = if config.storage.read_only { ", read-only" } else { "" };
        let access_control = &self.operations.access_control;
        let access = if access_control.is_open() {
            "open to anyone who can reach it: orlop user add, or auth.htpasswd, closes it"
        } else {
            "login required"
        };
        tracing::info!(
            "orlop {version} serves {data} at {scheme}://{}{mode}, {access}",
            Peer::Tcp(self.address)
        );
        // Requests through proxies are checked when they arrive.
        let alone = self.settings.tls.is_none() && config.server.trusted_proxies.is_empty();
        if !access_control.is_open() && alone && !self.address.ip().is_loopback() {
            tracing::warn!(
                "passwords are sent in clear text and anyone on the network can read them: set up TLS here \
                 or at a proxy"
            );
        }
    }
}

/// Keeps the state file in the data directory current.
async fn refresh_state_periodically(opened: Arc<Opened>) {
    loop {
        let shared = Arc::clone(&opened);
        let _ = tokio::task::spawn_blocking(move || shared.refresh_state()).await;
        tokio::time::sleep(UPKEEP_INTERVAL).await;
    }
}

/// Prints the first administrator's password to standard output. It is not logged, because logs are stored and sent
/// elsewhere.
fn show_once(password: &str) {
    let _ = writeln!(
        std::io::stdout(),
        "\n    The administrator of this registry is {ADMINISTRATOR}, with the password\n\n        \
         {password}\n\n    It is shown only once. To set another, run: orlop user password {ADMINISTRATOR}\n"
    );
}

/// Binds and listens at `address`.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
