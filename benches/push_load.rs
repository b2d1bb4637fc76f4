//! Pushes to a registry as fast as a cheap client can, and prints what it did as one line of JSON.
//! `tests/bench/run` starts it beside the servers that it measures; it needs nothing but the
//! standard library, so that the load costs little beside the server.
//!
//! ```text
//! push_load images ADDR --count N [--jobs J] [--blobs B] [--repo R]   as Docker pushes images
//! push_load blob   ADDR --bytes N [--repo R]                          one large layer, streamed
//! push_load fill   ADDR --count N [--jobs J] [--repo R]               manifests under a tag each
//! push_load churn  ADDR --count N [--jobs J] [--repo R] [--step S]    S: push, move or delete
//! ```

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn main() {
    let mut args = std::env::args().skip(1);
    // `cargo bench` and `cargo test --benches` start it without a server to talk to.
    let Some(mode) = args.next().filter(|mode| !mode.starts_with("--")) else {
        eprintln!("usage: push_load images|blob|fill|churn ADDR [--count N] …; see tests/bench");
        return;
    };
    let address = args.next().unwrap_or_else(|| die("no address"));
    let mut load = Load {
        address,
        count: 100,
        jobs: 4,
        blobs: 9,
        bytes: 1 << 30,
        repo: "bench/load".to_owned(),
        step: "push".to_owned(),
        seed: std::process::id() as u64,
    };
    while let Some(name) = args.next() {
        let value = args.next().unwrap_or_else(|| die(&format!("{name} without a value")));
        let number = || value.parse().unwrap_or_else(|_| die(&format!("{name} {value}")));
        match name.as_str() {
            "--count" => load.count = number(),
            "--jobs" => load.jobs = number(),
            "--blobs" => load.blobs = number(),
            "--bytes" => load.bytes = number(),
            "--seed" => load.seed = number(),
            "--repo" => load.repo = value,
            "--step" => load.step = value,
            _ => die(&format!("unknown option {name}")),
        }
    }
    let begun = Instant::now();
    let done = match mode.as_str() {
        "images" => load.in_parallel(|job, number| load.push_image(job, number)),
        "blob" => load.push_large(),
        "fill" => load.fill(),
        "churn" => load.churn(),
        _ => die(&format!("unknown mode {mode}")),
    };
    let done = done.unwrap_or_else(|error| die(&error.to_string()));
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{{\"mode\":\"{mode}\",\"done\":{done},\"seconds\":{seconds:.4},\"per_second\":{:.2}}}",
        done as f64 / seconds
    );
}

fn die(message: &str) -> ! {
    eprintln!("push_load: {message}");
    exit(1)
}

struct Load {
    address: String,
    count: u64,
    jobs: u64,
    blobs: u64,
    bytes: u64,
    repo: String,
    step: String,
    seed: u64,
}

impl Load {
    /// Does `one` for each number up to `count`, `jobs` at a time, each with its own connection.
    fn in_parallel(&self, one: impl Fn(&mut Connection, u64) -> io::Result<()> + Sync) -> io::Result<u64> {
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let jobs: Vec<_> = (0..self.jobs)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connection = Connection::open(&self.address)?;
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

    /// An image of small blobs, with the requests that a Docker engine makes.
    fn push_image(&self, connection: &mut Connection, number: u64) -> io::Result<()> {
        let repo = format!("{}-{}", self.repo, number % 16);
        let mut random = Random::new(self.seed << 24 | number);
        let mut layers = Vec::new();
        for _ in 0..self.blobs {
            let size = 4096 + (random.next() % 12289) as usize;
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
        connection.piece(data)?;
        let upload = connection.end_stream(&[202])?.location;
        connection.call("PUT", &closing(&upload, &digest), "", b"", &[201])?;
        connection.call("HEAD", &blob, "", b"", &[200])?;
        Ok(digest)
    }

    /// One layer of `bytes` bytes: POST, one streamed PATCH without a length, PUT.
    fn push_large(&self) -> io::Result<u64> {
        // The same megabyte again and again, numbered: random enough, and cheap to make.
        let mut piece = Random::new(self.seed).bytes(1 << 20);
        let pieces = self.bytes >> 20;
        let mut hash = Sha256::new();
        for number in 0..pieces {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            hash.update(&piece);
        }
        let digest = hash.finish();
        let mut connection = Connection::open(&self.address)?;
        let uploads = format!("/v2/{}/blobs/uploads/", self.repo);
        let begun = Instant::now();
        let upload = connection.call("POST", &uploads, "", b"", &[202])?.location;
        connection.start_stream(&upload)?;
        for number in 0..pieces {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            connection.piece(&piece)?;
        }
        let upload = connection.end_stream(&[202])?.location;
        connection.call("PUT", &closing(&upload, &digest), "", b"", &[201])?;
        eprintln!("{digest} {:.3}", begun.elapsed().as_secs_f64());
        Ok(pieces << 20)
    }

    /// `count` manifests of one small layer, each under its own tag.
    fn fill(&self) -> io::Result<u64> {
        let mut connection = Connection::open(&self.address)?;
        let config = self.push_blob(&mut connection, &self.repo, b"{}")?;
        let layer = self.push_blob(&mut connection, &self.repo, b"layer")?;
        self.in_parallel(|connection, number| {
            let manifest = self.manifest(&config, &[(layer.clone(), 5)], number);
            let path = format!("/v2/{}/manifests/f{}-{number}", self.repo, self.seed);
            self.put_manifest(connection, &path, &manifest)
        })
    }

    /// One kind of step, again and again: push an image of its own layer, move a tag between two
    /// manifests, delete what `push` pushed by its digest (with the same seed and count).
    fn churn(&self) -> io::Result<u64> {
        let repo = &self.repo;
        let mut connection = Connection::open(&self.address)?;
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

struct Answer {
    status: u16,
    location: String,
}

/// A kept connection; requests on it one after the other.
struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
    line: String,
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            address: address.to_owned(),
            stream: BufReader::with_capacity(16 << 10, stream),
            out: Vec::new(),
            line: String::new(),
        })
    }

    fn head(&mut self, method: &str, path: &str, headers: &str) {
        self.out.clear();
        let address = &self.address;
        write!(self.out, "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}")
            .expect("writing to a vector");
    }

    fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
        want: &[u16],
    ) -> io::Result<Answer> {
        self.head(method, path, headers);
        write!(self.out, "Content-Length: {}\r\n\r\n", body.len())?;
        self.out.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.out)?;
        self.answer(method, path, want)
    }

    fn start_stream(&mut self, path: &str) -> io::Result<()> {
        self.head("PATCH", path, "Transfer-Encoding: chunked\r\n\r\n");
        Ok(())
    }

    /// What is short goes out together with the head or the end of the stream.
    fn piece(&mut self, data: &[u8]) -> io::Result<()> {
        write!(self.out, "{:x}\r\n", data.len())?;
        if data.len() < 64 << 10 {
            self.out.extend_from_slice(data);
        } else {
            self.stream.get_mut().write_all(&self.out)?;
            self.out.clear();
            self.stream.get_mut().write_all(data)?;
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn end_stream(&mut self, want: &[u16]) -> io::Result<Answer> {
        self.out.extend_from_slice(b"0\r\n\r\n");
        self.stream.get_mut().write_all(&self.out)?;
        self.answer("PATCH", "", want)
    }

    fn next_line(&mut self) -> io::Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::Error::other("the server closed the connection"));
        }
        Ok(self.line.trim_end())
    }

    fn answer(&mut self, method: &str, path: &str, want: &[u16]) -> io::Result<Answer> {
        let status = self.next_line()?.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status line"))?;
        let (mut location, mut length, mut chunked) = (String::new(), 0, false);
        loop {
            let line = self.next_line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = true;
            } else if name.eq_ignore_ascii_case("location") {
                let path =
                    value.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
                location = path.unwrap_or(value).to_owned();
            }
        }
        let mut body = Vec::new();
        match (method, chunked) {
            ("HEAD", _) => {}
            (_, false) => self.read_into(&mut body, length)?,
            (_, true) => loop {
                let size = usize::from_str_radix(self.next_line()?, 16).map_err(io::Error::other)?;
                self.read_into(&mut body, size)?;
                self.next_line()?;
                if size == 0 {
                    break;
                }
            },
        }
        if !want.contains(&status) {
            let body = String::from_utf8_lossy(&body);
            return Err(io::Error::other(format!("{method} {path}: {status} {body}")));
        }
        Ok(Answer { status, location })
    }

    fn read_into(&mut self, body: &mut Vec<u8>, size: usize) -> io::Result<()> {
        let from = body.len();
        body.resize(from + size, 0);
        self.stream.read_exact(&mut body[from..])
    }
}

