//! zot's `retention` block.
//!
//! There, the first policy that matches a repository is the only one for it, the first entry of `keepTags` that matches a
//! tag is the only one for it, and a tag that no entry keeps goes. Policies are therefore a group, and the rules of an
//! entry are final.

use std::time::Duration;

use serde_json::Value;

use super::object::Object;
use super::{ImportError, Imported, Notes, check_name, literal, read};
use crate::retention::globs::Globs;
use crate::retention::matcher::PatternLimits;
use crate::retention::policy::{Action, Expressions, Final, Order, Policies, Policy, Rule};

const EXPECTED: &str = "zot's retention block";

/// Where neither `delay` nor `gcDelay` is set. zot takes an hour.
const DELAY: &str = "24h";

/// The shortest span that policies know.
const SHORTEST: Duration = Duration::from_millis(1);

/// Reads the `retention` block, alone or within zot's whole configuration, as JSON or YAML, into policies whose names
/// begin with `name`.
///
/// # Errors
/// There is no such block, or what comes out is too large for the limits of policies.
pub fn import_zot(text: &str, name: &str) -> Result<Imported, ImportError> {
    check_name(name)?;
    let value = read(text, EXPECTED)?;
    let mut root = Object::of(&value);
    let mut import = Import::new(name);
    let storage = root.take("storage");
    let block = match storage {
        Some(storage) => import.storage(Object::of(storage)),
        None => root.take("retention").or(Some(&value)),
    };
    let block = block.filter(|block| Object::of(block).take("policies").is_some());
    import.block(block.ok_or(ImportError::Nothing("block `retention` with `policies`"))?);
    import.notes.add(
        "repositories that no policy names keep all that is in them; zot deletes what is untagged there too",
    );
    let policies = Policies { policies: import.policies, ..Policies::default() };
    policies.compile()?;
    Ok(Imported { policies, notes: import.notes.finish() })
}

struct Import<'a> {
    name: &'a str,
    policies: Vec<Policy>,
    notes: Notes,
    /// The age of what is untagged or orphaned before it goes. `None`: none.
    delay: Option<String>,
    /// Whether something that may be about all policies from here on is not understood.
    is_unclear: bool,
}

