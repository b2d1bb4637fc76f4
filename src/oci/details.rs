//! What an image is for: its platforms and labels. Read leniently: what cannot be read is not known.
//!
//! Real images have up to 500 kB of labels, and no image is refused for them. What is stored is bounded, and marked
//! where it is incomplete; a rule that asks for more reads the config or the index itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::platform::{Platform, PlatformLimits, Platforms};
use super::string_map::{self, Pairs};

/// The types of configs that images have.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The largest config that is read when an image is pushed, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// How many bytes of a config's labels are stored, as JSON.
pub const MAX_LABEL_BYTES: usize = 16 << 10;

/// What an image is for. By default nothing of it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageDetails {
    /// Its platforms like `linux/arm64/v8`; none for what is no image. `None`: not known.
    pub platforms: Option<Vec<String>>,
    /// The labels of its config. `None`: not known.
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether the config or index says more than this.
    pub incomplete: bool,
}

/// Which details are taken.
#[derive(Debug, Clone, Copy)]
pub enum DetailSelection<'a> {
    /// Those that are stored: labels of up to [`MAX_LABEL_BYTES`], whole pairs and short ones first, and up to 64
    /// platforms of up to 64 bytes.
    Stored,
    /// Those that rules ask for: platforms, and the values of these labels. A value of more than 16 KiB makes the
    /// labels unknown, and more than 1024 platforms or one of more than 1 KiB the platforms.
    Labels(&'a BTreeSet<String>),
}

#[derive(Deserialize)]
struct Config<'a> {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    #[serde(borrow, default)]
    config: Option<Runtime<'a>>,
}

#[derive(Deserialize)]
struct Runtime<'a> {
    #[serde(borrow, default, rename = "Labels")]
    labels: Option<&'a RawValue>,
}

impl ImageDetails {
    /// Whether a config of this type is an image's, so that it is worth reading.
    pub fn are_in(config_type: &str) -> bool {
        IMAGE_CONFIGS.contains(&config_type)
    }

    /// What the config of an image says.
    pub fn of_config(content: &[u8], selection: DetailSelection<'_>) -> Self {
        let Ok(config) = serde_json::from_slice::<Config<'_>>(content) else {
            return Self::default();
        };
        let labels = match config.config.and_then(|config| config.labels) {
            Some(json) => selection.labels(json.get()),
            None => Ok(Pairs::default()),
        };
        let Ok(labels) = labels else {
            return Self::default();
        };
        let platform = Platform::new(config.os, config.architecture, config.variant).known();
        let platforms =
            platform.map_or(Platforms::Unknown, |platform| Platforms::of(platform, selection.platforms()));
        Self::new(platforms, Some(labels), selection)
    }

    /// What an index says: its platforms.
    pub fn of_index(content: &[u8], selection: DetailSelection<'_>) -> Self {
        Self::new(Platforms::of_index(content, selection.platforms()), None, selection)
    }

    /// What is recorded: platforms as a JSON array and labels as a JSON object. What cannot be read is not known.
    pub fn of_record(platforms: Option<&str>, labels: Option<&str>, selection: DetailSelection<'_>) -> Self {
        let platforms = platforms.and_then(|json| serde_json::from_str::<Vec<String>>(json).ok());
        let platforms =
            platforms.map_or(Platforms::Unknown, |platforms| Platforms::of(platforms, selection.platforms()));
        let labels = labels.and_then(|json| selection.labels(json).ok());
        Self::new(platforms, labels, selection)
    }

    /// Of what is no image: it has neither.
    pub fn of_artifact() -> Self {
        Self { platforms: Some(Vec::new()), labels: Some(BTreeMap::new()), incomplete: false }
    }

    /// Whether nothing is known.
    pub fn are_unknown(&self) -> bool {
        *self == Self::default()
    }

    fn new(platforms: Platforms, labels: Option<Pairs>, selection: DetailSelection<'_>) -> Self {
        let lacks_labels = labels.as_ref().is_some_and(|labels| labels.incomplete);
        let incomplete = lacks_labels || platforms == Platforms::Exceeding;
        let platforms = match platforms {
            Platforms::Known(platforms) => Some(platforms),
            Platforms::Unknown | Platforms::Exceeding => None,
        };
        let labels = labels.filter(|labels| match selection {
            DetailSelection::Stored => true,
            DetailSelection::Labels(_) => !labels.incomplete,
        });
        Self { platforms, labels: labels.map(|labels| labels.pairs), incomplete }
    }
}

