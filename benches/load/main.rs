//! A load generator: pushes to a registry and pulls from it as fast as a cheap client can, and prints the result as one
//! line of JSON. `tests/bench/run.py` starts it next to the servers that it measures. It needs only the standard
//! library, so that it costs little compared with the server.
//!
//! ```text
//! load images ADDR --count N [--jobs J] [--blobs B] [--layer L] [--repo R]   pushes images as Docker does
//! load blob   ADDR --bytes N [--repo R]                          streams one large layer
//! load fill   ADDR --count N [--jobs J] [--repo R]               one tag per manifest
//! load churn  ADDR --count N [--jobs J] [--repo R] [--step S]    S: push, move or delete
//! load pulls  ADDR --count N --images I --rate P [--jobs J] [--repo R]   P pulls per second of what `images` pushed
//! ```
//!
//! `--authorization A` sets the `Authorization` header of each request.

#![expect(unreachable_pub, reason = "here `pub` means: for the other files of this program")]
#![expect(
    clippy::unreadable_literal,
    clippy::many_single_char_names,
    reason = "SHA-256, as the standard writes it"
)]
#![expect(clippy::cast_possible_truncation, reason = "sizes of layers fit into memory")]
#![expect(clippy::unnecessary_wraps, reason = "all requests return results")]

mod connection;
mod pulls;
mod random;
mod sha256;

use std::fmt::Write as _;
use std::io;
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use connection::Connection;
use random::Random;
use sha256::Sha256;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn main() {
    let mut args = std::env::args().skip(1);
    // `cargo bench` and `cargo test --benches` start it without a server.
    let Some(mode) = args.next().filter(|mode| !mode.starts_with("--")) else {
        eprintln!("usage: load images|blob|fill|churn|pulls ADDR [--count N] …; see tests/bench");
        return;
    };
    let address = args.next().unwrap_or_else(|| die("no address"));
    let mut load = Load {
        address,
        authorization: String::new(),
        count: 100,
        jobs: 4,
        blobs: 9,
        layer: 8192,
        images: 0,
        rate: 100,
        bytes: 1 << 30,
        repo: "bench/load".to_owned(),
        step: "push".to_owned(),
        seed: u64::from(std::process::id()),
    };
    while let Some(name) = args.next() {
        let value = args.next().unwrap_or_else(|| die(&format!("{name} without a value")));
        let number = || value.parse().unwrap_or_else(|_| die(&format!("{name} {value}")));
        match name.as_str() {
            "--count" => load.count = number(),
            "--jobs" => load.jobs = number(),
            "--blobs" => load.blobs = number(),
            "--layer" => load.layer = number(),
            "--images" => load.images = number(),
            "--rate" => load.rate = number(),
            "--bytes" => load.bytes = number(),
            "--seed" => load.seed = number(),
            "--repo" => load.repo = value,
            "--authorization" => load.authorization = value,
            "--step" => load.step = value,
            _ => die(&format!("unknown option {name}")),
        }
    }
    let started = Instant::now();
    let mut more = String::new();
    let done = match mode.as_str() {
        "pulls" => load.pulls().map(|pulls| {
            more = pulls.to_json();
            load.count
        }),
        "images" => load.in_parallel(|job, number| load.push_image(job, number)),
        "blob" => load.push_large(),
        "fill" => load.fill(),
        "churn" => load.churn(),
        _ => die(&format!("unknown mode {mode}")),
    };
    let done = done.unwrap_or_else(|error| die(&error.to_string()));
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"mode\":\"{mode}\",\"done\":{done},\"seconds\":{seconds:.4},\"per_second\":{:.2}{more}}}",
        done as f64 / seconds
    );
}

fn die(message: &str) -> ! {
    eprintln!("load: {message}");
    exit(1)
}

struct Load {
    address: String,
    authorization: String,
    count: u64,
    jobs: u64,
    blobs: u64,
    /// The average size of a layer in bytes. Sizes range from half to twice this value.
    layer: u64,
    /// The number of images to pull from.
    images: u64,
    /// The number of pulls started per second.
    rate: u64,
    bytes: u64,
    repo: String,
    step: String,
    seed: u64,
}

impl Load {
    fn connect(&self) -> io::Result<Connection> {
        Connection::open(&self.address, &self.authorization)
    }

