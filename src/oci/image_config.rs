//! The config of an image, for people to read: how it runs, and the commands that built it. Parsed leniently, because
//! the registry accepts any config: a field that can't be read is empty.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::string_map;

/// The maximum number of elements of a list.
const MAX_ELEMENTS: usize = 1000;

/// The maximum length of a text in bytes.
const MAX_TEXT_LEN: usize = 8 << 10;

/// The maximum size of the labels as JSON, in bytes.
const MAX_LABEL_BYTES: usize = 64 << 10;

/// The config of an image. Empty texts and lists are not given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// The operating system.
    pub os: String,
    /// The version of the operating system.
    pub os_version: String,
    /// The processor architecture.
    pub architecture: String,
    /// The variant of the architecture.
    pub variant: String,
    /// When the image was made, as written there.
    pub created: String,
    /// Who made it.
    pub author: String,
    /// The user that its process runs as.
    pub user: String,
    /// The working directory.
    pub working_dir: String,
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// The command, or the arguments of the entry point.
    pub cmd: Vec<String>,
    /// The environment: `NAME=value`.
    pub env: Vec<String>,
    /// The exposed ports, such as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The volumes.
    pub volumes: Vec<String>,
    /// The signal that stops it.
    pub stop_signal: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The steps that built it, in order.
    pub history: Vec<BuildStep>,
    /// Whether something was left out because it is too long.
    pub incomplete: bool,
}

/// A step that built an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildStep {
    /// The command, as a line of a Dockerfile where it is known how builders write it. Empty if it is not given.
    pub command: String,
    /// The comment.
    pub comment: String,
    /// When it was made, as written there.
    pub created: String,
    /// Whether it made no layer.
    pub is_empty: bool,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(default, deserialize_with = "lenient")]
    os: String,
    #[serde(default, rename = "os.version", deserialize_with = "lenient")]
    os_version: String,
    #[serde(default, deserialize_with = "lenient")]
    architecture: String,
    #[serde(default, deserialize_with = "lenient")]
    variant: String,
    #[serde(default, deserialize_with = "lenient")]
    created: String,
    #[serde(default, deserialize_with = "lenient")]
    author: String,
    #[serde(borrow, default)]
    config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    history: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Runtime<'a> {
    #[serde(default, deserialize_with = "lenient")]
    user: String,
    #[serde(default, deserialize_with = "lenient")]
    working_dir: String,
    #[serde(default, deserialize_with = "lenient")]
    entrypoint: Words,
    #[serde(default, deserialize_with = "lenient")]
    cmd: Words,
    #[serde(default, deserialize_with = "lenient")]
    env: Words,
    #[serde(default, deserialize_with = "lenient")]
    exposed_ports: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "lenient")]
    volumes: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "lenient")]
    stop_signal: String,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StepFields {
    #[serde(default, deserialize_with = "lenient")]
    created_by: String,
    #[serde(default, deserialize_with = "lenient")]
    comment: String,
    #[serde(default, deserialize_with = "lenient")]
    created: String,
    #[serde(default, deserialize_with = "lenient")]
    empty_layer: bool,
}

/// A list of words, or a single one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    List(Vec<Option<String>>),
    One(String),
}

impl Default for Words {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// Reads a value; anything else than expected becomes the default.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(from: D) -> Result<T, D::Error> {
    let json = <&RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(json.get()).unwrap_or_default())
}