impl DetailSelection<'_> {
    fn platforms(self) -> PlatformLimits {
        match self {
            Self::Stored => PlatformLimits::STORED,
            Self::Labels(_) => PlatformLimits::READ,
        }
    }

    fn labels(self, json: &str) -> Result<Pairs, serde_json::Error> {
        match self {
            Self::Stored => string_map::shortest(json, MAX_LABEL_BYTES),
            Self::Labels(keys) => string_map::with_keys(json, keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ImageDetails {
        ImageDetails::of_config(text.as_bytes(), DetailSelection::Stored)
    }

    fn asked(text: &str, keys: &[&str]) -> ImageDetails {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        ImageDetails::of_config(text.as_bytes(), DetailSelection::Labels(&keys))
    }

    #[test]
    fn a_config_tells_platform_and_labels() {
        let found = of(r#"{"os":"linux","architecture":"arm","variant":"v7","x":[1],
                           "config":{"Labels":{"team":"a","empty":null},"Cmd":["x"]}}"#);
        assert_eq!(found.platforms, Some(vec!["linux/arm/v7".to_owned()]));
        let labels = found.labels.expect("known");
        assert_eq!((labels["team"].as_str(), labels["empty"].as_str()), ("a", ""));
        assert!(!found.incomplete);
    }

    #[test]
    fn an_attestation_has_no_platform() {
        let found = of(r#"{"os":"unknown","architecture":"unknown","config":null}"#);
        assert_eq!(found, ImageDetails::of_artifact());
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"os":1}"#,
            r#"{"os":"linux","architecture":"arm","config":7}"#,
            r#"{"os":"linux","architecture":"arm","config":{"Labels":{"a":1}}}"#,
        ] {
            assert!(of(text).are_unknown() && asked(text, &["a"]).are_unknown(), "{text}");
        }
        assert_eq!(of("{}").platforms, None);
        assert_eq!(of(r#"{"os":"linux"}"#).platforms, None);
    }

    #[test]
    fn of_many_labels_the_short_ones_are_stored() {
        let long = "x".repeat(MAX_LABEL_BYTES);
        let config = format!(r#"{{"config":{{"Labels":{{"license":"{long}","team":"a"}}}}}}"#);
        let stored = of(&config);
        assert_eq!(stored.labels.expect("known"), BTreeMap::from([("team".to_owned(), "a".to_owned())]));
        assert!(stored.incomplete);
        let read = asked(&config, &["license"]);
        assert_eq!((read.labels.expect("known")["license"].len(), read.incomplete), (long.len(), false));
        let longer = config.replace(&long, &(long.clone() + "x"));
        assert_eq!(
            (asked(&longer, &["license"]).labels, asked(&longer, &["license"]).incomplete),
            (None, true)
        );
        assert_eq!(asked(&longer, &["team"]).labels.expect("known")["team"], "a");
    }

    #[test]
    fn an_odd_platform_is_not_stored_and_can_be_read() {
        let config = r#"{"os":"linux","architecture":"arm 64"}"#;
        assert_eq!((of(config).platforms, of(config).incomplete), (None, true));
        assert_eq!(asked(config, &[]).platforms.expect("known"), ["linux/arm 64"]);
    }

    #[test]
    fn what_is_recorded_is_read_as_it_is_asked_for() {
        let keys = BTreeSet::from(["a".to_owned()]);
        let (platforms, labels) = (Some(r#"["linux/arm"]"#), Some(r#"{"a":"1","b":"2"}"#));
        let found = ImageDetails::of_record(platforms, labels, DetailSelection::Labels(&keys));
        assert_eq!(found.platforms.expect("known"), ["linux/arm"]);
        assert_eq!(found.labels.expect("known"), BTreeMap::from([("a".to_owned(), "1".to_owned())]));
        assert!(ImageDetails::of_record(None, Some("["), DetailSelection::Stored).are_unknown());
    }
}
