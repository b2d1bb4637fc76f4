//! The editor of policies: checks and previews them before they are saved, and imports those of other registries.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::chrome::Chrome;
use super::form::Form;
use super::format::filters;
use super::notice::Notice;
use super::page::{Done, PageResult, page};
use super::plans::PlanView;
use super::policy_text::{RuleView, parse_policies, rules, to_text};
use super::state::Action;
use super::visitor::Visitor;
use crate::http::api::{
    ImportParameters, ImportSource, Problem, RegistryReader, check_policy_name, import_policies, mistake,
};
use crate::jobs::retention::{Preview, Source};
use crate::metadata::AuditAction;
use crate::oci::RepoName;
use crate::retention::{Action as RuleAction, PRESETS, Policies, Policy, Rule};

#[derive(Template)]
#[template(path = "web/policy_edit.html")]
struct EditPage<'a> {
    chrome: &'a Chrome,
    /// The name of the policy that is edited; empty for a new one.
    name: &'a str,
    /// The policy as text.
    text: &'a str,
    /// The repository that the preview is about.
    repository: &'a str,
    can_change: bool,
    /// Whether the policy belongs to the configuration file.
    in_file: bool,
    /// What an import did not convert.
    notes: Vec<String>,
    /// Why the policy cannot be saved.
    mistake: Option<String>,
    warnings: Vec<String>,
    /// The rules of the text in words.
    described: Vec<Described>,
    plan: Option<PlanView>,
    /// Why there is no plan.
    no_plan: Option<String>,
    is_preview: bool,
    answers: Answers,
}

/// The rules of a policy in words.
struct Described {
    name: String,
    repositories: Vec<String>,
    preset: Option<String>,
    rules: Vec<RuleView>,
}

/// The answers to the questions from which a policy is built.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answers {
    name: String,
    repositories: String,
    older_than: String,
    newest: String,
    tags: String,
    pulled_within: String,
    untagged: String,
}

impl Default for Answers {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            name: String::new(),
            repositories: text("**"),
            older_than: text("30d"),
            newest: text("10"),
            tags: text("latest, v*"),
            pulled_within: text("30d"),
            untagged: text("7d"),
        }
    }
}

impl<'a> EditPage<'a> {
    fn new(visitor: &'a Visitor, name: &'a str, text: &'a str) -> Self {
        Self {
            chrome: visitor.chrome(),
            name,
            text,
            repository: "",
            can_change: visitor.requester().registry_admin().is_ok(),
            in_file: false,
            notes: Vec::new(),
            mistake: None,
            warnings: Vec::new(),
            described: Vec::new(),
            plan: None,
            no_plan: None,
            is_preview: false,
            answers: Answers::default(),
        }
    }
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        // These only compute a result and change nothing.
        Action::new("/actions/policies/preview", AuditAction::Read, preview),
        Action::new("/actions/policies/import", AuditAction::Read, import),
        Action::new("/actions/policies/save", AuditAction::PolicySet, save),
    ]
}

/// The editor: of the policy `name`, of a new policy from a preset, or of a new policy from answers to questions.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let reader = visitor.requester().registry_reader()?;
    let name = visitor.query("name").unwrap_or_default();
    let is_built = visitor.query("older_than").is_some();
    if is_built {
        return Ok(show_built(&visitor, name));
    }
    if let Some(preset) = visitor.query("preset") {
        let known = PRESETS.iter().find(|known| known.name == preset);
        let known = known.ok_or_else(|| Problem::unknown("there is no such preset"))?;
        let text = if visitor.query("copy").is_some() {
            known.toml.to_owned()
        } else {
            let repositories = vec!["**".to_owned()];
            let preset = Some(preset.to_owned());
            to_text(&[Policy { name: known.name.to_owned(), preset, repositories, ..Policy::default() }])
        };
        return Ok(page(StatusCode::OK, &EditPage::new(&visitor, "", &text)));
    }
    if name.is_empty() {
        return Ok(page(StatusCode::OK, &EditPage::new(&visitor, "", "")));
    }
    let in_force = reader.retention.policy_set().in_force();
    let found = in_force.policies.iter().find(|(policy, _)| policy.name_or_preset() == name);
    let (policy, source) = found.ok_or_else(|| Problem::unknown("there is no such retention policy"))?;
    let text = to_text(std::slice::from_ref(policy));
    let in_file = *source == Source::File;
    Ok(page(StatusCode::OK, &EditPage { in_file, ..EditPage::new(&visitor, name, &text) }))
}