impl<'a> Import<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            policies: Vec::new(),
            notes: Notes::default(),
            delay: Some(DELAY.to_owned()),
            is_unclear: false,
        }
    }

    /// Reads what of `storage` is about retention. Returns the block itself.
    fn storage<'v>(&mut self, mut storage: Object<'v>) -> Option<&'v Value> {
        if storage.take("gc").is_some_and(|gc| gc.as_bool() == Some(false)) {
            self.notes.add("gc: zot deleted nothing so far; look at the plan before you apply it");
        }
        if let Some(delay) = storage.duration("gcdelay") {
            self.set_delay(delay);
        }
        if let Some(paths) = storage.take("subpaths") {
            self.sub_paths(paths);
        }
        storage.take("retention")
    }

    fn set_delay(&mut self, (delay, written): (Duration, String)) {
        self.delay = (delay >= SHORTEST).then_some(written);
    }

    /// Repositories below these paths have their own retention, so policies of the others are not for them.
    fn sub_paths(&mut self, paths: &Value) {
        let Value::Object(paths) = paths else {
            self.leave_out_the_rest("subPaths: an object is expected");
            return;
        };
        let mut repositories = Vec::new();
        for path in paths.keys() {
            let root = literal(path.trim_matches('/'), "");
            if root.is_empty() {
                self.leave_out_the_rest("subPaths: \"/\" is for all repositories");
            } else {
                self.notes
                    .add(format!("subPaths: the retention of {path:?} was left out; nothing expires there"));
                repositories.push(format!("{root}/**"));
                repositories.push(root);
            }
        }
        if !repositories.is_empty() {
            self.add("subpaths", repositories, Vec::new());
        }
    }

    fn block(&mut self, block: &Value) {
        let mut block = Object::of(block);
        if block.flag("dryrun") == Some(true) {
            self.notes.add("dryRun: zot deleted nothing so far; look at the plan before you apply it");
        }
        if let Some(delay) = block.duration("delay") {
            self.set_delay(delay);
        }
        let policies = block.list("policies").unwrap_or_default();
        for why in block.finish() {
            self.leave_out_the_rest(&why);
        }
        for (number, policy) in policies.iter().enumerate() {
            self.policy(number + 1, policy);
        }
    }

    fn leave_out_the_rest(&mut self, why: &str) {
        self.notes.add(format!("{why}, so nothing expires by the policies behind it"));
        self.is_unclear = true;
    }

    fn add(&mut self, name: &str, repositories: Vec<String>, rules: Vec<Rule>) {
        let (name, group) = (format!("{}-{name}", self.name), Some(self.name.to_owned()));
        self.policies.push(Policy { name, preset: None, group, repositories, rules });
    }

    fn policy(&mut self, number: usize, value: &Value) {
        let of = format!("policy {number}");
        let mut policy = Object::of(value);
        let named = policy.texts("repositories").or_else(|| policy.texts("reponames"));
        let is_named = named.is_some();
        let mut repositories = Vec::new();
        for pattern in named.into_iter().flatten() {
            match globs_of(&pattern) {
                Ok(globs) => repositories.extend(globs),
                Err(why) => {
                    policy.is_unclear(format!("{pattern:?}: {why}"));
                    self.leave_out_the_rest(&format!("{of}: its repositories are not clear"));
                }
            }
        }
        let keeps = self.keep_rules(&mut policy);
        let expiries = self.expire_rules(&mut policy, keeps.iter().any(|keep| !keep.untagged));
        let unclear = policy.finish();
        if !is_named && !unclear.is_empty() {
            self.leave_out_the_rest(&format!("{of}: its repositories are not clear"));
        }
        for why in &unclear {
            self.notes.add(format!("{of}: {why}, so nothing expires by this policy"));
        }
        if repositories.is_empty() {
            self.notes.add(format!("{of}: it names no repositories that are clear; left out"));
            return;
        }
        let mut rules = if unclear.is_empty() && !self.is_unclear { expiries } else { Vec::new() };
        rules.extend(keeps);
        self.add(&number.to_string(), repositories, rules);
    }

    /// What an entry or `keepUntagged` keeps.
    fn keep_rules(&self, policy: &mut Object<'_>) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (number, entry) in policy.list("keeptags").unwrap_or_default().iter().enumerate() {
            let mut entry = Object::of(entry);
            let patterns = entry.texts("patterns").unwrap_or_default();
            for pattern in &patterns {
                let pattern = std::slice::from_ref(pattern);
                if let Err(mistake) = PatternLimits::default().expressions("patterns", pattern) {
                    entry.is_unclear(mistake.to_string());
                }
            }
            let limits = Limits::read(&mut entry);
            let unclear = entry.finish();
            if unclear.is_empty() {
                rules.extend(limits.keep_tags(number + 1, patterns));
            }
            for why in unclear {
                policy.is_unclear(format!("keepTags {}: {why}", number + 1));
            }
        }
        if let Some(value) = policy.take("keepuntagged") {
            let mut keep = Object::of(value);
            rules.extend(Limits::read(&mut keep).keep_untagged());
            for why in keep.finish() {
                policy.is_unclear(format!("keepUntagged: {why}"));
            }
        }
        rules
    }

    fn expire_rules(&self, policy: &mut Object<'_>, keeps_tags: bool) -> Vec<Rule> {
        let mut rules = Vec::new();
        let after =
            |name: &str| Rule { pushed_before: self.delay.clone(), ..Rule::new(name, Action::Expire) };
        // It stands before the entries: they are final, and it is for all tags that they do not keep.
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

/// What of its tags or untagged manifests an entry keeps: whatever one of them says.
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
            if *span < SHORTEST {
                entry.is_unclear("a duration below a millisecond keeps nothing");
            }
        }
        Self {
            pushes: entry.count("mostrecentlypushedcount"),
            pulls: entry.count("mostrecentlypulledcount"),
            pushed_within,
            pulled_within,
        }
    }

    /// The rules of an entry; one that keeps everything, if it has no limits.
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
        // There, a push counts as a pull.
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

/// A pattern of repositories as globs: `infra/**` matches `infra` itself there.
fn globs_of(pattern: &str) -> Result<Vec<String>, String> {
    if pattern.starts_with('!') {
        // No exception there, and no name begins so.
        return Ok(Vec::new());
    }
    // Inside of alternatives, the root cannot be added.
    if pattern.contains('{') && pattern.contains("**") {
        return Err("`**` beside alternatives means something else here".to_owned());
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
