//! Policies that are rejected or cause warnings.

use super::*;

fn refusal(toml: &str) -> String {
    policies(toml).compile().expect_err(toml).to_string()
}

fn warnings(toml: &str) -> Vec<String> {
    policies(toml).compile().expect(toml).1.iter().map(ToString::to_string).collect()
}

#[test]
fn rejects_mistakes_with_the_name_of_the_rule() {
    for (selectors, why) in [
        ("tag_regex = '('", "tag_regex: \"(\" is not a regular expression"),
        ("tags = ['a[']", "tags: \"a[\" is not a glob"),
        ("pushed_before = '0s'", "pushed_before: must be a time"),
        ("pushed_before = '30'", "pushed_before: must be a time"),
        ("pulled_before = '200y'", "pulled_before: must be a time"),
        ("pushed_before = '30d'\npushed_within = '7d'", "nothing can match"),
        ("pulled_before = '7d'\npulled_within = '7d'", "nothing can match"),
        ("untagged = true\ntags = ['v*']", "tags can't match untagged manifests"),
        ("tagged = false", "selects neither"),
        ("newest = 0", "newest: must be at least 1"),
        ("by = 'pull'\ntags = ['a']", "by requires newest"),
        ("newest = 3\nper = 'a'", "one capture group"),
        ("when = 'calm'\ntags = ['a']", "when = \"calm\""),
        ("keep_history = 1\ntags = ['a']", "keep rules only"),
        ("", "would empty every repository"),
        ("when = 'pressure'", "would empty every repository"),
        ("tags = ['*']\ntag_regex = '.*'", "would empty every repository"),
        ("repositories = ['a']", "would empty every repository"),
    ] {
        let error = refusal(&rules(&[("bad", "expire", selectors)]));
        assert!(error.starts_with("rule `bad` of retention policy `p`: ") && error.contains(why), "{error}");
    }
    assert!(refusal(&rules(&[("k", "keep", "when = 'pressure'")])).contains("when = \"pressure\""));
    let twice = rules(&[("a", "keep", ""), ("a", "keep", "")]);
    assert!(refusal(&twice).contains("rule `a` of retention policy `p`: the name is already used"));
    assert!(
        refusal("[[policies]]\nname = 'a'\n[[policies]]\nname = 'a'").contains("policy `a`: the name is")
    );
    assert!(refusal("[[policies]]\nname = ''").contains("name is missing"));
    assert!(refusal("[[policies]]\npreset = 'cd'").contains("no preset \"cd\"; there are ci, home"));
    assert!(refusal("[[immutable]]\ntags = ['{']").starts_with("immutable tags, list 1: tags"));
}

#[test]
fn rejects_large_policies_with_the_name_of_the_rule() {
    let large: Vec<_> = (0..400).map(|number| format!("r{number}")).collect();
    let list: Vec<_> =
        large.iter().map(|name| (name.as_str(), "keep", "tag_regex = '[^x]{2000}N'")).collect();
    let text = rules(&list);
    assert!(text.len() < 33_000);
    let error = refusal(&text);
    assert!(
        error.starts_with("rule `r") && error.contains("more than 8388608 bytes when compiled"),
        "{error}"
    );

    let one = refusal(&rules(&[("large", "keep", "tag_regex = ['a', '(a{1000}){1000}']")]));
    assert!(one.starts_with("rule `large` of retention policy `p`: tag_regex: \"(a{1000}){1000}\""), "{one}");
    let long = format!("tags = ['{}']", "a".repeat(5000));
    assert!(refusal(&rules(&[("long", "keep", &long)])).contains("rule `long`"));
    let many: Vec<_> = (0..2001).map(|number| format!("r{number}")).collect();
    let list: Vec<_> = many.iter().map(|name| (name.as_str(), "keep", "")).collect();
    assert!(refusal(&rules(&list)).starts_with("rule `r2000` of retention policy `p`: there may be at most"));
    let many: String = (0..1001).map(|number| format!("[[policies]]\nname = 'p{number}'\n")).collect();
    assert!(refusal(&many).starts_with("retention policy `p1000`: there may be at most"));
}