/// The editor with a policy that was built from answers.
fn show_built(visitor: &Visitor, name: &str) -> Response {
    let answer = |field| visitor.query(field).unwrap_or_default().trim().to_owned();
    let answers = Answers {
        name: name.trim().to_owned(),
        repositories: answer("repositories"),
        older_than: answer("older_than"),
        newest: answer("newest"),
        tags: answer("tags"),
        pulled_within: answer("pulled_within"),
        untagged: answer("untagged"),
    };
    let built = build(&answers);
    let text = built.as_ref().map(|policy| to_text(std::slice::from_ref(policy))).unwrap_or_default();
    let described = built.as_ref().map(|policy| vec![describe(policy)]).unwrap_or_default();
    let mistake = built.err();
    let template = EditPage { mistake, described, answers, ..EditPage::new(visitor, "", &text) };
    page(StatusCode::OK, &template)
}

/// Builds a policy that expires old tags, apart from some.
fn build(answers: &Answers) -> Result<Policy, String> {
    let list = |text: &str| {
        let globs = text.split([',', ' ', '\n', '\r']).filter(|glob| !glob.is_empty());
        globs.map(str::to_owned).collect::<Vec<_>>()
    };
    let optional = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut rules = Vec::new();
    let tags = list(&answers.tags);
    if !tags.is_empty() {
        rules.push(Rule { tags, ..Rule::new("named", RuleAction::Keep) });
    }
    if !answers.newest.is_empty() {
        let newest = answers.newest.parse();
        let newest =
            newest.map_err(|_| format!("the number of tags to keep: {:?} is not a number", answers.newest));
        rules.push(Rule { newest: Some(newest?), ..Rule::new("newest", RuleAction::Keep) });
    }
    if let Some(within) = optional(&answers.pulled_within) {
        rules.push(Rule { pulled_within: Some(within), ..Rule::new("in-use", RuleAction::Keep) });
    }
    if let Some(age) = optional(&answers.untagged) {
        let expire = Rule::new("untagged", RuleAction::Expire);
        rules.push(Rule { untagged: true, pushed_before: Some(age), ..expire });
    }
    let pushed_before = Some(answers.older_than.clone());
    rules.push(Rule { pushed_before, ..Rule::new("old", RuleAction::Expire) });
    let name = if answers.name.is_empty() { "old-tags".to_owned() } else { answers.name.clone() };
    Ok(Policy { name, repositories: list(&answers.repositories), rules, ..Policy::default() })
}

/// Shows what the policies of the form would do. Changes nothing.
async fn preview(form: Form) -> Result<Response, Problem> {
    let visitor = &form.visitor;
    let admin = visitor.requester().registry_admin()?;
    let reader = visitor.requester().registry_reader()?;
    let repository = form.parse_optional::<RepoName>("repository")?;
    let policies = match parse_policies(form.text("policy")) {
        Ok(policies) => policies,
        Err(mistake) => return Ok(edit_again(&form, mistake)),
    };
    let template = EditPage {
        repository: form.text("repository"),
        described: policies.iter().map(describe).collect(),
        is_preview: true,
        ..EditPage::new(visitor, form.text("name"), form.text("policy"))
    };
    let template = match admin.retention().preview(&policies, repository.as_ref()).await {
        Ok(preview) => previewed(template, visitor, &reader, preview).await?,
        Err(error) => EditPage { mistake: Some(mistake(error)?), ..template },
    };
    Ok(page(StatusCode::OK, &template))
}

