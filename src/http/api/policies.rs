//! Retention policies: lists, sets, checks and imports them, and lists presets.

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{InPath, InQuery, WithBody};
use super::page::{PageParameters, newest_first_page, page_size};
use super::problem::{ChangeErrors, Errors};
use super::retention::{parse_repository, plan_page};
use super::rights::{AnyAccess, RegistryAdmin, RegistryReader};
use super::routes::{Routes, routes};
use super::{Page, Plan, Problem, Time};
use crate::errors::Chain;
use crate::jobs::retention::{InForce, PolicyChangeError, Preview, Source};
use crate::metadata::PolicyChange;
use crate::retention::import::{import_ecr, import_zot};
use crate::retention::{PRESETS, Policies, Policy};

/// The maximum length of a policy's name.
const MAX_NAME_BYTES: usize = 128;

/// The policies in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyList {
    /// In the order in which their rules apply: policies of the configuration file come first.
    pub policies: Vec<PolicyEntry>,
    /// Settings that are allowed but probably not intended.
    pub warnings: Vec<String>,
    /// Why nothing expires at present: a policy that cannot be used.
    #[schema(required)]
    pub broken: Option<String>,
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyEntry {
    /// Whether it comes from the configuration file; it can then only be changed there.
    pub in_file: bool,
    /// When it was last set, if through the API.
    #[schema(required)]
    pub set_at: Option<Time>,
    /// Who set it, if known.
    #[schema(required)]
    pub by: Option<String>,
    /// The policy, as `docs/retention.md` describes it.
    #[schema(value_type = Object)]
    pub policy: Policy,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// Why the policy is rejected, naming the policy and rule.
    #[schema(required)]
    pub mistake: Option<String>,
    /// Settings that are allowed but probably not intended.
    pub warnings: Vec<String>,
}

/// What setting a policy would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyPreview {
    /// Why the policy is rejected, naming the policy and rule.
    #[schema(required)]
    pub mistake: Option<String>,
    /// Settings that are allowed but probably not intended.
    pub warnings: Vec<String>,
    /// What all policies would then do now to the repositories that this policy, or the one that it replaces, applies
    /// to: the first page of a plan. `null` if no plan was made.
    #[schema(required)]
    pub plan: Option<Plan>,
    /// Why no plan was made.
    #[schema(required)]
    pub problem: Option<String>,
}

/// Selects a preview of a policy.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PreviewParameters {
    /// Only this repository.
    pub repository: Option<String>,
    /// Only items that would expire.
    pub expiring: Option<bool>,
    /// The maximum number of items; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A change of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyChanged {
    /// The policy's name.
    pub name: String,
    /// The policy since the change; `null` if it was removed.
    #[schema(required, value_type = Option<Object>)]
    pub policy: Option<serde_json::Value>,
    /// When it was changed.
    pub at: Time,
    /// Who set it, if known.
    #[schema(required)]
    pub by: Option<String>,
}

/// A policy preset that ships with Orlop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresetEntry {
    /// Its name, for `preset` in a policy.
    pub name: String,
    /// The policy in TOML, as in a configuration file, with comments.
    pub toml: String,
}

/// The result of importing another registry's policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImportedPolicies {
    /// The imported policies.
    #[schema(value_type = Object)]
    pub policies: Policies,
    /// The same policies in TOML, as in the configuration file.
    pub toml: String,
    /// What was not imported or works differently, one line each.
    pub notes: Vec<String>,
}

/// The path parameters of a policy.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct PolicyPath {
    /// The policy's name.
    #[param(min_length = 1, max_length = 128, example = "builds")]
    name: String,
}

/// The registry whose policies are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportSource {
    /// Amazon ECR.
    Ecr,
    /// zot.
    Zot,
}