impl ImageConfig {
    /// Reads a config. Returns `None` if it is not a JSON object.
    pub fn read(content: &[u8]) -> Option<Self> {
        // serde would accept an array as a struct, field by field.
        if content.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let fields: Fields<'_> = serde_json::from_slice(content).ok()?;
        let mut limits = Limits::default();
        let mut config = Self {
            os: limits.text(fields.os),
            os_version: limits.text(fields.os_version),
            architecture: limits.text(fields.architecture),
            variant: limits.text(fields.variant),
            created: limits.text(fields.created),
            author: limits.text(fields.author),
            history: history(fields.history, &mut limits),
            ..Self::default()
        };
        let runtime = fields.config.and_then(|json| serde_json::from_str::<Runtime<'_>>(json.get()).ok());
        if let Some(runtime) = runtime {
            config.user = limits.text(runtime.user);
            config.working_dir = limits.text(runtime.working_dir);
            config.entrypoint = limits.words(runtime.entrypoint);
            config.cmd = limits.words(runtime.cmd);
            config.env = limits.words(runtime.env);
            config.exposed_ports = limits.list(runtime.exposed_ports.into_keys());
            config.volumes = limits.list(runtime.volumes.into_keys());
            config.stop_signal = limits.text(runtime.stop_signal);
            if let Some(json) = runtime.labels {
                let labels = string_map::shortest(json.get(), MAX_LABEL_BYTES).unwrap_or_default();
                limits.exceeded |= labels.incomplete;
                config.labels = labels.pairs;
            }
        }
        config.incomplete = limits.exceeded;
        Some(config)
    }

    /// Returns the step that made each of `layers` layers; `None` for layers that the history does not cover.
    pub fn steps_of_layers(&self, layers: usize) -> Vec<Option<&BuildStep>> {
        let mut steps: Vec<_> =
            self.history.iter().filter(|step| !step.is_empty).map(Some).take(layers).collect();
        steps.resize(layers, None);
        steps
    }
}

fn history(json: Option<&RawValue>, limits: &mut Limits) -> Vec<BuildStep> {
    let steps = json.and_then(|json| serde_json::from_str::<Vec<&RawValue>>(json.get()).ok());
    let steps = steps.unwrap_or_default();
    limits.exceeded |= steps.len() > MAX_ELEMENTS;
    let step = |json: &RawValue| {
        // An unreadable step still stands for its layer.
        let Ok(fields) = serde_json::from_str::<StepFields>(json.get()) else {
            return BuildStep::default();
        };
        BuildStep {
            command: limits.text(dockerfile_line(&fields.created_by)),
            comment: limits.text(fields.comment),
            created: limits.text(fields.created),
            is_empty: fields.empty_layer,
        }
    };
    steps.into_iter().take(MAX_ELEMENTS).map(step).collect()
}

/// Shortens what is too long, and remembers that it did.
#[derive(Default)]
struct Limits {
    exceeded: bool,
}

impl Limits {
    fn text(&mut self, mut text: String) -> String {
        if text.len() > MAX_TEXT_LEN {
            self.exceeded = true;
            text.truncate(text.floor_char_boundary(MAX_TEXT_LEN));
        }
        text
    }

    fn list(&mut self, words: impl ExactSizeIterator<Item = String>) -> Vec<String> {
        self.exceeded |= words.len() > MAX_ELEMENTS;
        words.take(MAX_ELEMENTS).map(|word| self.text(word)).collect()
    }

