//! Reviews links: removes links that nothing holds, and blobs with their last link.

use crate::clock::Timestamp;
use crate::metadata::ops::gc::liveness::Review;
use crate::metadata::ops::gc::review::{Entry, ReviewOutcome};
use crate::metadata::ops::gc::{liveness, review};
use crate::metadata::ops::{accounting, blobs, details};
use crate::metadata::sql::{Connection, OptionalExtension, params};
use crate::metadata::{CollectionRules, sql};

struct Link {
    leased_at: Timestamp,
    hidden_at: Option<Timestamp>,
}

fn find_link(c: &dyn Connection, entry: &Entry) -> sql::Result<Option<Link>> {
    c.prepare_cached("SELECT leased_at, hidden_at FROM links WHERE repo = ?1 AND digest = ?2")?
        .query_row(params![entry.repo, entry.digest], |row| {
            Ok(Link { leased_at: row.get(0)?, hidden_at: row.get(1)? })
        })
        .optional()
}

pub(in crate::metadata) fn review_link(
    c: &dyn Connection,
    entry: &Entry,
    rules: &CollectionRules,
) -> sql::Result<ReviewOutcome> {
    let Some(link) = find_link(c, entry)? else {
        return Ok(ReviewOutcome::Dequeue);
    };
    if liveness::is_blob_held(c, entry.repo, &entry.digest)? {
        return Ok(ReviewOutcome::Dequeue);
    }
    if let Some(hidden_at) = link.hidden_at {
        liveness::queue(c, Review::HiddenLink, entry.repo, &entry.digest, hidden_at)?;
        return Ok(ReviewOutcome::Dequeue);
    }
    if liveness::is_leased(c, entry.repo, link.leased_at, rules)? {
        return Ok(ReviewOutcome::Postpone(
            link.leased_at.max(review::recheck_time(rules.lease_cutoff(), rules)),
        ));
    }
    delete_link(c, entry)?;
    Ok(ReviewOutcome::Removed)
}

pub(in crate::metadata) fn review_hidden_link(
    c: &dyn Connection,
    entry: &Entry,
    rules: &CollectionRules,
) -> sql::Result<ReviewOutcome> {
    let Some(Link { hidden_at: Some(hidden_at), .. }) = find_link(c, entry)? else {
        return Ok(ReviewOutcome::Dequeue);
    };
    // Its holder is in the trash. Purging the holder queues the link again.
    if liveness::is_blob_held(c, entry.repo, &entry.digest)? {
        return Ok(ReviewOutcome::Dequeue);
    }
    if hidden_at > rules.trash_cutoff() {
        return Ok(ReviewOutcome::Postpone(hidden_at));
    }
    delete_link(c, entry)?;
    Ok(ReviewOutcome::Removed)
}

/// Deletes a link. If it was the blob's last link, also deletes the blob's record and schedules its key for deletion.
fn delete_link(c: &dyn Connection, entry: &Entry) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM links WHERE repo = ?1 AND digest = ?2")?
        .execute(params![entry.repo, entry.digest])?;
    if accounting::change_links(c, entry.repo, &entry.digest, -1)? > 0 {
        return Ok(());
    }
    if let Some(size) = blobs::doom(c, &entry.digest)? {
        c.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?.execute([&entry.digest])?;
        accounting::change_blobs(c, size, -1)?;
    }
    details::remove_config(c, &entry.digest)
}