/// The source and the settings of an import.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportParameters {
    /// The registry that the policies come from.
    #[param(inline)]
    pub from: ImportSource,
    /// The name of the imported policy; at most 100 bytes.
    pub name: Option<String>,
    /// Comma-separated globs of the repositories that the policy covers. Needed for Amazon ECR, whose
    /// policies name no repositories.
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
            let policy = policy.clone();
            match source {
                Source::File => PolicyEntry { in_file: true, set_at: None, by: None, policy },
                Source::Record { set_at, by } => {
                    PolicyEntry { in_file: false, set_at: Some(Time(*set_at)), by: by.clone(), policy }
                }
            }
        };
        Self {
            policies: in_force.policies.iter().map(entry).collect(),
            warnings: in_force.warnings.clone(),
            broken: in_force.broken.clone(),
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(put, delete))
        .routes(routes!(history))
        .routes(routes!(check))
        .routes(routes!(preview))
        .routes(routes!(presets))
        .routes(routes!(import))
}

/// The policies in force.
#[utoipa::path(
    get, path = "/retention/policies", operation_id = "listPolicies", tag = "retention",
    responses((status = OK, description = "The policies in force.", body = PolicyList), Errors)
)]
async fn list(registry_reader: RegistryReader) -> Json<PolicyList> {
    Json(PolicyList::from(&*registry_reader.retention.policy_set().in_force()))
}

/// Sets a policy, replacing the one of the same name.
#[utoipa::path(
    put, path = "/retention/policies/{name}", operation_id = "putPolicy", tag = "retention",
    params(PolicyPath), request_body = Object,
    responses((status = OK, description = "The policy is in force.", body = Checked), Errors, ChangeErrors)
)]
async fn put(
    WithBody { right: admin, parameters, body: mut policy, .. }: WithBody<
        RegistryAdmin,
        Policy,
        InPath<PolicyPath>,
    >,
) -> Result<Json<Checked>, Problem> {
    let InPath(PolicyPath { name }) = parameters;
    check_policy_name(&name)?;
    if policy.name.is_empty() {
        policy.name.clone_from(&name);
    }
    if policy.name != name {
        return Err(Problem::bad(format_args!(
            "name: the path has {name:?}, but the policy {:?}",
            policy.name
        )));
    }
    let warnings = admin.retention().set(&policy, Some(admin.by())).await?;
    Ok(Json(Checked { mistake: None, warnings }))
}

/// Checks the length of a policy's name.
pub(in crate::http) fn check_policy_name(name: &str) -> Result<(), Problem> {
    if name.len() > MAX_NAME_BYTES {
        return Err(Problem::bad(format_args!("name: must have at most {MAX_NAME_BYTES} bytes")));
    }
    Ok(())
}

/// Removes a policy that was set through the API.
#[utoipa::path(
    delete, path = "/retention/policies/{name}", operation_id = "deletePolicy", tag = "retention",
    params(PolicyPath),
    responses((status = NO_CONTENT, description = "The policy is removed."), Errors, ChangeErrors)
)]
async fn delete(
    admin: RegistryAdmin,
    InPath(PolicyPath { name }): InPath<PolicyPath>,
) -> Result<StatusCode, Problem> {
    admin.retention().policy_set().remove(admin.registry(), &name, Some(admin.by())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists changes of policies, newest first.
#[utoipa::path(
    get, path = "/retention/history", operation_id = "listPolicyChanges", tag = "retention",
    params(PageParameters),
    responses((status = OK, description = "A page of changes.", body = Page<PolicyChanged>), Errors)
)]
async fn history(
    registry_reader: RegistryReader,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<PolicyChanged>>, Problem> {
    let (before, limit) = parameters.read()?;
    let found = registry_reader.metadata().policy_history(before, limit).await?;
    Ok(Json(newest_first_page(found, |change: PolicyChange| {
        let policy = change.policy.map(|json| serde_json::from_str(&json).unwrap_or_default());
        (change.id, PolicyChanged { name: change.name, policy, at: change.at.into(), by: change.by })
    })))
}

/// Checks a policy without setting it: says whether it would be accepted, with warnings.
#[utoipa::path(
    post, path = "/retention/check", operation_id = "checkPolicy", tag = "retention",
    request_body = Object,
    responses((status = OK, description = "The result of the check.", body = Checked), Errors, ChangeErrors)
)]
async fn check(
    WithBody { right: admin, body: policy, .. }: WithBody<RegistryAdmin, Policy>,
) -> Result<Json<Checked>, Problem> {
    match admin.retention().check(&policy).await {
        Ok(warnings) => Ok(Json(Checked { mistake: None, warnings })),
        Err(error) => Ok(Json(Checked { mistake: Some(mistake(error)?), warnings: Vec::new() })),
    }
}

