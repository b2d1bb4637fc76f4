//! A CI's history of sixty days under the preset `ci`: what should stay stays whole, everything else is gone
//! from the store, and the dry run told which is which.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orlop::clock::{Clock, Timestamp};
use orlop::jobs::fsck::fsck;
use orlop::jobs::retention::Retention;
use orlop::oci::{Digest, Reference, RepoName};
use orlop::registry::Repository;
use orlop::store::BlobStore;
use serde_json::{Value, json};

use crate::kit::*;
use crate::retention::{DAY, going, policies, retention};

const PUSHES: u64 = 500;
const REPOSITORIES: u64 = 8;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What one push brought.
struct Push {
    repo: RepoName,
    tag: String,
    number: u64,
    at: Timestamp,
    /// Everything that must be there for it, its own manifest first.
    manifests: Vec<Digest>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// Tags beside the commit's.
    tags: Vec<String>,
}

struct Ci<'a> {
    kit: &'a Kit,
    pushes: Vec<Push>,
}

impl Ci<'_> {
    async fn blob(&mut self, repo: &Repository, push: &mut Push, content: String) -> Digest {
        // As clients do: what is there is not sent again.
        let digest = digest(content.as_bytes());
        if repo.blob(&digest).await.is_err() {
            crate::kit::push(repo, content.as_bytes()).await;
        }
        push.blobs.insert(digest.clone(), content.into_bytes());
        digest
    }

    /// An image of a base that all builds share, of a base of its repository, and of a layer of its own.
    async fn image(&mut self, repo: &Repository, push: &mut Push, what: &str, os: &str) -> Value {
        let config = format!(r#"{{"os":"{os}","architecture":"{os}","of":"{what}","config":{{}}}}"#);
        let config = self.blob(repo, push, config).await;
        let base = self.blob(repo, push, "base ".repeat(1000)).await;
        let own_base = self.blob(repo, push, format!("base of {}", repo.name())).await;
        let layer = self.blob(repo, push, format!("layer of {what}")).await;
        let content = image(&config, &[&base, &own_base, &layer]);
        self.manifest(repo, push, &[], &content).await
    }

    async fn manifest(&mut self, repo: &Repository, push: &mut Push, tags: &[&str], content: &str) -> Value {
        let digest = put(repo, tags, content).await.expect("accepted");
        push.manifests.push(digest.clone());
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.as_str(), "size": content.len() })
    }

    /// One commit's build, as BuildKit pushes several platforms with their attestations, and cosign signs.
    async fn build(&mut self, number: u64) {
        let repo = self.kit.repo(&format!("team/app{}", number % REPOSITORIES));
        let tag = match number {
            n if n % 50 == 49 => format!("v1.{}", n / 50),
            n if n % 3 == 0 => format!("feature-{:07x}", n * 7919),
            n => format!("{:07x}", n * 7919),
        };
        let mut push = Push {
            repo: repo.name().clone(),
            tag: tag.clone(),
            number,
            at: self.kit.clock.now(),
            manifests: Vec::new(),
            blobs: BTreeMap::new(),
            tags: Vec::new(),
        };
        let what = format!("build {number}");
        let tags = [tag.as_str(), "latest"];
        if number % 4 == 1 {
            let mut members = Vec::new();
            for os in ["linux", "windows"] {
                let mut member = self.image(&repo, &mut push, &format!("{what} {os}"), os).await;
                member["platform"] = json!({ "os": os, "architecture": "amd64" });
                let mut attestation =
                    self.image(&repo, &mut push, &format!("attestation of {what} {os}"), "unknown").await;
                attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
                attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
                members.extend([member, attestation]);
            }
            let index = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": members,
            });
            self.manifest(&repo, &mut push, &tags, &index.to_string()).await;
        } else {
            let descriptor = self.image(&repo, &mut push, &what, "linux").await;
            let digest: Digest = descriptor["digest"].as_str().unwrap_or_default().parse().expect("a digest");
            for tag in tags {
                repo.point_tag(tag.parse().expect("tag"), &digest).await.expect("tagged");
            }
        }
        let subject = push.manifests.last().expect("an image").clone();
        match number % 6 {
            // cosign's older way, by a tag that spells the digest.
            1 => {
                let (config, layer) = (format!("{{\"signs\":{number}}}"), format!("signature {number}"));
                let (config, layer) =
                    (self.blob(&repo, &mut push, config).await, self.blob(&repo, &mut push, layer).await);
                let tag = format!("sha256-{}.sig", subject.hex());
                self.manifest(&repo, &mut push, &[&tag], &image(&config, &[&layer])).await;
                push.tags.push(tag);
            }
            // An SBOM and its signature as referrers.
            2 => {
                let mut about = subject.clone();
                for kind in ["sbom", "signature of the sbom"] {
                    let (config, layer) = (
                        self.blob(&repo, &mut push, "{}".into()).await,
                        self.blob(&repo, &mut push, format!("{kind} {number}")).await,
                    );
                    let mut referrer: Value = serde_json::from_str(&image(&config, &[&layer])).expect("json");
                    referrer["artifactType"] = json!("application/vnd.example.about");
                    referrer["subject"] = json!({
                        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": about.as_str(), "size": 1,
                    });
                    let put = self.manifest(&repo, &mut push, &[], &referrer.to_string()).await;
                    about = put["digest"].as_str().unwrap_or_default().parse().expect("a digest");
                }
            }
            _ => {}
        }
        self.pushes.push(push);
    }

    /// What the preset keeps, told apart from it: releases, the last ten builds of each branch, the newest three
    /// tags, what is at most three days old, and what `latest` is.
    fn staying(&self, now: Timestamp) -> Vec<&Push> {
        let mut stay = BTreeSet::new();
        let mut branches: BTreeMap<(&RepoName, bool), Vec<&Push>> = BTreeMap::new();
        let mut newest: BTreeMap<&RepoName, Vec<&Push>> = BTreeMap::new();
        for push in &self.pushes {
            newest.entry(&push.repo).or_default().push(push);
            if push.tag.starts_with('v') || push.at >= now.minus(3 * DAY) {
                stay.insert(push.number);
                if push.tag.starts_with('v') {
                    continue;
                }
            }
            branches.entry((&push.repo, push.tag.starts_with("feature-"))).or_default().push(push);
        }
        for builds in branches.values() {
            stay.extend(builds.iter().rev().take(10).map(|push| push.number));
        }
        for pushes in newest.values() {
            // `latest` is one of the newest three tags, and what it points at is the newest push.
            stay.extend(pushes.iter().rev().take(2).map(|push| push.number));
        }
        self.pushes.iter().filter(|push| stay.contains(&push.number)).collect()
    }
}

