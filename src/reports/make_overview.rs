//! Makes overviews for a start page, and keeps the last one of the whole registry.

use std::sync::Arc;

use super::Reports;
use super::overview::{Areas, CachedOverview, MAX_NAMED_REPOSITORIES, Overview, StoreOverview};
use crate::metadata::{LargestRepositories, Visible};
use crate::registry::ServiceError;

/// The number of days of growth in an overview.
const MAX_DAYS: usize = 31;

impl Reports {
    /// Returns an overview of the repositories in `visible`. For a client that may read everything it also covers the
    /// registry as a whole, and comes from a cache.
    ///
    /// # Errors
    /// Fails if a store can't be read.
    pub async fn overview(&self, visible: &Visible, sees_all: bool) -> Result<Arc<Overview>, ServiceError> {
        if sees_all {
            return self.whole_overview().await;
        }
        let found = self.registry.metadata().largest_visible(visible, MAX_NAMED_REPOSITORIES).await?;
        let LargestRepositories { items, others } = found;
        Ok(Arc::new(Overview { repositories: items, others, store: None }))
    }

    async fn whole_overview(&self) -> Result<Arc<Overview>, ServiceError> {
        let clock = self.registry.clock();
        // Held while the overview is made, so that other requests wait for it instead of making it again.
        let mut cached = self.overview.0.lock().await;
        let changes = self.registry.metadata().change_count();
        if let Some(found) = cached.as_ref().filter(|cached| cached.is_current(clock.elapsed(), changes)) {
            return Ok(Arc::clone(&found.overview));
        }
        let start = clock.elapsed();
        let overview = Arc::new(self.make_overview().await?);
        let made = clock.elapsed();
        let cost = made.saturating_sub(start);
        *cached = Some(CachedOverview { overview: Arc::clone(&overview), made, cost, changes });
        Ok(overview)
    }

