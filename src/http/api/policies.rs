//! Policies: those in force, setting and checking them, presets, and what other registries have.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{RegistryAdmin, RegistryReader, SelfService};
use super::extract::{InPath, InQuery, WithBody};
use super::page::{RecentParameters, recent};
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, Page, Problem, Time};
use crate::jobs::retention::{InForce, PolicyChangeError, Source};
use crate::metadata::PolicyChange;
use crate::retention::import::{import_ecr, import_zot};
use crate::retention::{PRESETS, Policies, Policy};

/// The policies in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyList {
    /// In the order in which their rules are used: those of the configuration file first.
    pub policies: Vec<PolicyEntry>,
    /// What is allowed and probably not what was meant.
    pub warnings: Vec<String>,
    /// Why nothing expires at the moment: a policy cannot be used.
    #[schema(required)]
    pub broken: Option<String>,
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyEntry {
    /// Whether the configuration file has it, where alone it is changed then.
    pub in_file: bool,
    /// When it was last set, if it was through the API.
    #[schema(required)]
    pub set_at: Option<Time>,
    /// By whom, if that is known.
    #[schema(required)]
    pub by: Option<String>,
    /// The policy, as `docs/retention.md` describes it.
    #[schema(value_type = Object)]
    pub policy: Policy,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// Why it is refused, with the names of policy and rule.
    #[schema(required)]
    pub mistake: Option<String>,
    /// What is allowed and probably not what was meant.
    pub warnings: Vec<String>,
}

/// A change of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyChanged {
    /// Which.
    pub name: String,
    /// What it has been since; `null` where it was removed.
    #[schema(required, value_type = Option<Object>)]
    pub policy: Option<serde_json::Value>,
    /// When.
    pub at: Time,
    /// By whom, if that is known.
    #[schema(required)]
    pub by: Option<String>,
}

/// A policy that comes with the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresetEntry {
    /// Its name, for `preset` in a policy.
    pub name: String,
    /// The policy as it would stand in a file, with comments.
    pub toml: String,
}

/// Another registry's policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImportedPolicies {
    /// What could be carried over.
    #[schema(value_type = Object)]
    pub policies: Policies,
    /// The same as it would stand in the configuration file.
    pub toml: String,
    /// What could not, or works differently: a line each.
    pub notes: Vec<String>,
}

/// A policy in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfPolicy {
    /// The policy's name.
    #[param(min_length = 1, max_length = 128, example = "builds")]
    name: String,
}

/// Whose policies are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Registries {
    /// Amazon ECR.
    Ecr,
    /// zot.
    Zot,
}

/// What is imported, and as what.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportParameters {
    /// Whose.
    #[param(inline)]
    pub from: Registries,
    /// What to call it: at most 100 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Globs of the repositories that it is for, with commas between them; for Amazon's, which do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repositories: Option<String>,
}

impl From<PolicyChangeError> for Problem {
    fn from(error: PolicyChangeError) -> Self {
        match error {
            PolicyChangeError::Mistake(_) => Self::bad(error),
            PolicyChangeError::InFile(_) => Self::new(StatusCode::CONFLICT, error),
            PolicyChangeError::Unknown(_) => Self::unknown(error),
            PolicyChangeError::Service(fault) => fault.into(),
        }
    }
}

impl From<&InForce> for PolicyList {
    fn from(in_force: &InForce) -> Self {
        let entry = |(policy, source): &(Policy, Source)| {
            let (in_file, set_at, by) = match source {
                Source::File => (true, None, None),
                Source::Record { set_at, by } => (false, Some(Time(*set_at)), by.clone()),
            };
            PolicyEntry { in_file, set_at, by, policy: policy.clone() }
        };
        Self {
            policies: in_force.policies.iter().map(entry).collect(),
            warnings: in_force.warnings.clone(),
            broken: in_force.broken.clone(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(put, delete))
        .routes(routes!(history))
        .routes(routes!(check))
        .routes(routes!(presets))
        .routes(routes!(import))
}

/// The policies in force.
#[utoipa::path(
    get, path = "/retention/policies", operation_id = "listPolicies", tag = "retention",
    responses((status = OK, description = "All of them.", body = PolicyList), Refusals)
)]
async fn list(overseer: RegistryReader) -> Json<PolicyList> {
    Json(PolicyList::from(&*overseer.retention().book().in_force()))
}

/// Sets a policy, in the place of one of its name that was set before.
#[utoipa::path(
    put, path = "/retention/policies/{name}", operation_id = "putPolicy", tag = "retention",
    params(OfPolicy), request_body = Object,
    responses((status = OK, description = "It is in force.", body = Checked), Refusals, ChangeRefusals)
)]
async fn put(
    WithBody { right: may, head, body: mut policy, .. }: WithBody<RegistryAdmin, Policy, InPath<OfPolicy>>,
) -> Result<Json<Checked>, Problem> {
    let InPath(OfPolicy { name }) = head;
    if name.len() > 128 {
        return Err(Problem::bad("name: may have at most 128 letters"));
    }
    if policy.name.is_empty() {
        policy.name.clone_from(&name);
    }
    if policy.name != name {
        return Err(Problem::bad(format_args!("name: the path says {name:?}, the policy {:?}", policy.name)));
    }
    let warnings = may.retention().set(&policy, Some(may.by())).await?;
    Ok(Json(Checked { mistake: None, warnings }))
}

