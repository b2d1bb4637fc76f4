//! The operations that a fault can be injected into.

/// An operation of the metadata store, named after the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`crate::metadata::Metadata::create_upload`]
    CreateUpload,
    /// [`crate::metadata::Metadata::upload`]
    Upload,
    /// [`crate::metadata::Metadata::record_progress`]
    RecordProgress,
    /// [`crate::metadata::Metadata::record_intent`]
    RecordIntent,
    /// [`crate::metadata::Metadata::forget_intent`]
    ForgetIntent,
    /// [`crate::metadata::Metadata::commit_upload`]
    CommitUpload,
    /// [`crate::metadata::Metadata::cancel_upload`]
    CancelUpload,
    /// [`crate::metadata::Metadata::idle_uploads`]
    IdleUploads,
    /// [`crate::metadata::Metadata::upload_status`]
    UploadStatus,
    /// [`crate::metadata::Metadata::intended_uploads`]
    IntendedUploads,
    /// [`crate::metadata::Metadata::blob`]
    Blob,
    /// [`crate::metadata::Metadata::renew_lease`]
    RenewLease,
    /// [`crate::metadata::Metadata::mount_blob`]
    MountBlob,
    /// [`crate::metadata::Metadata::blob_repositories`]
    BlobRepositories,
    /// [`crate::metadata::Metadata::delete_blob`]
    DeleteBlob,
    /// [`crate::metadata::Metadata::mark_blob`]
    MarkBlob,
    /// [`crate::metadata::Metadata::manifest`]
    Manifest,
    /// [`crate::metadata::Metadata::put_manifest`]
    PutManifest,
    /// [`crate::metadata::Metadata::has_config_details`]
    HasConfigDetails,
    /// [`crate::metadata::Metadata::delete_manifest`]
    DeleteManifest,
    /// [`crate::metadata::Metadata::delete_tag`]
    DeleteTag,
    /// [`crate::metadata::Metadata::fill_version_keys`]
    FillVersionKeys,
    /// [`crate::metadata::Metadata::tags`]
    Tags,
    /// [`crate::metadata::Metadata::referrers`]
    Referrers,
    /// [`crate::metadata::Metadata::repositories`]
    Repositories,
    /// [`crate::metadata::Metadata::repository_exists`]
    RepositoryExists,
    /// [`crate::metadata::Metadata::record_pulls`]
    RecordPulls,
    /// [`crate::metadata::Metadata::list_repositories`]
    ListRepositories,
    /// [`crate::metadata::Metadata::repository_names`]
    RepositoryNames,
    /// [`crate::metadata::Metadata::repository_entry`]
    RepositoryEntry,
    /// [`crate::metadata::Metadata::list_tags`]
    ListTags,
    /// [`crate::metadata::Metadata::tag_entry`]
    TagEntry,
    /// [`crate::metadata::Metadata::manifest_entry`]
    ManifestEntry,
    /// [`crate::metadata::Metadata::content_size`]
    ContentSize,
    /// [`crate::metadata::Metadata::recent_changes`]
    RecentChanges,
    /// [`crate::metadata::Metadata::untagged_manifests`]
    UntaggedManifests,
    /// [`crate::metadata::Metadata::namespaces`]
    Namespaces,
    /// [`crate::metadata::Metadata::search`]
    Search,
    /// [`crate::metadata::Metadata::tags_sharing`]
    TagsSharing,
    /// [`crate::metadata::Metadata::content_sizes`]
    ContentSizes,
    /// [`crate::metadata::Metadata::tag_history`]
    TagHistory,
    /// [`crate::metadata::Metadata::rollback`]
    Rollback,
    /// [`crate::metadata::Metadata::restore_tag`]
    RestoreTag,
    /// [`crate::metadata::Metadata::forget_history`]
    ForgetHistory,
    /// [`crate::metadata::Metadata::record_pushes`]
    RecordPushes,
    /// [`crate::metadata::Metadata::record_state`]
    RecordState,
    /// [`crate::metadata::Metadata::events`]
    Events,
    /// [`crate::metadata::Metadata::visible_events`]
    VisibleEvents,
    /// [`crate::metadata::Metadata::recent_pushes`]
    RecentPushes,
    /// [`crate::metadata::Metadata::forget_events`]
    ForgetEvents,
    /// [`crate::metadata::Metadata::removed_manifests`]
    RemovedManifests,
    /// [`crate::metadata::Metadata::removed_tags`]
    RemovedTags,
    /// [`crate::metadata::Metadata::restore_manifest`]
    RestoreManifest,
    /// [`crate::metadata::Metadata::empty_trash`]
    EmptyTrash,
    /// [`crate::metadata::Metadata::oldest_trash`]
    OldestTrash,
    /// [`crate::metadata::Metadata::expire_tag`]
    ExpireTag,
    /// [`crate::metadata::Metadata::expire_manifest`]
    ExpireManifest,
    /// [`crate::metadata::Metadata::rename_repository`]
    RenameRepository,
    /// [`crate::metadata::Metadata::set_description`]
    SetDescription,
    /// [`crate::metadata::Metadata::start_deletion`]
    StartDeletion,
    /// [`crate::metadata::Metadata::start_restoration`]
    StartRestoration,
    /// [`crate::metadata::Metadata::repository_work`]
    RepositoryWork,
    /// [`crate::metadata::Metadata::advance_repository`]
    AdvanceRepository,
    /// [`crate::metadata::Metadata::forget_empty_repositories`]
    ForgetRepositories,
    /// [`crate::metadata::Metadata::retention_snapshot`]
    RetentionSnapshot,
    /// [`crate::metadata::Metadata::set_pins`]
    SetPins,
    /// [`crate::metadata::Metadata::add_pins`]
    AddPins,
    /// [`crate::metadata::Metadata::pin`]
    Pin,
    /// [`crate::metadata::Metadata::record_evaluation`]
    RecordEvaluation,
    /// [`crate::metadata::Metadata::last_evaluation`]
    LastEvaluation,
    /// [`crate::metadata::Metadata::policies`]
    Policies,
    /// [`crate::metadata::Metadata::set_policy`]
    SetPolicy,
    /// [`crate::metadata::Metadata::remove_policy`]
    RemovePolicy,
    /// [`crate::metadata::Metadata::policy_history`]
    PolicyHistory,
    /// [`crate::metadata::Metadata::record_retention_run`]
    RecordRetentionRun,
    /// [`crate::metadata::Metadata::retention_runs`]
    RetentionRuns,
    /// [`crate::metadata::Metadata::review_manifests`]
    ReviewManifests,
    /// [`crate::metadata::Metadata::expire_trash`]
    ExpireTrash,
    /// [`crate::metadata::Metadata::purge_manifests`]
    PurgeManifests,
    /// [`crate::metadata::Metadata::review_links`]
    ReviewLinks,
    /// [`crate::metadata::Metadata::pending_deletions`]
    PendingDeletions,
    /// [`crate::metadata::Metadata::forget_pending_deletions`]
    ForgetPendingDeletions,
    /// [`crate::metadata::Metadata::dry_run`]
    DryRun,
    /// [`crate::metadata::Metadata::scrub_position`]
    ScrubPosition,
    /// [`crate::metadata::Metadata::record_scrub_position`]
    RecordScrubPosition,
    /// [`crate::metadata::Metadata::quarantined_blobs`]
    QuarantinedBlobs,
    /// [`crate::metadata::Metadata::count_quarantined`]
    CountQuarantined,
    /// [`crate::metadata::Metadata::bind_store`]
    BindStore,
    /// [`crate::metadata::Metadata::recorded_time`]
    RecordedTime,
    /// [`crate::metadata::Metadata::record_time`]
    RecordTime,
    /// [`crate::metadata::Metadata::apply_clock_jump`]
    ApplyClockJump,
    /// [`crate::metadata::Metadata::totals`]
    Totals,
    /// [`crate::metadata::Metadata::blobs_after`]
    BlobsAfter,
    /// [`crate::metadata::Metadata::stored_blob`]
    StoredBlob,
    /// [`crate::metadata::Metadata::manifests_after`]
    ManifestsAfter,
    /// [`crate::metadata::Metadata::live_manifests`]
    LiveManifests,
    /// [`crate::metadata::Metadata::edges_of`]
    EdgesOf,
    /// [`crate::metadata::Metadata::verify`]
    Verify,
    /// [`crate::metadata::Metadata::copy_to`]
    CopyTo,
    /// [`crate::metadata::Metadata::tidy`]
    Tidy,
    /// [`crate::metadata::Metadata::check`]
    Check,
    /// [`crate::metadata::Metadata::unmeasured`]
    Unmeasured,
    /// [`crate::metadata::Metadata::record_allocated`]
    RecordAllocated,
    /// [`crate::metadata::Metadata::own_size`]
    OwnSize,
    /// [`crate::metadata::Metadata::usage`]
    Usage,
    /// [`crate::metadata::Metadata::biggest_repositories`]
    BiggestRepositories,
    /// [`crate::metadata::Metadata::biggest_prefixes`]
    BiggestPrefixes,
    /// [`crate::metadata::Metadata::biggest_blobs`]
    BiggestBlobs,
    /// [`crate::metadata::Metadata::coldest_tags`]
    ColdestTags,
    /// [`crate::metadata::Metadata::reclaimable_summary`]
    ReclaimableSummary,
    /// [`crate::metadata::Metadata::would_free`]
    WouldFree,
    /// [`crate::metadata::Metadata::why_manifest`]
    WhyManifest,
    /// [`crate::metadata::Metadata::manifest_repositories`]
    ManifestRepositories,
    /// [`crate::metadata::Metadata::why_blob`]
    WhyBlob,
    /// [`crate::metadata::Metadata::space_division`]
    SpaceDivision,
    /// [`crate::metadata::Metadata::largest_visible`]
    LargestVisible,
    /// [`crate::metadata::Metadata::record_day`]
    RecordDay,
    /// [`crate::metadata::Metadata::days`]
    Days,
    /// [`crate::metadata::Metadata::changed_repositories`]
    ChangedRepositories,
    /// [`crate::metadata::Metadata::last_tag_change`]
    LastTagChange,
    /// [`crate::metadata::Metadata::set_quotas`]
    SetQuotas,
    /// [`crate::metadata::Metadata::quotas`]
    Quotas,
    /// [`crate::metadata::Metadata::measure_quotas`]
    MeasureQuotas,
    /// [`crate::metadata::Metadata::is_counted`]
    IsCounted,
    /// [`crate::metadata::Metadata::reclaim_now`]
    ReclaimNow,
    /// [`crate::metadata::Metadata::accounts`]
    Accounts,
    /// [`crate::metadata::Metadata::change_accounts`]
    ChangeAccounts,
    /// [`crate::metadata::Metadata::record_token_uses`]
    RecordTokenUses,
    /// [`crate::metadata::Metadata::forget_tokens`]
    ForgetTokens,
    /// [`crate::metadata::Metadata::record_session_uses`]
    RecordSessionUses,
    /// [`crate::metadata::Metadata::forget_sessions`]
    ForgetSessions,
    /// [`crate::metadata::Metadata::record_audit`]
    RecordAudit,
    /// [`crate::metadata::Metadata::audit`]
    Audit,
    /// [`crate::metadata::Metadata::forget_audit`]
    ForgetAudit,
    /// [`crate::metadata::Metadata::plan_blobs`]
    PlanBlobs,
    /// [`crate::metadata::Metadata::adopt_blobs`]
    AdoptBlobs,
    /// [`crate::metadata::Metadata::abandon_adopting`]
    AbandonAdopting,
    /// [`crate::metadata::Metadata::adopting_keys`]
    AdoptingKeys,
    /// [`crate::metadata::Metadata::adopt_links`]
    AdoptLinks,
    /// [`crate::metadata::Metadata::adopt_manifest`]
    AdoptManifest,
    /// [`crate::metadata::Metadata::adopt_tag`]
    AdoptTag,
    /// [`crate::metadata::Metadata::adoption`]
    Adoption,
    /// [`crate::metadata::Metadata::record_adoption`]
    RecordAdoption,
    /// [`crate::metadata::Metadata::adoption_figures`]
    AdoptionFigures,
    /// [`crate::metadata::Metadata::next_unverified`]
    NextUnverified,
    /// [`crate::metadata::Metadata::unverified_among`]
    UnverifiedAmong,
    /// [`crate::metadata::Metadata::mark_verified`]
    MarkVerified,
    /// [`crate::metadata::Metadata::release_held`]
    ReleaseHeld,
    /// [`crate::metadata::Metadata::clear_hardlinked`]
    ClearHardlinked,
    /// [`crate::metadata::Metadata::has_hardlinked`]
    HasHardlinked,
    /// [`crate::metadata::Metadata::removal_effect`]
    RemovalEffect,
    /// [`crate::metadata::Metadata::purge_from_trash`]
    PurgeFromTrash,
}