#[test]
fn checks_final_rules_and_groups() {
    let hidden = [("a", "expire", "tags = ['*']\nfinal = 'tag'"), ("k", "keep", "tags = ['v*']")];
    assert!(refusal(&rules(&hidden)).contains("rule `a`"), "the keep rule sees no tag");
    let seen = [("k", "keep", "tags = ['v*']\nfinal = 'tag'"), ("a", "expire", "")];
    assert!(warnings(&rules(&seen)).join("\n").contains("it expires everything that no rule keeps"));
    let behind = [("v", "expire", "tags = ['v*']\npushed_before = '1d'\nfinal = 'image'"), ("k", "keep", "")];
    assert_eq!(warnings(&rules(&behind)), [""; 0], "the keep rule does not keep what `v` selects");
    assert!(refusal(&rules(&[("a", "keep", "count = 'images'")])).contains("requires newest"));
    assert!(refusal(&rules(&[("a", "keep", "tag_regex = []")])).contains("tag_regex: must not be empty"));
    assert!(refusal("[[policies]]\nname = 'a'\ngroup = ' '").contains("group: must not be empty"));
    assert_eq!(warnings("[[policies]]\nname = 'a'\ngroup = 'g'"), [""; 0]);
}

#[test]
fn rejects_unknown_keys() {
    assert!(toml::from_str::<Policies>(&rules(&[("a", "keep", "tag = 'v*'")])).is_err());
    assert!(serde_json::from_str::<Policies>(r#"{"policies": [{"name": "p", "rule": []}]}"#).is_err());
}

#[test]
fn warns_about_odd_rules() {
    let odd = |list: &[(&str, &str, &str)]| warnings(&rules(list)).join("\n");
    let shadowed =
        odd(&[("k", "keep", "tags = ['v*']"), ("e", "expire", "tags = ['v*']\npushed_before = '1d'")]);
    assert!(shadowed.contains("rule `e` of retention policy `p`: the keep rule `k` keeps all"), "{shadowed}");
    assert_eq!(odd(&[("k", "keep", "newest = 3"), ("e", "expire", "pushed_before = '1d'")]), "");
    assert!(odd(&[("k", "keep", "newest = 3"), ("e", "expire", "")]).contains("rule `e`"));
    assert!(odd(&[("e", "expire", "untagged = true")]).contains("untagged manifests at once"));
    assert!(odd(&[("e", "expire", "orphaned = true")]).contains("untagged manifests at once"));
    assert!(odd(&[("e", "expire", "pushed_before = '3m'")]).contains("3m is less than an hour"));
    assert!(odd(&[("e", "expire", "tags = ['!v*']")]).contains("rule `e`"));
    let lists =
        warnings("[[protected]]\nrepositories = ['*']\n[[immutable]]\nrepositories = ['*']").join("\n");
    assert!(
        lists.contains("protected tags, list 1: ") && lists.contains("immutable tags, list 1: "),
        "{lists}"
    );
    assert!(
        warnings("[[policies]]\nname = 'a'\nrepositories = ['*']").join("\n").contains("`**` matches all")
    );
}

#[test]
fn warns_about_platforms_without_an_operating_system() {
    let odd = |platforms: &str| warnings(&rules(&[("k", "keep", &format!("platforms = [{platforms}]"))]));
    for (platforms, named) in
        [("'linux/arm64', 'amd64'", "amd64"), ("'!arm64'", "!arm64"), ("'{arm,arm64}'", "{arm,arm64}")]
    {
        let [warning] = odd(platforms).try_into().expect("one warning");
        let place = "rule `k` of retention policy `p`: platforms: ";
        assert!(warning.starts_with(place) && warning.contains(&format!("{named:?}")), "{warning}");
        assert!(warning.contains("linux/amd64"), "{warning}");
    }
    assert_eq!(odd("'linux/amd64', '*', '*arm64', 'linux*', 'linux/arm*', 'linux/{arm,arm64}'"), [""; 0]);
}

#[test]
fn warns_about_empty_tag_lists() {
    let odd = |toml: &str| warnings(toml).join("\n");
    let immutable = odd("[[immutable]]");
    assert!(
        immutable.starts_with("immutable tags, list 1: it names no repositories and no tags, so "),
        "{immutable}"
    );
    assert!(immutable.contains("all tags of all repositories"), "{immutable}");
    assert!(
        odd("[[protected]]\ntags = ['v*']\n[[protected]]").starts_with("protected tags, list 2: it names ")
    );
    for meant in ["repositories = ['a']", "repositories = ['**']", "tags = ['*']", "except = ['*-rc*']"] {
        assert_eq!(odd(&format!("[[immutable]]\n{meant}")), "");
    }
}

#[test]
fn policies_survive_serialization() {
    for preset in PRESETS {
        let read = policies(&preset.toml.replace("[[retention.", "[["));
        let json = serde_json::to_string(&read).expect("json");
        assert_eq!(serde_json::from_str::<Policies>(&json).expect("json"), read);
        assert_eq!(policies(&toml::to_string(&read).expect("toml")), read);
    }
}
