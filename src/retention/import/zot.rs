//! Imports zot's `retention` block.
//!
//! In zot, only the first policy that matches a repository applies to it, and only the first entry of `keepTags` that
//! matches a tag applies to the tag. A tag that no entry keeps expires. So the policies become a group, and the rules
//! of an entry are final.

use std::time::Duration;

use serde_json::Value;

use super::object::Object;
use super::{ImportError, Imported, Notes, check_name, literal, read};
use crate::retention::globs::Globs;
use crate::retention::matcher::PatternLimits;
use crate::retention::policy::{Action, Expressions, Final, Order, Policies, Policy, Rule};

const EXPECTED: &str = "zot's retention block";

/// The delay if neither `delay` nor `gcDelay` is set. zot's default is one hour.
const DEFAULT_DELAY: &str = "24h";

/// The shortest time span that policies allow.
const MIN_SPAN: Duration = Duration::from_millis(1);

/// Imports the `retention` block, alone or within zot's whole configuration, as JSON or YAML. The names of the policies
/// begin with `name`.
///
/// # Errors
/// Fails if there is no such block, or if the result exceeds the limits of policies.
pub fn import_zot(text: &str, name: &str) -> Result<Imported, ImportError> {
    check_name(name)?;
    let value = read(text, EXPECTED)?;
    let mut root = Object::of(&value);
    let mut import = Import::new(name);
    let storage = root.take("storage");
    let block = match storage {
        Some(storage) => import.read_storage(Object::of(storage)),
        None => root.take("retention").or(Some(&value)),
    };
    let block = block.filter(|block| Object::of(block).take("policies").is_some());
    import.read_block(block.ok_or(ImportError::Nothing("a `retention` block with `policies`"))?);
    import.notes.add(
        "repositories that no policy matches keep everything; zot also deletes untagged manifests there",
    );
    let policies = Policies { policies: import.policies, ..Policies::default() };
    policies.compile()?;
    Ok(Imported { policies, notes: import.notes.finish() })
}

struct Import<'a> {
    name: &'a str,
    policies: Vec<Policy>,
    notes: Notes,
    /// The age at which untagged and orphaned manifests expire; `None` expires them at once.
    delay: Option<String>,
    /// Whether something was not understood that might affect all following policies.
    is_unclear: bool,
}

