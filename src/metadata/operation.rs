//! The operations that a fault can be injected into.

/// An operation of the metadata store, named after the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`crate::metadata::Uploads::create_upload`]
    CreateUpload,
    /// [`crate::metadata::Uploads::upload`]
    Upload,
    /// [`crate::metadata::Uploads::record_progress`]
    RecordProgress,
    /// [`crate::metadata::Uploads::record_intent`]
    RecordIntent,
    /// [`crate::metadata::Uploads::forget_intent`]
    ForgetIntent,
    /// [`crate::metadata::Uploads::commit_upload`]
    CommitUpload,
    /// [`crate::metadata::Uploads::cancel_upload`]
    CancelUpload,
    /// [`crate::metadata::Uploads::idle_uploads`]
    IdleUploads,
    /// [`crate::metadata::Uploads::upload_status`]
    UploadStatus,
    /// [`crate::metadata::Uploads::intended_uploads`]
    IntendedUploads,
    /// [`crate::metadata::Blobs::blob`]
    Blob,
    /// [`crate::metadata::Blobs::renew_lease`]
    RenewLease,
    /// [`crate::metadata::Blobs::mount_blob`]
    MountBlob,
    /// [`crate::metadata::Blobs::blob_repositories`]
    BlobRepositories,
    /// [`crate::metadata::Blobs::delete_blob`]
    DeleteBlob,
    /// [`crate::metadata::Blobs::mark_blob`]
    MarkBlob,
    /// [`crate::metadata::Manifests::manifest`]
    Manifest,
    /// [`crate::metadata::Manifests::put_manifest`]
    PutManifest,
    /// [`crate::metadata::Manifests::has_config_details`]
    HasConfigDetails,
    /// [`crate::metadata::Manifests::delete_manifest`]
    DeleteManifest,
    /// [`crate::metadata::Manifests::delete_tag`]
    DeleteTag,
    /// [`crate::metadata::Manifests::tags`]
    Tags,
    /// [`crate::metadata::Manifests::referrers`]
    Referrers,
    /// [`crate::metadata::Manifests::repositories`]
    Repositories,
    /// [`crate::metadata::Manifests::repository_exists`]
    RepositoryExists,
    /// [`crate::metadata::Manifests::record_pulls`]
    RecordPulls,
    /// [`crate::metadata::Listings::list_repositories`]
    ListRepositories,
    /// [`crate::metadata::Listings::repository_names`]
    RepositoryNames,
    /// [`crate::metadata::Listings::repository_entry`]
    RepositoryEntry,
    /// [`crate::metadata::Listings::list_tags`]
    ListTags,
    /// [`crate::metadata::Listings::tag_entry`]
    TagEntry,
    /// [`crate::metadata::Listings::manifest_entry`]
    ManifestEntry,
    /// [`crate::metadata::History::tag_history`]
    TagHistory,
    /// [`crate::metadata::History::rollback`]
    Rollback,
    /// [`crate::metadata::History::restore_tag`]
    RestoreTag,
    /// [`crate::metadata::History::forget_history`]
    ForgetHistory,
    /// [`crate::metadata::History::record_pushes`]
    RecordPushes,
    /// [`crate::metadata::Events::record_state`]
    RecordState,
    /// [`crate::metadata::Events::events`]
    Events,
    /// [`crate::metadata::Events::forget_events`]
    ForgetEvents,
    /// [`crate::metadata::Trash::removed_manifests`]
    RemovedManifests,
    /// [`crate::metadata::Trash::removed_tags`]
    RemovedTags,
    /// [`crate::metadata::Trash::restore_manifest`]
    RestoreManifest,
    /// [`crate::metadata::Trash::empty_trash`]
    EmptyTrash,
    /// [`crate::metadata::Trash::oldest_trash`]
    OldestTrash,
    /// [`crate::metadata::Expiry::expire_tag`]
    ExpireTag,
    /// [`crate::metadata::Expiry::expire_manifest`]
    ExpireManifest,
    /// [`crate::metadata::RepositoryChanges::rename_repository`]
    RenameRepository,
    /// [`crate::metadata::RepositoryChanges::start_deletion`]
    StartDeletion,
    /// [`crate::metadata::RepositoryChanges::start_restoration`]
    StartRestoration,
    /// [`crate::metadata::RepositoryChanges::repository_work`]
    RepositoryWork,
    /// [`crate::metadata::RepositoryChanges::advance_repository`]
    AdvanceRepository,
    /// [`crate::metadata::RepositoryChanges::forget_empty_repositories`]
    ForgetRepositories,
    /// [`crate::metadata::Snapshots::retention_snapshot`]
    RetentionSnapshot,
    /// [`crate::metadata::Pins::set_pins`]
    SetPins,
    /// [`crate::metadata::Pins::add_pins`]
    AddPins,
    /// [`crate::metadata::Pins::pin`]
    Pin,
    /// [`crate::metadata::Pins::record_evaluation`]
    RecordEvaluation,
    /// [`crate::metadata::Pins::last_evaluation`]
    LastEvaluation,
    /// [`crate::metadata::PolicyRecords::policies`]
    Policies,
    /// [`crate::metadata::PolicyRecords::set_policy`]
    SetPolicy,
    /// [`crate::metadata::PolicyRecords::remove_policy`]
    RemovePolicy,
    /// [`crate::metadata::PolicyRecords::policy_history`]
    PolicyHistory,
    /// [`crate::metadata::RetentionRuns::record_retention_run`]
    RecordRetentionRun,
    /// [`crate::metadata::RetentionRuns::retention_runs`]
    RetentionRuns,
    /// [`crate::metadata::Collection::review_manifests`]
    ReviewManifests,
    /// [`crate::metadata::Collection::expire_trash`]
    ExpireTrash,
    /// [`crate::metadata::Collection::purge_manifests`]
    PurgeManifests,
    /// [`crate::metadata::Collection::review_links`]
    ReviewLinks,
    /// [`crate::metadata::Collection::pending_deletions`]
    PendingDeletions,
    /// [`crate::metadata::Collection::forget_pending_deletions`]
    ForgetPendingDeletions,
    /// [`crate::metadata::Collection::dry_run`]
    DryRun,
    /// [`crate::metadata::Scrubbing::scrub_position`]
    ScrubPosition,
    /// [`crate::metadata::Scrubbing::record_scrub_position`]
    RecordScrubPosition,
    /// [`crate::metadata::Scrubbing::quarantined_blobs`]
    QuarantinedBlobs,
    /// [`crate::metadata::Scrubbing::count_quarantined`]
    CountQuarantined,
    /// [`crate::metadata::Maintenance::bind_store`]
    BindStore,
    /// [`crate::metadata::Maintenance::recorded_time`]
    RecordedTime,
    /// [`crate::metadata::Maintenance::record_time`]
    RecordTime,
    /// [`crate::metadata::Maintenance::apply_clock_jump`]
    ApplyClockJump,
    /// [`crate::metadata::Maintenance::totals`]
    Totals,
    /// [`crate::metadata::Maintenance::blobs_after`]
    BlobsAfter,
    /// [`crate::metadata::Maintenance::stored_blob`]
    StoredBlob,
    /// [`crate::metadata::Maintenance::manifests_after`]
    ManifestsAfter,
    /// [`crate::metadata::Maintenance::edges_of`]
    EdgesOf,
    /// [`crate::metadata::Maintenance::verify`]
    Verify,
    /// [`crate::metadata::Maintenance::copy_to`]
    CopyTo,
    /// [`crate::metadata::Maintenance::tidy`]
    Tidy,
    /// [`crate::metadata::Maintenance::check`]
    Check,
    /// [`crate::metadata::Accounting::unmeasured`]
    Unmeasured,
    /// [`crate::metadata::Accounting::record_allocated`]
    RecordAllocated,
    /// [`crate::metadata::Accounting::own_size`]
    OwnSize,
    /// [`crate::metadata::Accounting::usage`]
    Usage,
    /// [`crate::metadata::Accounting::biggest_repositories`]
    BiggestRepositories,
    /// [`crate::metadata::Accounting::biggest_prefixes`]
    BiggestPrefixes,
    /// [`crate::metadata::Accounting::biggest_blobs`]
    BiggestBlobs,
    /// [`crate::metadata::Accounting::coldest_tags`]
    ColdestTags,
    /// [`crate::metadata::Accounting::reclaimable_summary`]
    ReclaimableSummary,
    /// [`crate::metadata::Accounting::would_free`]
    WouldFree,
    /// [`crate::metadata::Accounting::why_manifest`]
    WhyManifest,
    /// [`crate::metadata::Accounting::manifest_repositories`]
    ManifestRepositories,
    /// [`crate::metadata::Accounting::why_blob`]
    WhyBlob,
    /// [`crate::metadata::Accounting::record_day`]
    RecordDay,
    /// [`crate::metadata::Accounting::days`]
    Days,
    /// [`crate::metadata::Quotas::set_quotas`]
    SetQuotas,
    /// [`crate::metadata::Quotas::quotas`]
    Quotas,
    /// [`crate::metadata::Quotas::measure_quotas`]
    MeasureQuotas,
    /// [`crate::metadata::Quotas::is_counted`]
    IsCounted,
    /// [`crate::metadata::Quotas::reclaim_now`]
    ReclaimNow,
    /// [`crate::metadata::Accounts::accounts`]
    Accounts,
    /// [`crate::metadata::Accounts::change_accounts`]
    ChangeAccounts,
    /// [`crate::metadata::Accounts::record_token_uses`]
    RecordTokenUses,
    /// [`crate::metadata::Accounts::forget_tokens`]
    ForgetTokens,
    /// [`crate::metadata::AuditLog::record_audit`]
    RecordAudit,
    /// [`crate::metadata::AuditLog::audit`]
    Audit,
    /// [`crate::metadata::AuditLog::forget_audit`]
    ForgetAudit,
}
