//! The scenarios that every [`Metadata`] must pass. [`crate::metadata_store_suite`] makes a test of each.
//! A scenario panics if the store breaks its contract. Times are in hours.

mod accounting;
mod accounts;
mod adoption;
mod attached;
mod audit;
mod blobs;
mod browsing;
mod cascade;
mod collection;
mod events;
mod expiry;
mod history;
mod leases;
mod listing;
mod listings;
mod manifests;
mod policies;
mod quotas;
mod random;
mod repositories;
mod scene;
mod scrub;
mod snapshots;
mod totals;
mod trash;
mod undo;
mod uploads;

use std::sync::Arc;

use super::Metadata;

pub use accounting::*;
pub use accounts::*;
pub use adoption::*;
pub use attached::*;
pub use audit::*;
pub use blobs::*;
pub use browsing::*;
pub use cascade::*;
pub use collection::*;
pub use events::*;
pub use expiry::*;
pub use history::*;
pub use leases::*;
pub use listing::*;
pub use listings::*;
pub use manifests::*;
pub use policies::*;
pub use quotas::*;
pub use random::check_random_sequences;
pub use repositories::*;
pub use scene::{Image, Scene, at, digest, image, repo, rules, tag};
pub use scrub::*;
pub use snapshots::*;
pub use totals::*;
pub use trash::*;
pub use undo::*;
pub use uploads::*;

/// A place in which a store can be opened.
pub trait Fixture: Send + Sync {
    /// Opens the store as a new process would, with the data that earlier ones left.
    fn open(&self) -> Arc<Metadata>;
}