impl<'a> Import<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            policies: Vec::new(),
            notes: Notes::default(),
            delay: Some(DEFAULT_DELAY.to_owned()),
            is_unclear: false,
        }
    }

    /// Reads the settings of `storage` that affect retention. Returns the retention block.
    fn read_storage<'v>(&mut self, mut storage: Object<'v>) -> Option<&'v Value> {
        if storage.take("gc").is_some_and(|gc| gc.as_bool() == Some(false)) {
            self.notes.add("gc: zot deleted nothing so far; check the plan before you apply it");
        }
        if let Some((delay, text)) = storage.duration("gcdelay") {
            self.set_delay(delay, text);
        }
        if let Some(paths) = storage.take("subpaths") {
            self.read_sub_paths(paths);
        }
        storage.take("retention")
    }

    fn set_delay(&mut self, delay: Duration, text: String) {
        self.delay = (delay >= MIN_SPAN).then_some(text);
    }

    /// Excludes the repositories below these paths from the other policies, because they have their own retention.
    fn read_sub_paths(&mut self, paths: &Value) {
        let Value::Object(paths) = paths else {
            self.leave_out_the_rest("subPaths: expected an object");
            return;
        };
        let mut repositories = Vec::new();
        for path in paths.keys() {
            let root = literal(path.trim_matches('/'), "");
            if root.is_empty() {
                self.leave_out_the_rest("subPaths: \"/\" covers all repositories");
            } else {
                self.notes
                    .add(format!("subPaths: the retention of {path:?} was left out; nothing expires there"));
                repositories.push(format!("{root}/**"));
                repositories.push(root);
            }
        }
        if !repositories.is_empty() {
            self.add_policy("subpaths", repositories, Vec::new());
        }
    }

    fn read_block(&mut self, block: &Value) {
        let mut block = Object::of(block);
        if block.flag("dryrun") == Some(true) {
            self.notes.add("dryRun: zot deleted nothing so far; check the plan before you apply it");
        }
        if let Some((delay, text)) = block.duration("delay") {
            self.set_delay(delay, text);
        }
        let policies = block.list("policies").unwrap_or_default();
        for why in block.finish() {
            self.leave_out_the_rest(&why);
        }
        for (number, policy) in policies.iter().enumerate() {
            self.read_policy(number + 1, policy);
        }
    }

    fn leave_out_the_rest(&mut self, why: &str) {
        self.notes.add(format!("{why}, so nothing expires by the policies after it"));
        self.is_unclear = true;
    }

    fn add_policy(&mut self, name: &str, repositories: Vec<String>, rules: Vec<Rule>) {
        let name = format!("{}-{name}", self.name);
        let group = Some(self.name.to_owned());
        self.policies.push(Policy { name, preset: None, group, repositories, rules });
    }

    fn read_policy(&mut self, number: usize, value: &Value) {
        let of = format!("policy {number}");
        let mut policy = Object::of(value);
        let named = policy.texts("repositories").or_else(|| policy.texts("reponames"));
        let is_named = named.is_some();
        let mut repositories = Vec::new();
        for pattern in named.into_iter().flatten() {
            match globs_of(&pattern) {
                Ok(globs) => repositories.extend(globs),
                Err(why) => {
                    policy.add_unclear(format!("{pattern:?}: {why}"));
                    self.leave_out_the_rest(&format!("{of}: its repositories are unclear"));
                }
            }
        }
        let keeps = self.keep_rules(&mut policy);
        let expiries = self.expire_rules(&mut policy, keeps.iter().any(|keep| !keep.untagged));
        let unclear = policy.finish();
        if !is_named && !unclear.is_empty() {
            self.leave_out_the_rest(&format!("{of}: its repositories are unclear"));
        }
        for why in &unclear {
            self.notes.add(format!("{of}: {why}, so nothing expires by this policy"));
        }
        if repositories.is_empty() {
            self.notes.add(format!("{of}: skipped, because no repositories could be read"));
            return;
        }
        let mut rules = if unclear.is_empty() && !self.is_unclear { expiries } else { Vec::new() };
        rules.extend(keeps);
        self.add_policy(&number.to_string(), repositories, rules);
    }

    /// Returns the keep rules of the `keepTags` entries and of `keepUntagged`.
    fn keep_rules(&self, policy: &mut Object<'_>) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (number, entry) in policy.list("keeptags").unwrap_or_default().iter().enumerate() {
            let mut entry = Object::of(entry);
            let patterns = entry.texts("patterns").unwrap_or_default();
            for pattern in &patterns {
                let pattern = std::slice::from_ref(pattern);
                if let Err(mistake) = PatternLimits::default().expressions("patterns", pattern) {
                    entry.add_unclear(mistake.to_string());
                }
            }
            let limits = Limits::read(&mut entry);
            let unclear = entry.finish();
            if unclear.is_empty() {
                rules.extend(limits.keep_tags(number + 1, patterns));
            }
            for why in unclear {
                policy.add_unclear(format!("keepTags {}: {why}", number + 1));
            }
        }
        if let Some(value) = policy.take("keepuntagged") {
            let mut keep = Object::of(value);
            rules.extend(Limits::read(&mut keep).keep_untagged());
            for why in keep.finish() {
                policy.add_unclear(format!("keepUntagged: {why}"));
            }
        }
        rules
    }

    fn expire_rules(&self, policy: &mut Object<'_>, keeps_tags: bool) -> Vec<Rule> {
        let mut rules = Vec::new();
        let after =
            |name: &str| Rule { pushed_before: self.delay.clone(), ..Rule::new(name, Action::Expire) };
        // This rule comes before the entries, because they are final and it applies to all tags they do not keep.
        if keeps_tags {
            rules.push(Rule::new("rest", Action::Expire));
        }
        if policy.flag("deleteuntagged").unwrap_or(true) {
            rules.push(Rule { untagged: true, ..after("untagged") });
        }
        if policy.flag("deletereferrers").unwrap_or(false) {
            rules.push(Rule { orphaned: true, ..after("referrers") });
        }
        rules
    }
}