    fn words(&mut self, words: Words) -> Vec<String> {
        match words {
            Words::List(words) => self.list(words.into_iter().map(Option::unwrap_or_default)),
            Words::One(word) => vec![self.text(word)],
        }
    }
}

/// The shells that builders write before a command.
const SHELLS: [&str; 3] = ["/bin/sh -c ", "cmd /S /C ", "powershell -Command "];

/// What Docker's old builder writes between the shell and an instruction that runs nothing.
const NO_OPERATION: &str = "#(nop) ";

/// Turns the command of a step into a line of a Dockerfile: without the shell and the marks of the builder.
fn dockerfile_line(created_by: &str) -> String {
    let line = created_by.trim();
    let line = line.strip_suffix("# buildkit").map_or(line, str::trim_end);
    if let Some(rest) = line.strip_prefix("RUN ") {
        return match shell_command(without_arguments(rest)) {
            Some(command) => format!("RUN {command}"),
            None => line.to_owned(),
        };
    }
    let Some(command) = shell_command(without_arguments(line)) else {
        return line.to_owned();
    };
    match command.strip_prefix(NO_OPERATION) {
        Some(instruction) => instruction.trim().to_owned(),
        None => format!("RUN {command}"),
    }
}

/// Returns what a shell runs.
fn shell_command(line: &str) -> Option<&str> {
    SHELLS.iter().find_map(|shell| line.strip_prefix(shell)).map(str::trim)
}

/// Removes build arguments from the start, such as `|2 A=1 B=2 /bin/sh -c make`.
fn without_arguments(line: &str) -> &str {
    let is_counted =
        line.strip_prefix('|').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if !is_counted {
        return line;
    }
    let shell = SHELLS.iter().filter_map(|shell| line.find(shell)).min();
    shell.map_or(line, |at| &line[at..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: &serde_json::Value) -> ImageConfig {
        ImageConfig::read(config.to_string().as_bytes()).expect("readable")
    }

    #[test]
    fn reads_how_an_image_runs() {
        let found = read(&json!({
            "architecture": "arm64", "os": "linux", "variant": "v8", "created": "2024-05-01T10:00:00Z",
            "config": {
                "User": "1000:1000", "WorkingDir": "/app", "Entrypoint": ["/bin/app"], "Cmd": "serve",
                "Env": ["PATH=/bin", null], "ExposedPorts": { "80/tcp": {}, "443/tcp": {} },
                "Volumes": null, "Labels": { "team": "a" }, "StopSignal": 9, "Healthcheck": { "Test": [] },
            },
            "rootfs": { "type": "layers", "diff_ids": [] },
        }));
        assert_eq!(
            (found.os.as_str(), found.architecture.as_str(), found.variant.as_str()),
            ("linux", "arm64", "v8")
        );
        assert_eq!((found.entrypoint, found.cmd), (vec!["/bin/app".to_owned()], vec!["serve".to_owned()]));
        assert_eq!(found.env, ["PATH=/bin", ""]);
        assert_eq!(found.exposed_ports, ["443/tcp", "80/tcp"]);
        assert_eq!((found.labels["team"].as_str(), found.stop_signal.as_str()), ("a", ""));
        assert!(!found.incomplete);
    }

    #[test]
    fn commands_look_like_lines_of_a_dockerfile() {
        for (created_by, expected) in [
            ("/bin/sh -c #(nop) ADD file:4b in / ", "ADD file:4b in /"),
            (r#"/bin/sh -c #(nop)  CMD ["bash"]"#, r#"CMD ["bash"]"#),
            ("/bin/sh -c apt-get update", "RUN apt-get update"),
            ("|2 A=1 B=a b /bin/sh -c make $A", "RUN make $A"),
            ("RUN /bin/sh -c apk add curl # buildkit", "RUN apk add curl"),
            ("RUN |1 V=1 /bin/sh -c make # buildkit", "RUN make"),
            ("COPY . /app # buildkit", "COPY . /app"),
            ("RUN /bin/bash -o pipefail -c a | b # buildkit", "RUN /bin/bash -o pipefail -c a | b"),
            ("ENV A=1", "ENV A=1"),
            ("cmd /S /C dir", "RUN dir"),
            ("|x", "|x"),
            ("|", "|"),
            ("bazel build ...", "bazel build ..."),
            ("", ""),
        ] {
            assert_eq!(dockerfile_line(created_by), expected, "{created_by}");
        }
    }

    #[test]
    fn steps_without_a_layer_are_skipped() {
        let step = |command: &str, empty: bool| json!({ "created_by": command, "empty_layer": empty });
        let found = read(
            &json!({ "history": [step("ADD a /", false), step("ENV b=1", true), step("COPY c /", false), 7] }),
        );
        let commands = |layers| -> Vec<Option<String>> {
            let steps = found.steps_of_layers(layers).into_iter();
            steps.map(|step| step.map(|step| step.command.clone())).collect()
        };
        let some = |command: &str| Some(command.to_owned());
        assert_eq!(commands(2), [some("ADD a /"), some("COPY c /")]);
        assert_eq!(commands(4), [some("ADD a /"), some("COPY c /"), some(""), None]);
        assert_eq!(commands(0), []);
        assert_eq!(found.history.len(), 4);
    }

    #[test]
    fn odd_configs_are_read_as_far_as_possible() {
        assert_eq!(read(&json!({})).steps_of_layers(1), [None]);
        assert_eq!(read(&json!({ "history": null, "config": null })), ImageConfig::default());
        assert_eq!(read(&json!({ "history": { "a": 1 }, "config": [1], "os": 3 })), ImageConfig::default());
        for content in ["", "[]", "{", "\"text\"", "null"] {
            assert_eq!(ImageConfig::read(content.as_bytes()), None, "{content}");
        }
    }

    #[test]
    fn long_configs_are_cut() {
        let long = "é".repeat(MAX_TEXT_LEN);
        let found = read(&json!({ "author": long, "config": { "Env": vec!["a"; MAX_ELEMENTS + 1] } }));
        assert!(found.author.len() <= MAX_TEXT_LEN && found.env.len() == MAX_ELEMENTS && found.incomplete);
        let labels = json!({ "a": "1", "b": "x".repeat(MAX_LABEL_BYTES) });
        let found = read(&json!({ "config": { "Labels": labels } }));
        assert_eq!((found.labels.len(), found.incomplete), (1, true));
    }
}
