//! The details of an image: its platforms and labels. Parsed leniently: anything that can't be read counts as unknown.
//!
//! Real images have up to 500 kB of labels, and no image is rejected because of them. The stored details are limited
//! and marked as incomplete where something was left out. A rule that needs more reads the config or the index itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::platform::{Platform, PlatformLimits, Platforms};
use super::string_map::{self, Pairs};

/// The media types of image configs.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The largest config that is read when an image is pushed, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The maximum size of a config's stored labels as JSON, in bytes.
pub const MAX_LABEL_BYTES: usize = 16 << 10;

/// The details of an image. By default everything is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageDetails {
    /// The platforms, such as `linux/arm64/v8`; empty if it is not an image. `None` if unknown.
    pub platforms: Option<Vec<String>>,
    /// The labels of the config. `None` if unknown.
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether the config or index has more than this.
    pub incomplete: bool,
}

/// Selects which details are read.
#[derive(Debug, Clone, Copy)]
pub enum DetailSelection<'a> {
    /// The details to store: labels of up to [`MAX_LABEL_BYTES`], whole pairs, shortest first, and up to 64 platforms
    /// of up to 64 bytes.
    Stored,
    /// The details that rules need: platforms, and the values of these labels. A value of more than 16 KiB makes the
    /// labels unknown. More than 1024 platforms, or a platform of more than 1 KiB, make the platforms unknown.
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
    /// Whether a config of this type belongs to an image, so that it should be read.
    pub fn is_image_config(config_type: &str) -> bool {
        IMAGE_CONFIGS.contains(&config_type)
    }

    /// Reads the details in an image config.
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

    /// Reads the platforms in an index.
    pub fn of_index(content: &[u8], selection: DetailSelection<'_>) -> Self {
        Self::new(Platforms::of_index(content, selection.platforms()), None, selection)
    }

    /// Reads recorded details: platforms as a JSON array and labels as a JSON object. Invalid JSON counts as unknown.
    pub fn of_record(platforms: Option<&str>, labels: Option<&str>, selection: DetailSelection<'_>) -> Self {
        let platforms = platforms.and_then(|json| serde_json::from_str::<Vec<String>>(json).ok());
        let platforms =
            platforms.map_or(Platforms::Unknown, |platforms| Platforms::of(platforms, selection.platforms()));
        let labels = labels.and_then(|json| selection.labels(json).ok());
        Self::new(platforms, labels, selection)
    }

    /// Returns the details of an artifact that is not an image: it has neither platforms nor labels.
    pub fn of_artifact() -> Self {
        Self { platforms: Some(Vec::new()), labels: Some(BTreeMap::new()), incomplete: false }
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
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

    fn selected(text: &str, keys: &[&str]) -> ImageDetails {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        ImageDetails::of_config(text.as_bytes(), DetailSelection::Labels(&keys))
    }

    #[test]
    fn reads_platform_and_labels_of_a_config() {
        let found = of(r#"{"os":"linux","architecture":"arm","variant":"v7","x":[1],
                           "config":{"Labels":{"team":"a","empty":null},"Cmd":["x"]}}"#);
        assert_eq!(found.platforms, Some(vec!["linux/arm/v7".to_owned()]));
        let labels = found.labels.expect("known");
        assert_eq!((labels["team"].as_str(), labels["empty"].as_str()), ("a", ""));
        assert!(!found.incomplete);
    }

    #[test]
    fn attestation_has_no_platform() {
        let found = of(r#"{"os":"unknown","architecture":"unknown","config":null}"#);
        assert_eq!(found, ImageDetails::of_artifact());
    }

    #[test]
    fn invalid_configs_are_unknown() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"os":1}"#,
            r#"{"os":"linux","architecture":"arm","config":7}"#,
            r#"{"os":"linux","architecture":"arm","config":{"Labels":{"a":1}}}"#,
        ] {
            assert!(of(text).is_unknown() && selected(text, &["a"]).is_unknown(), "{text}");
        }
        assert_eq!(of("{}").platforms, None);
        assert_eq!(of(r#"{"os":"linux"}"#).platforms, None);
    }

    #[test]
    fn stores_the_shortest_labels() {
        let long = "x".repeat(MAX_LABEL_BYTES);
        let config = format!(r#"{{"config":{{"Labels":{{"license":"{long}","team":"a"}}}}}}"#);
        let stored = of(&config);
        assert_eq!(stored.labels.expect("known"), BTreeMap::from([("team".to_owned(), "a".to_owned())]));
        assert!(stored.incomplete);
        let read = selected(&config, &["license"]);
        assert_eq!((read.labels.expect("known")["license"].len(), read.incomplete), (long.len(), false));
        let longer = config.replace(&long, &(long.clone() + "x"));
        assert_eq!(
            (selected(&longer, &["license"]).labels, selected(&longer, &["license"]).incomplete),
            (None, true)
        );
        assert_eq!(selected(&longer, &["team"]).labels.expect("known")["team"], "a");
    }

    #[test]
    fn unusual_platform_is_not_stored_but_can_be_read() {
        let config = r#"{"os":"linux","architecture":"arm 64"}"#;
        assert_eq!((of(config).platforms, of(config).incomplete), (None, true));
        assert_eq!(selected(config, &[]).platforms.expect("known"), ["linux/arm 64"]);
    }

    #[test]
    fn recorded_details_are_reduced_to_the_selection() {
        let keys = BTreeSet::from(["a".to_owned()]);
        let platforms = Some(r#"["linux/arm"]"#);
        let labels = Some(r#"{"a":"1","b":"2"}"#);
        let found = ImageDetails::of_record(platforms, labels, DetailSelection::Labels(&keys));
        assert_eq!(found.platforms.expect("known"), ["linux/arm"]);
        assert_eq!(found.labels.expect("known"), BTreeMap::from([("a".to_owned(), "1".to_owned())]));
        assert!(ImageDetails::of_record(None, Some("["), DetailSelection::Stored).is_unknown());
    }
}
