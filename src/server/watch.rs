//! Watches how much room is left: warns early, and trims the ballast.

use std::sync::Arc;
use std::time::Duration;

use super::ballast::{Ballast, Change};
use super::open::Opened;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// How the disk was at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ample,
    Low,
    Full,
    Unknown,
}

/// Watches for ever.
pub(super) async fn watch(opened: Arc<Opened>) {
    let ballast = Arc::new(Ballast::new(&opened.metadata_dir));
    let mut before = Level::Ample;
    loop {
        trim(&ballast).await;
        before = look(&opened, before).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn trim(ballast: &Arc<Ballast>) {
    let ballast = Arc::clone(ballast);
    match tokio::task::spawn_blocking(move || ballast.trim()).await {
        Ok(Ok(Change::Dropped)) => tracing::warn!("the disk is nearly full: the database's reserve was released"),
        Ok(Ok(Change::Taken)) => tracing::debug!("room was set aside for the database"),
        Ok(Ok(Change::None)) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "no room could be set aside for the database"),
    }
}

async fn look(opened: &Opened, before: Level) -> Level {
    let settings = opened.registry.settings();
    let space = opened.registry.blobs().space().await;
    let free = space.as_ref().map_or(0, |space| space.free);
    let level = match space {
        Err(_) => Level::Unknown,
        Ok(_) if free < settings.min_free => Level::Full,
        Ok(_) if free < settings.warn_free => Level::Low,
        Ok(_) => Level::Ample,
    };
    if level != before {
        tell(level, free, &opened.data.display());
    }
    level
}

fn tell(level: Level, free: u64, data: &dyn std::fmt::Display) {
    let free_mib = free >> 20;
    match level {
        Level::Ample => tracing::info!(free_mib, "there is room on the disk again"),
        Level::Low => tracing::warn!(free_mib, "the disk is getting full"),
        Level::Full => tracing::error!(free_mib, "the disk is full: pushes are refused until there is room"),
        Level::Unknown => tracing::error!(%data, "the data directory cannot be looked at"),
    }
}