async fn all_tags(kit: &Kit) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for number in 0..REPOSITORIES {
        let repo = kit.repo(&format!("team/app{number}"));
        found.extend(
            crate::retention::tags(&repo).await.into_iter().map(|tag| format!("{}:{tag}", repo.name())),
        );
    }
    found
}

/// Everything that a push brought is there, to the byte.
async fn pulls_whole(kit: &Kit, push: &Push) {
    let repo = kit.repo(push.repo.as_str()).viewed();
    for digest in &push.manifests {
        let found = repo.manifest(&Reference::Digest(digest.clone())).await;
        let found = found.unwrap_or_else(|error| panic!("{} {digest}: {error}", push.tag));
        assert_eq!(crate::kit::digest(&found.content), *digest);
    }
    for (digest, content) in &push.blobs {
        assert_eq!(read(&repo, digest).await.as_ref(), Some(content), "{} {digest}", push.tag);
    }
}

async fn stored(kit: &Kit) -> BTreeSet<Digest> {
    let (mut found, mut from) = (BTreeSet::new(), None::<String>);
    loop {
        let page = kit.bytes.list(from.as_deref()).await.expect("listed");
        found.extend(page.blobs.into_iter().map(|(key, _)| key.digest));
        match page.next {
            Some(next) => from = Some(next),
            None => return found,
        }
    }
}

/// The plan is what the run does, to the tag.
async fn run_as_planned(kit: &Kit, retention: &Retention) -> usize {
    let before = all_tags(kit).await;
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(all_tags(kit).await, before);
    let going: BTreeSet<String> = going(&plan).into_iter().collect();
    retention.run_to_end().await.expect("run");
    let after = all_tags(kit).await;
    assert_eq!(before.difference(&after).cloned().collect::<BTreeSet<_>>(), going);
    going.len()
}

#[tokio::test]
async fn a_ci_history_is_kept_as_the_preset_says() {
    let mut kit = Kit::with(|settings| settings.lease = LEASE);
    let retention =
        retention(&mut kit, policies("[[policies]]\npreset = \"ci\"\nrepositories = [\"team/**\"]")).await;
    let mut ci = Ci { kit: &kit, pushes: Vec::new() };
    let step = Duration::from_secs_f64(60.0 * 86_400.0 / PUSHES as f64);
    let mut gone = 0;
    for number in 0..PUSHES {
        ci.build(number).await;
        kit.clock.advance(step);
        if number % 100 == 99 {
            gone += run_as_planned(&kit, &retention).await;
            kit.pass(HOUR).await;
        }
    }
    // Once more until nothing is left to do, and until trash and leases are over.
    for _ in 0..6 {
        kit.pass(TRASH.max(LEASE) + HOUR).await;
        gone += run_as_planned(&kit, &retention).await;
    }
    let judged_at = kit.clock.now();
    kit.pass(DAY).await;
    kit.pass(DAY).await;
    assert!(gone > 200, "{gone}");

    let staying = ci.staying(judged_at);
    let mut expected = BTreeSet::new();
    let (mut blobs, mut manifests) = (BTreeSet::new(), BTreeSet::new());
    for push in &staying {
        pulls_whole(&kit, push).await;
        expected.insert(format!("{}:{}", push.repo, push.tag));
        expected.insert(format!("{}:latest", push.repo));
        expected.extend(push.tags.iter().map(|tag| format!("{}:{tag}", push.repo)));
        blobs.extend(push.blobs.keys().cloned());
        manifests.extend(push.manifests.iter().map(|digest| (push.repo.clone(), digest.clone())));
    }
    assert_eq!(all_tags(&kit).await, expected);
    assert_eq!(stored(&kit).await, blobs);
    let recorded = kit.registry.metadata().manifests_after(0, 100_000).await.expect("manifests");
    let recorded: BTreeSet<_> =
        recorded.into_iter().map(|manifest| (manifest.repo, manifest.digest)).collect();
    assert_eq!(recorded, manifests);
    let report = fsck(&kit.registry, false, &|_| {}).await.expect("checked");
    assert!(report.is_sound(), "{:?}", report.problems);
}