    async fn make_overview(&self) -> Result<Overview, ServiceError> {
        let rules = self.collector.rules().await?;
        let metadata = self.registry.metadata();
        let division = metadata.space_division(&rules, MAX_NAMED_REPOSITORIES).await?;
        let stored = self.registry.stored_with(&division.totals).await?;
        let budget = self.registry.budget().await?;
        let store = StoreOverview {
            made_at: self.registry.clock().now(),
            totals: division.totals,
            repositories: division.repositories,
            other_repositories: division.other_repositories,
            areas: Areas::new(&division, &stored),
            stored,
            reclaimable: division.reclaimable,
            disk: self.registry.space().await?,
            disk_state: self.registry.space_state().await?,
            budget: budget.map(|state| (state, self.registry.budget_level(&state))),
            days: metadata.days(MAX_DAYS).await?,
        };
        let others = division.other_repositories > 0;
        Ok(Overview { repositories: division.largest, others, store: Some(store) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::jobs::retention::RetentionSettings;
    use crate::jobs::{Collector, CollectorSettings, Retention};
    use crate::metadata::suite::{Image, Scene, at, image, repo};
    use crate::metadata::{Access, Metadata, NameRange};
    use crate::oci::UploadId;
    use crate::registry::{Registry, Settings};
    use crate::reports::overview::{MAX_AGE, MIN_AGE};
    use crate::store::{BlobStore, MemoryStore};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const BLOB: u64 = 4096;

    struct Fixture {
        reports: Reports,
        scene: Scene,
        clock: Arc<ManualClock>,
        bytes: MemoryStore,
        _dir: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().expect("a folder");
        let metadata = Arc::new(Metadata::open(dir.path(), Access::ReadWrite).expect("metadata"));
        let clock = Arc::new(ManualClock::at(at(2)));
        let bytes = MemoryStore::new();
        let registry = Registry::new(
            Arc::new(bytes.clone()),
            Arc::clone(&metadata),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Settings::default(),
        );
        let rules = CollectorSettings { trash: DAY, untagged: Some(DAY), upload_expiry: DAY, batch: 100 };
        let collector = Arc::new(Collector::new(Arc::clone(&registry), rules));
        let settings = RetentionSettings { batch: 100 };
        let retention = Arc::new(Retention::new(Arc::clone(&registry), Arc::default(), settings));
        let reports = Reports::new(registry, collector, retention);
        Fixture { reports, scene: Scene::new(metadata), clock, bytes, _dir: dir }
    }

    /// Pushes an image to `to` with these blobs.
    async fn push(scene: &Scene, to: &str, name: &str, blobs: &[&str], tag: Option<&str>) {
        let mut pushed = image(name);
        for blob in blobs {
            scene.push(to, blob, 0).await;
            pushed = pushed.blob(blob);
        }
        scene.put(to, tag.into_iter().fold(pushed, Image::tag), 0).await;
    }

    #[tokio::test]
    async fn areas_add_up_to_the_disk_usage() {
        let fixture = fixture();
        let Fixture { reports, scene, bytes, .. } = &fixture;
        push(scene, "a", "one", &["base", "a1", "a2"], Some("v1")).await;
        push(scene, "b", "two", &["base", "b1"], Some("v1")).await;
        // Shared by two repositories, and only the trash keeps it in both; and one that is also in use.
        push(scene, "a", "gone", &["old", "a1", "a-old"], Some("old")).await;
        push(scene, "b", "gone", &["old"], Some("old")).await;
        scene.delete("a", "gone", 1).await;
        scene.delete("b", "gone", 1).await;
        push(scene, "b", "loose", &["loose", "b1"], None).await;
        scene.push("c", "lonely", 0).await;
        // Replaced content is pending deletion.
        scene.push("c", "lonely", 0).await;
        let staged = bytes.stage(UploadId::random(), 0).await.expect("staged");
        staged.write_at(0, vec![vec![0; 1000].into()]).await.expect("written");

        let overview = reports.overview(&Visible::all(), true).await.expect("an overview");
        let store = overview.store.as_ref().expect("the whole registry");
        let named: Vec<_> =
            overview.repositories.iter().map(|found| (found.repo.as_str(), found.bytes / BLOB)).collect();
        assert_eq!(named, [("a", 2), ("b", 1), ("c", 0)]);
        let Areas { shared, trash, untagged, leased, pending_deletion, uploads, database, .. } = store.areas;
        assert_eq!([shared, trash, untagged, leased, pending_deletion].map(|it| it / BLOB), [1, 2, 1, 1, 5]);
        assert_eq!((uploads, database > 0), (1000, true));
        assert_eq!(overview.total(), store.stored.total());
        assert_eq!(overview.total(), reports.registry.stored().await.expect("measured").total());
        assert_eq!((overview.others, store.repositories), (false, 3));
    }

    #[tokio::test]
    async fn others_are_summed() {
        let fixture = fixture();
        let Fixture { reports, scene, .. } = &fixture;
        for number in 0..MAX_NAMED_REPOSITORIES + 3 {
            push(scene, &format!("r{number}"), "m", &[&format!("blob{number}")], Some("v1")).await;
        }
        let overview = reports.overview(&Visible::all(), true).await.expect("an overview");
        let store = overview.store.as_ref().expect("the whole registry");
        assert_eq!(overview.repositories.len(), MAX_NAMED_REPOSITORIES);
        assert_eq!((store.other_repositories, store.areas.other_repositories), (3, 3 * BLOB));
        assert!(overview.others);
        assert_eq!(overview.total(), store.stored.total());
    }

    #[tokio::test]
    async fn a_user_sees_only_visible_repositories() {
        let fixture = fixture();
        let Fixture { reports, scene, .. } = &fixture;
        push(scene, "secret", "m", &["s1", "s2", "s3"], Some("v1")).await;
        push(scene, "team/a", "m", &["a1"], Some("v1")).await;
        push(scene, "team/b", "m", &["b1", "b2"], Some("v1")).await;
        let visible = Visible::from_ranges([NameRange::prefix("team/")]);
        let overview = reports.overview(&visible, false).await.expect("an overview");
        let named: Vec<_> = overview.repositories.iter().map(|found| (&found.repo, found.bytes)).collect();
        assert_eq!(named, [(&repo("team/b"), 2 * BLOB), (&repo("team/a"), BLOB)]);
        assert_eq!((overview.others, &overview.store), (false, &None));
        let nothing = reports.overview(&Visible::default(), false).await.expect("an overview");
        assert_eq!((nothing.repositories.len(), nothing.others), (0, false));
    }

    #[tokio::test]
    async fn overview_is_made_again_when_something_changed() {
        let fixture = fixture();
        let Fixture { reports, scene, clock, .. } = &fixture;
        let overview = async || reports.overview(&Visible::all(), true).await.expect("an overview");
        let first = overview().await;
        push(scene, "a", "m", &["a1"], Some("v1")).await;
        clock.advance(MIN_AGE.saturating_sub(Duration::from_millis(1)));
        assert!(Arc::ptr_eq(&first, &overview().await));
        clock.advance(Duration::from_millis(1));
        let second = overview().await;
        assert_eq!(second.repositories.len(), 1);
        clock.advance(MAX_AGE.saturating_sub(Duration::from_millis(1)));
        assert!(Arc::ptr_eq(&second, &overview().await), "nothing has changed");
        clock.advance(Duration::from_millis(1));
        assert!(!Arc::ptr_eq(&second, &overview().await));
    }
}