/// The text of a mistake in a policy. Other errors are problems of the request.
pub(in crate::http) fn mistake(error: PolicyChangeError) -> Result<String, Problem> {
    match error {
        PolicyChangeError::Service(fault) => Err(fault.into()),
        mistake => Ok(mistake.to_string()),
    }
}

/// Says what setting a policy would do, without setting it. Further pages of the plan come from `getPlan`.
#[utoipa::path(
    post, path = "/retention/preview", operation_id = "previewPolicy", tag = "retention",
    params(PreviewParameters), request_body = Object,
    responses((status = OK, description = "The preview.", body = PolicyPreview), Errors, ChangeErrors)
)]
async fn preview(
    WithBody { right: admin, parameters, body: policy, .. }: WithBody<
        RegistryAdmin,
        Policy,
        InQuery<PreviewParameters>,
    >,
) -> Result<Json<PolicyPreview>, Problem> {
    let InQuery(PreviewParameters { repository, expiring, limit }) = parameters;
    let limit = page_size(limit)?;
    let repo = parse_repository(repository.as_deref())?;
    let policies = std::slice::from_ref(&policy);
    let preview = match admin.retention().preview(policies, repo.as_ref()).await {
        Ok(Preview { warnings, plan }) => {
            let problem = plan.as_ref().err().map(ToString::to_string);
            let plan = plan.ok().map(|plan| plan_page(&plan, 0, limit, expiring.unwrap_or(false)));
            PolicyPreview { mistake: None, warnings, plan, problem }
        }
        Err(error) => {
            PolicyPreview { mistake: Some(mistake(error)?), warnings: Vec::new(), plan: None, problem: None }
        }
    };
    Ok(Json(preview))
}

/// Lists the policy presets that ship with Orlop.
#[utoipa::path(
    get, path = "/retention/presets", operation_id = "listPresets", tag = "retention",
    responses((status = OK, description = "All presets.", body = Vec<PresetEntry>), Errors)
)]
async fn presets(_: AnyAccess) -> Json<Vec<PresetEntry>> {
    let entry = |preset: &crate::retention::Preset| PresetEntry {
        name: preset.name.into(),
        toml: preset.toml.into(),
    };
    Json(PRESETS.iter().map(entry).collect())
}

/// Converts another registry's policies to Orlop's. Nothing is set.
#[utoipa::path(
    post, path = "/retention/import", operation_id = "importPolicies", tag = "retention",
    params(ImportParameters), request_body = Object,
    responses(
        (status = OK, description = "The converted policies.", body = ImportedPolicies),
        Errors, ChangeErrors
    )
)]
async fn import(
    WithBody { right: admin, parameters, body, .. }: WithBody<
        RegistryAdmin,
        serde_json::Map<String, serde_json::Value>,
        InQuery<ImportParameters>,
    >,
) -> Result<Json<ImportedPolicies>, Problem> {
    let InQuery(parameters) = parameters;
    let text = serde_json::Value::Object(body).to_string();
    let import = move || import_policies(&text, &parameters);
    admin.retention().compile(import).await?.map(Json).map_err(Problem::bad)
}

/// Converts another registry's policies.
///
/// # Errors
/// Returns a message if the policies cannot be read.
pub fn import_policies(text: &str, parameters: &ImportParameters) -> Result<ImportedPolicies, String> {
    let globs = parameters.repositories.as_deref().unwrap_or_default().split(',').map(str::trim);
    let globs: Vec<String> = globs.filter(|glob| !glob.is_empty()).map(str::to_owned).collect();
    let name = |default: &str| parameters.name.clone().unwrap_or_else(|| default.to_owned());
    let imported = match parameters.from {
        ImportSource::Ecr => import_ecr(text, &name("ecr"), &globs),
        ImportSource::Zot => import_zot(text, &name("zot")),
    };
    let imported = imported.map_err(|error| Chain(&error).to_string())?;
    let section = std::collections::BTreeMap::from([("retention", &imported.policies)]);
    let toml = toml::to_string(&section).map_err(|error| error.to_string())?;
    Ok(ImportedPolicies { policies: imported.policies, toml, notes: imported.notes })
}