/// The limits of an entry. An item that meets any of them is kept.
struct Limits {
    pushes: Option<u32>,
    pulls: Option<u32>,
    pushed_within: Option<(Duration, String)>,
    pulled_within: Option<(Duration, String)>,
}

impl Limits {
    fn read(entry: &mut Object<'_>) -> Self {
        let pushed_within = entry.duration("pushedwithin");
        let pulled_within = entry.duration("pulledwithin");
        for (span, _) in pushed_within.iter().chain(&pulled_within) {
            if *span < MIN_SPAN {
                entry.add_unclear("a duration below a millisecond keeps nothing");
            }
        }
        Self {
            pushes: entry.count("mostrecentlypushedcount"),
            pulls: entry.count("mostrecentlypulledcount"),
            pushed_within,
            pulled_within,
        }
    }

    /// Returns the rules of an entry. An entry without limits keeps everything.
    fn keep_tags(self, number: usize, patterns: Vec<String>) -> Vec<Rule> {
        let tag_regex = match <[String; 1]>::try_from(patterns) {
            Ok([pattern]) => Some(Expressions::One(pattern)),
            Err(patterns) => (!patterns.is_empty()).then_some(Expressions::Several(patterns)),
        };
        let base = Rule { tag_regex, ..Rule::new(format!("keep-{number}"), Action::Keep) };
        let mut rules = self.rules(&base);
        if rules.is_empty() {
            rules.push(base);
        }
        if let Some(last) = rules.last_mut() {
            last.final_for = Some(Final::Tag);
        }
        rules
    }

    fn keep_untagged(self) -> Vec<Rule> {
        self.rules(&Rule { untagged: true, ..Rule::new("keep-untagged", Action::Keep) })
    }

    fn rules(self, base: &Rule) -> Vec<Rule> {
        let with = |limit: &str| Rule { name: format!("{}-{limit}", base.name), ..base.clone() };
        let mut rules = Vec::new();
        if self.pushes.is_some() {
            rules.push(Rule { newest: self.pushes, ..with("newest") });
        }
        if self.pulls.is_some() {
            rules.push(Rule { newest: self.pulls, by: Some(Order::Pull), ..with("newest-pulled") });
        }
        // In zot, a push counts as a pull.
        let pushed_within = self.pushed_within.max(self.pulled_within.clone());
        if let Some((_, span)) = pushed_within {
            rules.push(Rule { pushed_within: Some(span), ..with("pushed") });
        }
        if let Some((_, span)) = self.pulled_within {
            rules.push(Rule { pulled_within: Some(span), ..with("pulled") });
        }
        rules
    }
}

/// Converts a pattern of repositories to globs. In zot, `infra/**` also matches `infra` itself.
fn globs_of(pattern: &str) -> Result<Vec<String>, String> {
    if pattern.starts_with('!') {
        // zot has no exceptions, and no repository name begins with `!`.
        return Ok(Vec::new());
    }
    // Inside of alternatives, the root can't be added.
    if pattern.contains('{') && pattern.contains("**") {
        return Err("`**` together with alternatives has another meaning here".to_owned());
    }
    let glob = [pattern.to_owned()];
    Globs::of_names("repositories", &glob).map_err(|mistake| mistake.to_string())?;
    let mut globs = Vec::from(glob);
    let mut rest = pattern;
    while let Some(root) = rest.strip_suffix("/**").filter(|root| !root.is_empty()) {
        globs.push(root.to_owned());
        rest = root;
    }
    Ok(globs)
}
