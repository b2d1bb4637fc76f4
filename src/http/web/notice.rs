//! What a page says after an action.

macro_rules! notices {
    ($($variant:ident, $code:literal, $text:literal;)*) => {
        /// What a page says after an action. The texts are fixed, because the URL chooses one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Notice {
            $(#[doc = $text] $variant,)*
        }

        impl Notice {
            /// The code in a URL.
            pub(super) fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The text of a code in a URL.
            pub(super) fn text(code: &str) -> Option<&'static str> {
                match code {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

notices! {
    SignedOut, "signed-out", "You have signed out.";
    SignedOutEverywhere, "signed-out-everywhere", "All other sessions have ended.";
    TagsDeleted, "tags-deleted", "Deleted. You can restore it from the trash.";
    TagAdded, "tag-added", "The tag points at the manifest.";
    RolledBack, "rolled-back", "The tag has been rolled back.";
    DescriptionSaved, "description-saved", "The description is saved.";
    RepositoryDeleted, "repository-deleted", "The repository is being deleted. You can restore it from the trash.";
    RepositoryRestored, "repository-restored", "The repository is being restored.";
    RepositoryRenamed, "repository-renamed", "The repository is renamed.";
    Restored, "restored", "Restored.";
    TrashEmptied, "trash-emptied", "The trash is empty. The collector frees the space.";
    PolicySaved, "policy-saved", "The policy is saved.";
    PolicyRemoved, "policy-removed", "The policy is removed.";
    PolicyApplied, "policy-applied", "The policy has been applied.";
    AdoptionReleased, "adoption-released", "The adopted images are released.";
    AdoptionFinished, "adoption-finished", "The old tree is removed.";
    JobStarted, "job-started", "The job has been started.";
    UserSaved, "user-saved", "The user is saved.";
    UserRemoved, "user-removed", "The user is removed.";
    TeamSaved, "team-saved", "The team is saved.";
    TeamRemoved, "team-removed", "Removed.";
    RoleSaved, "role-saved", "The role is saved.";
    RoleRemoved, "role-removed", "The role is removed.";
    TokenRevoked, "token-revoked", "The access token is revoked.";
    SessionEnded, "session-ended", "The session has ended.";
    SessionsEnded, "sessions-ended", "The sessions have ended.";
    PasswordChanged, "password-changed", "The password is changed. All other sessions have ended.";
}