async fn previewed<'a>(
    template: EditPage<'a>,
    visitor: &Visitor,
    reader: &RegistryReader,
    Preview { warnings, plan }: Preview,
) -> Result<EditPage<'a>, Problem> {
    let no_plan = plan.as_ref().err().map(ToString::to_string);
    let plan = match plan {
        Ok(plan) => Some(PlanView::of(visitor, reader, &plan, 0, true).await?),
        Err(_) => None,
    };
    Ok(EditPage { warnings, plan, no_plan, ..template })
}

/// The editor with the text of the form and what is wrong with it.
fn edit_again(form: &Form, mistake: String) -> Response {
    let template = EditPage {
        repository: form.text("repository"),
        mistake: Some(mistake),
        ..EditPage::new(&form.visitor, form.text("name"), form.text("policy"))
    };
    page(StatusCode::BAD_REQUEST, &template)
}

/// Saves the policies of the form, one after the other.
async fn save(form: Form) -> Result<Response, Problem> {
    let admin = form.visitor.requester().registry_admin()?;
    let policies = match parse_policies(form.text("policy")) {
        Ok(policies) => policies,
        Err(mistake) => return Ok(edit_again(&form, mistake)),
    };
    let names: Vec<_> = policies.iter().map(Policy::name_or_preset).collect();
    form.audit(None, names.join(", "));
    for policy in &policies {
        check_policy_name(policy.name_or_preset())?;
        match admin.retention().set(policy, Some(admin.by())).await {
            Ok(_) => form.mark_done(),
            Err(error) => return Ok(edit_again(&form, mistake(error)?)),
        }
    }
    Ok(Done::go_to("/policies").saying(Notice::PolicySaved).into_response())
}

/// Shows the policies of another registry, converted, in the editor.
async fn import(form: Form) -> Result<Response, Problem> {
    let visitor = &form.visitor;
    let admin = visitor.requester().registry_admin()?;
    let from = match form.text("from") {
        "ecr" => ImportSource::Ecr,
        "zot" => ImportSource::Zot,
        other => return Err(Problem::bad(format_args!("from: {other:?} is neither ecr nor zot"))),
    };
    let parameters = ImportParameters {
        from,
        name: form.optional("name").map(str::to_owned),
        repositories: form.optional("repositories").map(str::to_owned),
    };
    let text = form.text("document").to_owned();
    let imported = admin.retention().compile(move || import_policies(&text, &parameters)).await?;
    let imported =
        imported.map_err(|error| Problem::bad(format_args!("cannot import these policies: {error}")))?;
    let Policies { policies, protected, immutable } = imported.policies;
    let mut notes = imported.notes;
    if !protected.is_empty() || !immutable.is_empty() {
        notes.push("protected and immutable tags can be set in the settings file only".into());
    }
    let text = to_text(&policies);
    let described = policies.iter().map(describe).collect();
    let template = EditPage { notes, described, ..EditPage::new(visitor, "", &text) };
    Ok(page(StatusCode::OK, &template))
}

fn describe(policy: &Policy) -> Described {
    Described {
        name: policy.name_or_preset().to_owned(),
        repositories: policy.repositories.clone(),
        preset: policy.preset.clone(),
        rules: rules(&policy.rules),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_built_from_answers() {
        let policy = build(&Answers::default()).expect("a policy");
        let names: Vec<_> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["named", "newest", "in-use", "untagged", "old"]);
        let (_, warnings) =
            Policies { policies: vec![policy], ..Policies::default() }.compile().expect("valid");
        assert!(warnings.is_empty(), "{warnings:?}");
        assert!(build(&Answers { newest: "ten".into(), ..Answers::default() }).is_err());
    }
}
