//! Tests for starts that were interrupted, and for databases that were truncated or lost their log.

use super::*;

/// A store that required logins when it was last used, and was shut down cleanly.
struct Store {
    dir: tempfile::TempDir,
    config: Config,
}

impl Store {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.storage.data = dir.path().join("data");
        let store = Self { dir, config };
        drop(store.open().await.expect("opened"));
        let closed = StoreState { closed: true, ..store.state() };
        store.file().write(&closed).expect("written");
        store
    }

    async fn open(&self) -> Result<Opened, StartError> {
        Opened::open(&self.config, OpenMode::Serve).await
    }

    fn file(&self) -> StateFile {
        StateFile::of(&self.config.storage.data)
    }

    fn state(&self) -> StoreState {
        match self.file().read().expect("readable") {
            FoundState::Known(state) => state,
            other => panic!("{other:?}"),
        }
    }

    fn database(&self) -> PathBuf {
        Metadata::file_in(&self.config.metadata_dir())
    }

    fn log(&self) -> PathBuf {
        self.config.metadata_dir().join("orlop.db-wal")
    }

    /// Leaves the store as a killed process would.
    async fn kill(&self) {
        let opened = self.open().await.expect("opened");
        opened.failures.record("killed");
    }

    /// Makes only the first `writes` of the three writes of a start.
    async fn start_partly(&self, writes: usize) {
        if writes == 0 {
            return;
        }
        let opening = Opening::of(&self.config, OpenMode::Serve);
        let found = opening.inspect().await.expect("readable");
        assert_eq!(found.loss(), None);
        let start = found.start(false, opening.checkpoint_log(&found, false));
        let starting = StartingRun::announce(self.file(), &start).expect("announced");
        if writes == 1 {
            return;
        }
        let announced = self.state();
        let dir = self.config.metadata_dir();
        let metadata = Metadata::open(&dir, Access::ReadWrite).expect("opened");
        let failures = Arc::<Failures>::default();
        let run = starting.start(Arc::new(metadata), Arc::clone(&failures), &start).await.expect("started");
        failures.record("killed");
        drop(run);
        if writes == 2 {
            self.file().write(&announced).expect("written");
        }
    }
}

fn loss(opened: Result<Opened, StartError>) -> Option<Loss> {
    match opened {
        Ok(_) => None,
        Err(StartError::Lost { loss, .. }) => Some(loss),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn interrupted_start_is_no_loss() {
    for killed in [false, true] {
        // Each attempt may be interrupted again, at another write.
        for first in 1..=3 {
            for second in 0..=3 {
                let store = Store::new().await;
                if killed {
                    store.kill().await;
                    assert!(!store.state().clean);
                }
                for writes in [first, second, first] {
                    store.start_partly(writes).await;
                }
                let opened = store.open().await;
                drop(opened.unwrap_or_else(|error| panic!("killed {killed}, {first} and {second}: {error}")));
                assert!(store.state().clean && !store.log().exists());
            }
        }
    }
}

#[tokio::test]
async fn rejects_truncated_database() {
    let store = Store::new().await;
    let whole = fs::read(store.database()).expect("read");
    let pages = whole.len() / 4096;
    assert!(pages > 20, "{pages}");
    for page in 0..pages {
        for extra in [0, 100, 4095] {
            fs::write(store.database(), &whole[..page * 4096 + extra]).expect("written");
            assert!(loss(store.open().await).is_some(), "{page} pages and {extra} bytes");
        }
    }
    fs::write(store.database(), &whole).expect("written");
    assert_eq!(loss(store.open().await), None);
}

#[tokio::test]
async fn rejects_or_recovers_database_truncated_after_kill() {
    let store = Store::new().await;
    store.kill().await;
    let whole = read(&store.database());
    let log = read(&store.log());
    let state = store.state();
    let mut refused = 0;
    for page in 0..whole.len() / 4096 {
        fs::write(store.database(), &whole[..page * 4096]).expect("written");
        fs::write(store.log(), &log).expect("written");
        store.file().write(&state).expect("written");
        match store.open().await {
            Ok(opened) => {
                assert_eq!(opened.registry.metadata().verify().await.expect("read"), [""; 0], "{page}");
            }
            opened => {
                assert!(loss(opened).is_some());
                assert_eq!(read(&store.log()), log, "a rejected store is not changed");
                refused += 1;
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn missing_log_is_a_loss_only_after_kill() {
    let store = Store::new().await;
    assert!(store.state().clean && !store.log().exists());
    store.kill().await;
    assert!(store.state().checkpointed);
    let log = read(&store.log());
    for left in [0, 10, 32] {
        fs::write(store.log(), &log[..left]).expect("written");
        assert_eq!(loss(store.open().await), Some(Loss::Log), "{left}");
    }
    fs::remove_file(store.log()).expect("removed");
    assert_eq!(loss(store.open().await), Some(Loss::Log));
    assert_eq!(loss(store.open().await), Some(Loss::Log), "inspection creates no log");
    fs::write(store.log(), &log).expect("written");
    assert_eq!(loss(store.open().await), None);
}

#[tokio::test]
async fn interrupted_accepted_loss_must_be_accepted_again() {
    let store = Store::new().await;
    fs::remove_file(store.database()).expect("removed");
    let database = sqlite::Inspection { state: DatabaseState::Missing, has_log: false, run_in_file: None };
    let state = FoundState::Known(store.state());
    let found = Evidence { store: None, blobs: false, state, database };
    StartingRun::announce(store.file(), &found.start(true, false)).expect("announced");
    assert_eq!(loss(store.open().await), Some(Loss::Missing));
    let opened = Opened::open(&store.config, OpenMode::AcceptLoss).await.expect("opened");
    assert_eq!(opened.effective_config(&store.config).auth.mode, Some(crate::auth::AnonymousMode::Closed));
    drop(opened);
    let opened = store.open().await.expect("opened");
    assert_eq!(opened.effective_config(&store.config).auth.mode, Some(crate::auth::AnonymousMode::Closed));
    drop(opened);
    assert!(store.dir.path().exists());
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("read")
}