    /// Calls `one` for each number below `count` in `jobs` threads, each with its own connection.
    fn in_parallel(&self, one: impl Fn(&mut Connection, u64) -> io::Result<()> + Sync) -> io::Result<u64> {
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let jobs: Vec<_> = (0..self.jobs)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connection = self.connect()?;
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            if number >= self.count {
                                return Ok::<_, io::Error>(());
                            }
                            one(&mut connection, number)?;
                        }
                    })
                })
                .collect();
            jobs.into_iter().try_for_each(|job| job.join().expect("a job panicked"))
        })?;
        Ok(self.count)
    }

    fn manifest(&self, config: &str, layers: &[(String, usize)], note: u64) -> String {
        let mut text = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\
             \"application/vnd.docker.container.image.v1+json\",\"size\":2,\"digest\":\"{config}\"}},\
             \"note\":\"{}-{note}\",\"layers\":[",
            self.seed
        );
        for (at, (digest, size)) in layers.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(
                text,
                "{comma}{{\"mediaType\":\"application/vnd.docker.image.rootfs.diff.tar.gzip\",\
                 \"size\":{size},\"digest\":\"{digest}\"}}"
            )
            .expect("writing to a string");
        }
        text.push_str("]}");
        text
    }

    fn image_repo(&self, number: u64) -> String {
        format!("{}-{}", self.repo, number % 16)
    }

    /// Pushes an image of small blobs with the requests of a Docker engine.
    fn push_image(&self, connection: &mut Connection, number: u64) -> io::Result<()> {
        let repo = self.image_repo(number);
        let mut random = Random::new(self.seed << 24 | number);
        let mut layers = Vec::new();
        for _ in 0..self.blobs {
            let size = (self.layer / 2 + random.next() % (self.layer * 3 / 2 + 1)) as usize;
            let data = random.bytes(size);
            layers.push((self.push_blob(connection, &repo, &data)?, size));
        }
        let config = self.push_blob(connection, &repo, b"{}")?;
        let manifest = self.manifest(&config, &layers, number);
        let path = format!("/v2/{repo}/manifests/t{}-{number}", self.seed);
        connection.call("HEAD", &path, "", b"", &[404])?;
        self.put_manifest(connection, &path, &manifest)
    }

    fn put_manifest(&self, connection: &mut Connection, path: &str, text: &str) -> io::Result<()> {
        let header = format!("Content-Type: {MANIFEST}\r\n");
        connection.call("PUT", path, &header, text.as_bytes(), &[201])?;
        Ok(())
    }

    fn push_blob(&self, connection: &mut Connection, repo: &str, data: &[u8]) -> io::Result<String> {
        let digest = Sha256::digest(data);
        let blob = format!("/v2/{repo}/blobs/{digest}");
        if connection.call("HEAD", &blob, "", b"", &[200, 404])?.status == 200 {
            return Ok(digest);
        }
        let uploads = format!("/v2/{repo}/blobs/uploads/");
        let upload = connection.call("POST", &uploads, "", b"", &[202])?.location;
        connection.start_stream(&upload)?;
        connection.send_chunk(data)?;
        let upload = connection.end_stream(&[202])?.location;
        connection.call("PUT", &closing(&upload, &digest), "", b"", &[201])?;
        connection.call("HEAD", &blob, "", b"", &[200])?;
        Ok(digest)
    }

    /// Pushes one layer of `bytes` bytes: POST, one streamed PATCH without a length, PUT.
    fn push_large(&self) -> io::Result<u64> {
        // Repeats one mebibyte with a number in front: random enough, and cheap to generate.
        let mut piece = Random::new(self.seed).bytes(1 << 20);
        let pieces = self.bytes >> 20;
        let mut hash = Sha256::new();
        for number in 0..pieces {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            hash.update(&piece);
        }
        let digest = hash.finish();
        let mut connection = self.connect()?;
        let uploads = format!("/v2/{}/blobs/uploads/", self.repo);
        let started = Instant::now();
        let upload = connection.call("POST", &uploads, "", b"", &[202])?.location;
        connection.start_stream(&upload)?;
        for number in 0..pieces {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            connection.send_chunk(&piece)?;
        }
        let upload = connection.end_stream(&[202])?.location;
        connection.call("PUT", &closing(&upload, &digest), "", b"", &[201])?;
        eprintln!("{digest} {:.3}", started.elapsed().as_secs_f64());
        Ok(pieces << 20)
    }

    /// Pushes `count` manifests of one small layer, each under its own tag.
    fn fill(&self) -> io::Result<u64> {
        let mut connection = self.connect()?;
        let config = self.push_blob(&mut connection, &self.repo, b"{}")?;
        let layer = self.push_blob(&mut connection, &self.repo, b"layer")?;
        self.in_parallel(|connection, number| {
            let manifest = self.manifest(&config, &[(layer.clone(), 5)], number);
            let path = format!("/v2/{}/manifests/f{}-{number}", self.repo, self.seed);
            self.put_manifest(connection, &path, &manifest)
        })
    }

    /// Repeats one step: pushes an image with its own layer, moves a tag between manifests, or deletes by digest the
    /// images of an earlier `push` step (with the same seed and count).
    fn churn(&self) -> io::Result<u64> {
        let repo = &self.repo;
        let mut connection = self.connect()?;
        let config = self.push_blob(&mut connection, repo, b"{}")?;
        let image = |number: u64| {
            let layer = format!("layer {} {number}", self.seed).into_bytes();
            let digest = Sha256::digest(&layer);
            let text = self.manifest(&config, &[(digest, layer.len())], number);
            (layer, text)
        };
        self.in_parallel(|connection, number| match self.step.as_str() {
            "push" => {
                let (layer, manifest) = image(number);
                self.push_blob(connection, repo, &layer)?;
                let path = format!("/v2/{repo}/manifests/c{}-{number}", self.seed);
                self.put_manifest(connection, &path, &manifest)
            }
            "move" => {
                let (_, manifest) = image(number);
                let path = format!("/v2/{repo}/manifests/moving-{}", number % 8);
                self.put_manifest(connection, &path, &manifest)
            }
            "delete" => {
                let digest = Sha256::digest(image(number).1.as_bytes());
                let path = format!("/v2/{repo}/manifests/{digest}");
                connection.call("DELETE", &path, "", b"", &[202]).map(|_| ())
            }
            step => die(&format!("unknown step {step}")),
        })
    }
}

fn closing(upload: &str, digest: &str) -> String {
    let separator = if upload.contains('?') { '&' } else { '?' };
    format!("{upload}{separator}digest={digest}")
}