/// xorshift64*: content that doesn't repeat.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// SHA-256 as FIPS 180-4 has it; the crate's own would tie the load to the code that it measures.
struct Sha256 {
    state: [u32; 8],
    rest: Vec<u8>,
    length: u64,
}

impl Sha256 {
    fn digest(data: &[u8]) -> String {
        let mut hash = Self::new();
        hash.update(data);
        hash.finish()
    }

    fn new() -> Self {
        let state =
            [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
        Self { state, rest: Vec::new(), length: 0 }
    }

    fn update(&mut self, mut data: &[u8]) {
        self.length += data.len() as u64;
        if !self.rest.is_empty() {
            let take = data.len().min(64 - self.rest.len());
            self.rest.extend_from_slice(&data[..take]);
            data = &data[take..];
            if self.rest.len() < 64 {
                return;
            }
            let block = std::mem::take(&mut self.rest);
            self.block(&block);
        }
        let blocks = data.chunks_exact(64);
        self.rest.extend_from_slice(blocks.remainder());
        for block in blocks {
            self.block(block);
        }
    }

    fn finish(mut self) -> String {
        let bits = self.length * 8;
        let mut padding = vec![0x80];
        padding.resize((119 - self.rest.len()) % 64 + 1, 0);
        padding.extend_from_slice(&bits.to_be_bytes());
        self.update(&padding);
        let mut text = String::from("sha256:");
        for word in self.state {
            write!(text, "{word:08x}").expect("writing to a string");
        }
        text
    }

    fn block(&mut self, block: &[u8]) {
        const K: [u32; 64] = [
            0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
            0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
            0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
            0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
            0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
            0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
            0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
            0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
        ];
        let mut w = [0u32; 64];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for t in 16..64 {
            let a = w[t - 15];
            let b = w[t - 2];
            let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            w[t] = w[t - 16].wrapping_add(s0).wrapping_add(w[t - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.state;
        for t in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choose = (e & f) ^ (!e & g);
            let t1 = h.wrapping_add(s1).wrapping_add(choose).wrapping_add(K[t]).wrapping_add(w[t]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (word, add) in self.state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(add);
        }
    }
}
