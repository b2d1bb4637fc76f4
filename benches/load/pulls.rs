//! Pulls at a steady rate, and how long they took.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::{Load, MANIFEST};

/// How long each pull took, from when it should have begun: what waits behind a slow one counts.
pub struct Pulls(Vec<Duration>);

impl Pulls {
    fn new(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self(took)
    }

    /// Milliseconds that so many of 1000 pulls stay below.
    fn permille(&self, permille: usize) -> f64 {
        self.0[(self.0.len() * permille / 1000).min(self.0.len() - 1)].as_secs_f64() * 1000.0
    }

    pub fn to_json(&self) -> String {
        let [half, most, max] = [500, 990, 1000].map(|permille| self.permille(permille));
        format!(",\"p50_ms\":{half:.3},\"p99_ms\":{most:.3},\"max_ms\":{max:.3}")
    }
}

impl Load {
    /// Pulls images that [`Load::push_image`] pushed with the same seed: the manifest by its tag, the config
    /// and each layer.
    pub fn pulls(&self) -> io::Result<Pulls> {
        let begun = Instant::now();
        let took = Mutex::new(Vec::new());
        self.in_parallel(|connection, number| {
            let due = begun + Duration::from_secs_f64(number as f64 / self.rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.pull_image(connection, number % self.images)?;
            took.lock().expect("nobody panics").push(due.elapsed());
            Ok(())
        })?;
        Ok(Pulls::new(took.into_inner().expect("nobody panics")))
    }

    fn pull_image(&self, connection: &mut Connection, number: u64) -> io::Result<()> {
        let repo = self.image_repo(number);
        let path = format!("/v2/{repo}/manifests/t{}-{number}", self.seed);
        let answer = connection.call("GET", &path, &format!("Accept: {MANIFEST}\r\n"), b"", &[200])?;
        let manifest = String::from_utf8_lossy(&answer.body);
        for part in manifest.split("\"digest\":\"").skip(1) {
            let digest = part.split('"').next().unwrap_or_default();
            connection.call("GET", &format!("/v2/{repo}/blobs/{digest}"), "", b"", &[200])?;
        }
        Ok(())
    }
}
