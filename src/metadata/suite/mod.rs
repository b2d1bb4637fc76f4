//! The scenarios that every [`MetadataStore`] runs, each a test of its own by
//! [`crate::metadata_store_suite`]. They panic where a store does not keep its promises. Time is told in
//! hours.

mod accounting;
mod accounts;
mod attached;
mod audit;
mod blobs;
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
mod repositories;
mod scene;
mod scrub;
mod snapshots;
mod totals;
mod trash;
mod undo;
mod uploads;

use std::sync::Arc;

use super::MetadataStore;

pub use accounting::*;
pub use accounts::*;
pub use attached::*;
pub use audit::*;
pub use blobs::*;
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
pub use repositories::*;
pub use scene::{Image, Scene, at, digest, image, repo, rules, tag};
pub use scrub::*;
pub use snapshots::*;
pub use totals::*;
pub use trash::*;
pub use undo::*;
pub use uploads::*;

/// A medium that stores can be opened on.
pub trait Fixture: Send + Sync {
    /// Opens the store as a new process would, with what earlier ones left.
    fn open(&self) -> Arc<dyn MetadataStore>;
}

/// Makes a `#[tokio::test]` of each scenario, each with a new fixture; after each the store must verify.
#[macro_export]
macro_rules! metadata_store_suite {
    ($fixture:expr) => {
        $crate::metadata_store_suite!(@each $fixture;
            an_account_is_there_until_it_is_removed
            what_a_team_has_ends_with_it
            tokens_end
            tokens_make_room_for_others_of_their_kind
            what_was_audited_is_told
            the_audit_log_is_searched
            old_audit_entries_are_forgotten
            audit_entries_are_bounded_for_each_outcome
            a_new_upload_is_found_in_its_repository
            progress_is_noted
            an_intent_is_listed_until_it_is_forgotten
            an_intent_that_is_replaced_is_doomed
            a_commit_consumes_the_upload_once
            a_cancelled_upload_cannot_be_committed
            a_cancelled_intent_is_doomed
            an_idle_upload_is_cancelled_unless_it_was_touched
            a_push_replaces_the_generation_and_dooms_the_old_one
            a_blob_is_served_where_it_was_pushed
            a_damaged_blob_is_absent
            a_push_heals_a_damaged_blob
            another_generation_is_not_marked
            a_blob_is_mounted_from_a_repository
            a_blob_is_mounted_from_anywhere
            a_blob_is_found_in_its_repositories
            a_mount_misses_where_the_source_has_nothing
            a_deleted_blob_is_hidden
            a_push_unhides
            a_mount_unhides
            a_held_blob_is_not_deleted
            a_lease_is_renewed_when_it_is_stale
            a_held_blob_needs_no_lease
            a_manifest_is_leased_unless_it_is_held
            nothing_absent_is_leased
            a_lease_ends
            a_renewed_lease_keeps
            an_open_upload_extends_leases
            the_extension_ends_with_a_lease
            a_later_upload_extends_nothing
            an_upload_elsewhere_extends_nothing
            a_push_of_short_uploads_may_take_longer_than_a_lease
            a_changed_lease_takes_effect_at_once
            a_purge_leases_nothing_where_every_lease_is_written_down
            past_uploads_are_put_together
            a_manifest_is_served_by_digest_and_tag
            missing_targets_are_named
            a_target_must_be_of_its_kind_and_repository
            a_target_must_have_its_size
            an_absent_subject_is_accepted
            a_tag_moves
            a_tag_is_removed_alone
            a_deleted_manifest_takes_its_tags_along
            a_child_of_a_live_index_is_not_deleted
            a_subject_is_deleted_beneath_its_referrers
            a_put_again_adds_nothing_twice
            a_put_again_checks_again
            tags_are_listed_in_byte_order
            an_unknown_repository_has_no_tag_list
            repositories_with_a_live_manifest_are_listed
            referrers_are_paged
            referrers_are_filtered_by_artifact_type
            a_list_of_referrers_is_bounded_in_bytes
            a_referrer_tells_what_it_is
            a_removed_referrer_is_not_listed
            everything_is_paged_for_a_check
            tags_are_sorted
            sorted_tags_are_paged
            tags_are_searched
            a_tag_tells_what_it_points_at
            a_manifest_tells_what_it_is_connected_with
            repositories_are_sorted
            only_visible_repositories_are_listed
            a_repository_is_as_young_as_its_last_push
            a_page_of_tags_is_bounded_in_bytes
            a_repository_tells_its_sums
            what_is_held_is_kept
            what_nothing_holds_is_collected
            a_shared_blob_goes_with_its_last_link
            an_absent_target_is_held_when_it_arrives
            an_untagged_manifest_expires
            an_overwritten_manifest_expires_after_its_tag_moved
            a_pull_keeps_an_untagged_manifest
            a_leased_manifest_does_not_expire
            untagged_manifests_can_be_kept
            held_manifests_do_not_expire
            an_untagged_index_expires_with_its_children
            a_batch_is_bounded
            what_is_put_off_lets_others_pass
            a_dry_run_equals_the_real_run
            a_longer_lease_takes_effect_at_once
            a_manifest_comes_back_from_the_trash
            the_trash_is_emptied
            a_restore_is_refused_when_a_target_is_gone
            a_restore_is_refused_when_a_child_is_removed
            a_restore_unhides_what_it_needs
            a_hidden_blob_is_missing_for_a_new_manifest
            a_hidden_blob_goes_with_the_trash
            a_hidden_blob_stays_for_the_trash_time
            a_manifest_comes_back_while_it_is_purged
            a_changed_trash_time_takes_effect_at_once
            the_trash_is_emptied_in_batches_of_any_size
            children_follow_their_index
            what_a_child_held_is_leased_when_it_goes
            a_tagged_child_stays
            a_child_of_another_index_stays
            a_leased_child_follows_when_its_lease_ends
            children_follow_also_when_leases_outlast_the_trash
            children_follow_in_a_busy_repository
            a_child_put_again_is_kept_as_untagged
            an_orphan_put_again_is_kept_as_untagged
            a_child_follows_what_was_removed_after_its_tag
            a_child_put_in_the_moment_of_the_removal_is_kept_as_untagged
            a_child_that_lost_its_tag_later_is_kept_as_untagged
            referrers_follow_their_subject
            a_tagged_referrer_stays
            many_referrers_follow_in_batches
            a_purge_leases_what_it_lets_go
            an_index_of_blobs_holds_them
            an_index_about_its_own_child_is_collected
            an_index_about_its_own_tagged_child_stays
            children_follow_also_where_untagged_manifests_are_kept
            what_is_set_aside_is_listed_with_who_links_it
            the_place_of_the_scrub_is_told
            every_change_of_a_tag_is_told
            a_history_keeps_its_newest_rows
            the_history_of_a_repository_keeps_its_newest_rows
            the_history_of_a_removed_tag_is_forgotten
            a_tag_is_rolled_back
            what_a_rollback_leaves_expires
            a_rollback_brings_back_what_is_in_the_trash
            a_rollback_to_what_is_gone_is_refused
            a_tag_is_restored
            an_immutable_tag_stays
            a_push_without_a_change_is_noted
            the_trash_is_listed
            removed_tags_are_listed
            a_removed_manifest_is_restored
            an_untagged_one_is_restored_for_a_while
            children_come_back_with_their_index
            what_would_not_be_whole_is_not_restored
            a_sparse_index_comes_back_with_what_there_is
            what_is_purged_is_not_restored
            the_trash_is_emptied_on_request
            a_restore_is_told
            what_is_attached_comes_back_with_its_image
            what_is_attached_to_children_comes_back_with_their_index
            an_attached_tag_that_was_used_again_stays
            what_did_not_go_with_its_image_stays_away
            an_attached_tag_comes_back_to_a_manifest_that_lives
            what_is_attached_comes_back_with_a_tag
            what_is_attached_comes_back_from_a_deleted_repository
            an_expired_tag_takes_its_manifest_along
            a_tag_that_changed_does_not_expire
            a_tag_that_was_pulled_does_not_expire
            a_manifest_that_is_held_outlives_its_tag
            a_tag_does_not_expire_under_a_pusher
            a_tag_of_several_expires_under_a_pusher
            a_tag_that_came_back_expires
            a_tag_does_not_expire_during_a_long_push
            an_untagged_manifest_does_not_expire_under_a_pusher
            an_untagged_manifest_is_expired
            a_pinned_manifest_is_expired_where_its_pin_does_not_hold
            a_snapshot_tells_all_that_rules_ask_for
            a_snapshot_tells_the_past_as_far_as_it_is_asked_for
            details_that_are_known_stay_known
            what_a_config_says_is_recorded_with_its_blob
            a_snapshot_holds_the_details_that_are_asked_for
            an_incomplete_config_is_to_be_read
            a_pinned_manifest_outlives_its_tag
            added_pins_leave_the_others
            a_pin_holds_against_an_expiry
            a_purge_leaves_what_is_pinned
            the_last_judgement_is_told
            policies_are_recorded_with_their_history
            runs_are_told
            damage_and_healing_are_events
            a_mark_that_is_there_already_is_no_event
            what_policies_and_people_do_is_an_event
            what_is_done_to_a_repository_is_an_event
            each_new_state_is_an_event
            events_are_listed_by_kind_and_page
            old_events_are_forgotten
            events_are_bounded_for_each_kind
            a_repository_is_deleted_and_brought_back
            an_earlier_deletion_is_brought_back
            a_push_survives_the_deletion_of_its_repository
            a_deletion_that_is_under_way_is_taken_back
            what_cannot_go_or_come_back_is_counted
            a_repository_is_renamed
            an_emptied_repository_is_replaced
            a_repository_with_an_immutable_tag_is_not_renamed
            an_upload_stays_with_its_name
            nothing_is_left_of_an_empty_repository
            totals_are_kept_current
            totals_follow_a_blob_of_another_size
            usage_is_told_by_scope
            usage_is_told_by_the_first_segment_of_names
            a_blob_measured_anew_counts
            days_are_noted_once
            what_may_go_is_told
            what_may_go_is_told_by_scope
            what_others_have_does_not_come_free_in_a_scope
            what_would_be_freed_is_freed
            shared_blobs_are_not_freed
            followers_are_freed_too
            what_two_kinds_hold_comes_free_with_neither
            few_and_many_are_freed_alike
            few_and_many_are_leased_alike
            a_manifest_is_found_everywhere
            a_manifest_tells_what_keeps_it
            a_blob_tells_what_keeps_it
            the_coldest_and_the_biggest_are_told
            a_quota_of_bytes_is_kept
            a_quota_of_tags_is_kept
            a_quota_is_of_its_scope
            quotas_are_replaced
            a_quota_of_bytes_counts_manifests
            a_quota_of_names_is_kept
            a_quota_holds_for_restores_and_renames
            what_exceeds_a_new_quota_stays
            a_store_is_bound_once
            the_recorded_time_is_told
            times_follow_a_jump_of_the_clock
            a_tidied_store_is_the_same
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
                scene.verifies().await;
            }
        )*
    };
}
