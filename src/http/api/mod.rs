//! The registry's own HTTP API, `/api/v1`: listings, reports and administration beyond the registry protocol.
//!
//! Requests and responses are JSON; errors are problem details (RFC 9457). Each module covers one resource: its types,
//! which the command line shares, its handlers, and a `routes` function that `router` merges. Routes are built from
//! `#[utoipa::path]` descriptions only, so the OpenAPI document and the router cannot drift apart.
//!
//! | module | purpose |
//! | --- | --- |
//! | `router` | the router, the headers of every response, and the OpenAPI document |
//! | `routes` | the routes of a resource |
//! | `rights` | authorises requests: handlers reach the registry only through the rights it grants |
//! | `state` | the state that handlers share |
//! | `problem` | maps errors to problem details |
//! | `parameters` | rejects query parameters that the document does not list |
//! | `extract`, `page`, `time` | extractors for parameters and bodies, paged lists, timestamps |
//! | `removed` | the items in trash listings |
//! | `request_audit` | records requests in the audit log, with a part of each body |
//! | `schemas` | the schemas of the model's enums |
//! | `response_memory` | reserves memory for responses |
//! | the others | one resource each |

mod access_tokens;
mod accounts;
mod adoption;
mod audit;
mod background;
mod browse;
mod contents;
mod events;
mod extract;
mod grants;
mod history;
mod manifests;
mod organisations;
mod page;
mod parameters;
mod policies;
mod problem;
mod removed;
mod repositories;
mod repository_lifecycle;
mod request_audit;
mod response_memory;
mod retention;
mod rights;
mod router;
mod routes;
mod schemas;
mod scrub;
mod state;
mod status;
mod tags;
mod time;
mod trash;
mod usage;
mod why;

pub(super) use access_tokens::{add_token, list_tokens, revoke_token};
pub(super) use accounts::add_account;
pub(super) use adoption::{end as end_adoption, release_adopted, state as adoption_state};
pub(super) use extract::{AuditSlot, AuditTarget, read_bytes};
pub(super) use grants::{administered_grants, remove_grant, set_grant};
pub(super) use organisations::{OrganisationChange, change_organisation, managed_organisations};
pub(super) use page::page;
pub(super) use policies::{check_policy_name, mistake};
pub(super) use problem::refuse;
pub(super) use removed::Cursor as TrashCursor;
pub(super) use request_audit::record_outcome;
pub(super) use response_memory::reserve_memory;
pub(super) use retention::{apply_plan, plan_page};
pub(super) use rights::{Reader, RegistryReader, Requester, check_still_valid};
pub use router::router;
pub use state::{Api, Changes};
pub(super) use trash::restore_removed;

pub use access_tokens::{AccessToken, RotateRequest, TokenMade, TokenParameters, TokenRequest};
pub use accounts::{Account, AccountMade, AccountRequest, AccountUpdate, RoleThere};
pub use adoption::{Adoption, Finished};
pub use audit::{AuditParameters, Audited};
pub use background::{
    Background, CollectedContent, CollectorJob, JobName, JobRuns, RetentionJob, RetentionResult, ScrubJob,
    ScrubbedContent,
};
pub use browse::{DigestMatch, Found, Namespace, NamespaceParameters, SearchParameters, TagMatch};
pub use contents::{Attached, Attestation, BuildStep, Config, Contents, Layer, Member, Untagged};
pub use events::{EventParameters, StoreEvent};
pub use grants::{Can, CanParameters, Grant, GrantParameters, GrantRequest};
pub use history::{ChangeKind, Event, RollbackRequest, RolledBack};
pub use manifests::{Child, Manifest, Part, Referrer};
pub use organisations::{Organisation, TeamEntry};
pub use page::{ListParameters, MAX_PAGE_ITEMS, Order, Page, PageParameters, Sort};
pub use policies::{
    Checked, ImportParameters, ImportSource, ImportedPolicies, PolicyChanged, PolicyEntry, PolicyList,
    PolicyPreview, PresetEntry, PreviewParameters, import_policies,
};
pub use problem::Problem;
pub use removed::{Removed, RemovedKind, RemovedTag};
pub use repositories::{Repositories, Repository, RepositoryUpdate};
pub use repository_lifecycle::{RenameRequest, UndeleteRequest, Work};
pub use retention::{Applied, ApplyRequest, Plan, PlanItem, PlanParameters, Run, Skipped};
pub use scrub::{Damaged, Finding, Scrub};
pub use status::Status;
pub use tags::{Tag, TagTarget};
pub use time::Time;
pub use trash::{Emptied, EmptyRequest, RestoreRequest, Restored, TrashParameters};
pub use usage::{
    BlobUsage, BudgetUse, QuotaReport, ReclaimableContent, ReclaimableReport, RepositoryUsage, StoreUsage,
    Stored, TagUsage, Usage, UsageDay, UsageParameters, UsageReport,
};
pub use why::{BlobReasons, HeldBy, KeptBlob, ManifestReasons, PolicyDecision, Stage, Why, WhyParameters};

/// The path that all routes of the API begin with.
pub const ROOT: &str = super::paths::API_ROOT;