/// Removes a policy that was set.
#[utoipa::path(
    delete, path = "/retention/policies/{name}", operation_id = "deletePolicy", tag = "retention",
    params(OfPolicy),
    responses((status = NO_CONTENT, description = "It is gone."), Refusals, ChangeRefusals)
)]
async fn delete(
    may: RegistryAdmin,
    InPath(OfPolicy { name }): InPath<OfPolicy>,
) -> Result<StatusCode, Problem> {
    may.retention().book().remove(may.registry(), &name, Some(may.by())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was set and removed, newest first.
#[utoipa::path(
    get, path = "/retention/history", operation_id = "listPolicyChanges", tag = "retention",
    params(RecentParameters),
    responses((status = OK, description = "A page of changes.", body = Page<PolicyChanged>), Refusals)
)]
async fn history(
    overseer: RegistryReader,
    InQuery(parameters): InQuery<RecentParameters>,
) -> Result<Json<Page<PolicyChanged>>, Problem> {
    let (before, limit) = parameters.read()?;
    let found = overseer
        .metadata()
        .policy_history(before, limit)
        .await
        .map_err(crate::registry::ServiceError::from)?;
    Ok(Json(recent(found, |change: PolicyChange| {
        let policy = change.policy.map(|json| serde_json::from_str(&json).unwrap_or_default());
        (change.id, PolicyChanged { name: change.name, policy, at: change.at.into(), by: change.by })
    })))
}

/// Whether a policy would be taken, and what is odd about it.
#[utoipa::path(
    post, path = "/retention/check", operation_id = "checkPolicy", tag = "retention",
    request_body = Object,
    responses((status = OK, description = "What it came to.", body = Checked), Refusals, ChangeRefusals)
)]
async fn check(
    WithBody { right: may, body: policy, .. }: WithBody<RegistryAdmin, Policy>,
) -> Result<Json<Checked>, Problem> {
    match may.retention().check(&policy).await {
        Ok(warnings) => Ok(Json(Checked { mistake: None, warnings })),
        Err(PolicyChangeError::Service(fault)) => Err(fault.into()),
        Err(mistake) => Ok(Json(Checked { mistake: Some(mistake.to_string()), warnings: Vec::new() })),
    }
}

/// The policies that come with the program.
#[utoipa::path(
    get, path = "/retention/presets", operation_id = "listPresets", tag = "retention",
    responses((status = OK, description = "All of them.", body = Vec<PresetEntry>), Refusals)
)]
async fn presets(_: SelfService) -> Json<Vec<PresetEntry>> {
    let entry = |preset: &crate::retention::Preset| PresetEntry {
        name: preset.name.into(),
        toml: preset.toml.into(),
    };
    Json(PRESETS.iter().map(entry).collect())
}

/// What another registry's policies would be here. Nothing is set.
#[utoipa::path(
    post, path = "/retention/import", operation_id = "importPolicies", tag = "retention",
    params(ImportParameters), request_body = Object,
    responses((status = OK, description = "The policies.", body = ImportedPolicies), Refusals, ChangeRefusals)
)]
async fn import(
    WithBody { right: may, head, body, .. }: WithBody<
        RegistryAdmin,
        serde_json::Map<String, serde_json::Value>,
        InQuery<ImportParameters>,
    >,
) -> Result<Json<ImportedPolicies>, Problem> {
    let InQuery(parameters) = head;
    let text = serde_json::Value::Object(body).to_string();
    let import = move || imported(&text, &parameters);
    may.retention().compile(import).await?.map(Json).map_err(Problem::bad)
}

/// Reads another registry's policies.
///
/// # Errors
/// What cannot be read of it at all, in words.
pub fn imported(text: &str, parameters: &ImportParameters) -> Result<ImportedPolicies, String> {
    let globs = parameters.repositories.as_deref().unwrap_or_default().split(',').map(str::trim);
    let globs: Vec<String> = globs.filter(|glob| !glob.is_empty()).map(str::to_owned).collect();
    let name = |usual: &str| parameters.name.clone().unwrap_or_else(|| usual.to_owned());
    let imported = match parameters.from {
        Registries::Ecr => import_ecr(text, &name("ecr"), &globs),
        Registries::Zot => import_zot(text, &name("zot")),
    };
    let imported = imported.map_err(|error| error.to_string())?;
    let section = std::collections::BTreeMap::from([("retention", &imported.policies)]);
    let toml = toml::to_string(&section).map_err(|error| error.to_string())?;
    Ok(ImportedPolicies { policies: imported.policies, toml, notes: imported.notes })
}