/// Creates a `#[tokio::test]` for each scenario, each with a new fixture, and one test of random sequences. After each
/// scenario, and after each step of a sequence, the store must pass its own verification.
#[macro_export]
macro_rules! metadata_store_suite {
    ($fixture:expr) => {
        #[test]
        fn guaranteed_content_is_kept_and_all_else_is_removed() {
            $crate::metadata::suite::check_random_sequences(|| $fixture);
        }

        $crate::metadata_store_suite!(@each $fixture;
            account_exists_until_removed
            team_roles_end_with_the_team
            tokens_end_by_expiry_removal_account_and_password
            bound_tokens_replace_the_least_recently_used
            sessions_end_by_request_account_and_password
            session_replaces_the_least_recently_used
            audit_entries_are_returned_newest_first
            audit_log_is_filtered
            old_audit_entries_are_deleted
            audit_entries_are_limited_per_outcome
            a_new_upload_is_found_in_its_repository
            progress_is_recorded
            an_intent_is_listed_until_it_is_forgotten
            replaced_intent_becomes_a_pending_deletion
            a_commit_consumes_the_upload_once
            a_cancelled_upload_cannot_be_committed
            cancelled_intent_becomes_a_pending_deletion
            idle_upload_is_cancelled_unless_active
            push_replaces_the_generation_and_deletes_the_old_one
            a_blob_is_served_where_it_was_pushed
            quarantined_blob_is_absent
            push_repairs_a_quarantined_blob
            other_generations_are_not_quarantined
            a_blob_is_mounted_from_a_repository
            blob_is_mounted_from_any_repository
            a_blob_is_found_in_its_repositories
            a_mount_misses_where_the_source_has_nothing
            a_deleted_blob_is_hidden
            push_unhides_a_blob
            mount_unhides_a_blob
            referenced_blob_is_not_deleted
            a_lease_is_renewed_when_it_is_stale
            referenced_blob_needs_no_lease
            manifest_is_leased_unless_an_index_lists_it
            absent_targets_are_not_leased
            unreferenced_blob_is_collected_after_its_lease
            renewed_lease_keeps_a_blob
            an_open_upload_extends_leases
            the_extension_ends_with_a_lease
            a_later_upload_extends_nothing
            an_upload_elsewhere_extends_nothing
            a_push_of_short_uploads_may_take_longer_than_a_lease
            a_changed_lease_takes_effect_at_once
            purge_grants_no_lease_if_all_leases_are_recorded
            ended_uploads_are_merged
            a_manifest_is_served_by_digest_and_tag
            missing_targets_are_reported
            target_must_match_kind_and_repository
            target_size_must_match
            many_references_are_checked_and_recorded
            an_absent_subject_is_accepted
            a_tag_moves
            a_tag_is_removed_alone
            deleting_a_manifest_removes_its_tags
            a_child_of_a_live_index_is_not_deleted
            a_subject_is_deleted_beneath_its_referrers
            pushing_again_is_idempotent
            pushing_again_checks_targets_again
            tags_are_listed_in_byte_order
            an_unknown_repository_has_no_tag_list
            repositories_with_a_live_manifest_are_listed
            referrers_are_paged
            referrers_are_filtered_by_artifact_type
            page_of_referrers_is_limited_in_bytes
            referrer_has_all_listed_fields
            a_removed_referrer_is_not_listed
            blobs_and_manifests_are_paged_for_fsck
            live_manifests_are_paged_for_exports
            tags_are_sorted
            sorted_tags_are_paged
            tags_are_sorted_by_version
            tags_are_searched
            tag_entry_describes_its_manifest
            manifest_entry_lists_tags_references_and_indexes
            repositories_are_sorted
            only_visible_repositories_are_listed
            repository_keeps_the_time_of_its_last_push
            page_of_tags_is_limited_in_bytes
            repository_entry_has_totals_and_times
            referenced_blob_is_kept
            unreferenced_blob_is_collected
            a_shared_blob_goes_with_its_last_link
            foreign_layer_is_kept_once_pushed
            an_untagged_manifest_expires
            an_overwritten_manifest_expires_after_its_tag_moved
            a_pull_keeps_an_untagged_manifest
            a_leased_manifest_does_not_expire
            untagged_manifests_can_be_kept
            referenced_manifests_do_not_expire
            an_untagged_index_expires_with_its_children
            batch_is_limited
            postponed_reviews_do_not_block_others
            a_dry_run_equals_the_real_run
            a_longer_lease_takes_effect_at_once
            manifest_is_restored_from_the_trash
            the_trash_is_emptied
            oldest_trash_comes_first
            a_restore_is_refused_when_a_target_is_gone
            a_restore_is_refused_when_a_child_is_removed
            a_restore_unhides_what_it_needs
            a_hidden_blob_is_missing_for_a_new_manifest
            a_hidden_blob_goes_with_the_trash
            a_hidden_blob_stays_for_the_trash_time
            manifest_is_restored_while_it_is_purged
            a_changed_trash_time_takes_effect_at_once
            the_trash_is_emptied_in_batches_of_any_size
            children_follow_their_index
            blobs_of_a_purged_child_are_leased
            a_tagged_child_stays
            a_child_of_another_index_stays
            a_leased_child_follows_when_its_lease_ends
            children_follow_also_when_leases_outlast_the_trash
            children_follow_in_a_busy_repository
            child_pushed_again_is_kept_as_untagged
            orphan_pushed_again_is_kept_as_untagged
            child_follows_an_index_removed_after_its_tag
            child_pushed_at_the_time_of_removal_is_kept_as_untagged
            a_child_that_lost_its_tag_later_is_kept_as_untagged
            referrers_follow_their_subject
            a_tagged_referrer_stays
            many_referrers_follow_in_batches
            purge_leases_released_blobs
            index_keeps_the_blobs_it_lists
            an_index_about_its_own_child_is_collected
            an_index_about_its_own_tagged_child_stays
            children_follow_also_where_untagged_manifests_are_kept
            quarantined_blobs_are_listed_with_their_repositories
            scrub_position_is_recorded
            every_change_of_a_tag_is_recorded
            a_history_keeps_its_newest_rows
            the_history_of_a_repository_keeps_its_newest_rows
            history_of_a_removed_tag_is_deleted
            a_tag_is_rolled_back
            manifest_replaced_by_a_rollback_expires
            rollback_restores_from_the_trash
            rollback_to_a_purged_manifest_is_rejected
            a_tag_is_restored
            an_immutable_tag_stays
            unchanged_push_is_recorded
            the_trash_is_listed
            removed_tags_are_listed
            a_removed_manifest_is_restored
            untagged_manifest_is_restored_until_it_expires
            children_are_restored_with_their_index
            incomplete_manifest_is_not_restored
            sparse_index_is_restored_without_missing_children
            purged_manifest_is_not_restored
            the_trash_is_emptied_on_request
            restore_is_recorded_in_the_history
            attached_manifests_are_restored_with_their_image
            attachments_of_children_are_restored_with_the_index
            reused_attached_tag_is_not_overwritten
            attachments_removed_separately_are_not_restored
            attached_tag_is_restored_to_a_live_manifest
            attached_manifests_are_restored_with_a_tag
            attached_manifests_are_restored_from_a_deleted_repository
            expiring_a_tag_removes_its_manifest
            a_tag_that_changed_does_not_expire
            a_tag_that_was_pulled_does_not_expire
            referenced_manifest_outlives_its_tag
            tag_does_not_expire_during_a_push
            one_of_several_tags_expires_during_a_push
            restored_tag_expires
            a_tag_does_not_expire_during_a_long_push
            untagged_manifest_does_not_expire_during_a_push
            an_untagged_manifest_is_expired
            pinned_manifest_expires_if_its_pin_is_ignored
            snapshot_has_all_data_that_rules_use
            snapshot_has_the_requested_number_of_past_digests
            known_details_stay_known
            config_details_are_recorded_with_the_blob
            snapshot_has_only_requested_details
            incomplete_config_is_reported_as_unread
            a_pinned_manifest_outlives_its_tag
            adding_pins_keeps_existing_pins
            pinned_manifest_survives_the_expiry_of_its_tag
            purge_keeps_pinned_manifests
            last_evaluation_is_recorded
            policies_are_recorded_with_their_history
            runs_are_listed_newest_first
            damage_and_repair_are_events
            unchanged_blob_state_is_not_an_event
            policy_changes_and_runs_are_events
            repository_changes_are_events
            each_new_state_is_an_event
            events_are_listed_by_kind_and_page
            old_events_are_deleted
            events_are_limited_per_kind
            recent_changes_are_listed_newest_first
            only_events_of_visible_repositories_are_listed
            latest_pushes_are_listed
            changed_repositories_are_listed
            exclusive_space_is_listed
            namespaces_form_a_tree
            search_finds_names_tags_and_digests
            untagged_manifests_are_listed
            tags_that_share_a_blob_are_counted
            sizes_of_contents_are_summed
            tag_is_listed_with_its_author_and_aliases
            a_description_stays_with_its_repository
            repository_is_deleted_and_restored
            earlier_deletion_is_restored
            a_push_survives_the_deletion_of_its_repository
            running_deletion_is_undone
            manifests_that_cannot_be_removed_or_restored_are_counted
            a_repository_is_renamed
            an_emptied_repository_is_replaced
            a_repository_with_an_immutable_tag_is_not_renamed
            upload_stays_with_the_old_name
            empty_repository_is_forgotten
            totals_are_kept_current
            totals_follow_a_blob_of_another_size
            usage_is_reported_by_scope
            usage_is_reported_by_prefix
            measured_size_replaces_the_estimate
            each_day_is_recorded_once
            reclaimable_space_is_reported
            hidden_blob_is_reclaimable_once
            reclaimable_space_is_reported_by_scope
            blobs_shared_outside_the_scope_are_not_reclaimable
            predicted_bytes_are_freed
            shared_blobs_are_not_freed
            children_and_referrers_are_freed_too
            blob_kept_by_two_categories_counts_in_neither
            few_and_many_manifests_are_predicted_the_same
            few_and_many_leases_are_reported_the_same
            manifest_is_found_in_all_its_repositories
            why_manifest_reports_what_keeps_it
            why_blob_reports_what_keeps_it
            coldest_and_biggest_are_listed
            byte_quota_is_enforced
            tag_quota_is_enforced
            quota_applies_to_its_scope
            quotas_are_replaced
            byte_quota_counts_manifests
            repository_quota_is_enforced
            quotas_apply_to_restores_and_renames
            content_over_a_new_quota_stays
            stored_content_is_counted
            scope_is_reclaimed_ahead_of_time
            a_store_is_bound_once
            recorded_time_is_returned
            times_follow_a_jump_of_the_clock
            past_uploads_are_merged_after_a_jump_of_the_clock
            tidying_changes_nothing
            planned_blobs_are_adopted_or_abandoned
            a_copy_heals_a_quarantined_blob
            missing_blobs_are_not_linked
            unverified_blob_is_missing_for_pushes
            what_an_adopted_manifest_lacks_is_optional
            adopted_manifest_is_held_until_release
            children_of_a_deleted_adopted_index_follow
            adopted_tag_has_its_history
            later_change_of_a_tag_counts
            hardlinked_bytes_are_not_freed
            the_adoption_is_recorded
        );
    };
    (@each $fixture:expr; $($scenario:ident)*) => {
        $(
            #[tokio::test]
            async fn $scenario() {
                use $crate::metadata::suite::Fixture;
                let fixture = $fixture;
                let scene = $crate::metadata::suite::Scene::new(fixture.open());
                $crate::metadata::suite::$scenario(&scene).await;
                scene.assert_consistent().await;
            }
        )*
    };
}
