//! Pulls at a steady rate and measures how long the pulls take.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::{Load, MANIFEST};

/// The duration of each pull, from the time at which it was due. So waiting for a slow pull counts.
pub struct Pulls(Vec<Duration>);

impl Pulls {
    fn new(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self(took)
    }

    /// The duration in milliseconds that `permille` of 1000 pulls stay below.
    fn permille(&self, permille: usize) -> f64 {
        self.0[(self.0.len() * permille / 1000).min(self.0.len() - 1)].as_secs_f64() * 1000.0
    }

    pub fn to_json(&self) -> String {
        let [p50, p99, max] = [500, 990, 1000].map(|permille| self.permille(permille));
        format!(",\"p50_ms\":{p50:.3},\"p99_ms\":{p99:.3},\"max_ms\":{max:.3}")
    }
}

impl Load {
    /// Pulls images that [`Load::push_image`] pushed with the same seed: the manifest by its tag, the config
    /// and each layer.
    pub fn pulls(&self) -> io::Result<Pulls> {
        let started = Instant::now();
        let took = Mutex::new(Vec::new());
        self.in_parallel(|connection, number| {
            let due = started + Duration::from_secs_f64(number as f64 / self.rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.pull_image(connection, number % self.images)?;
            took.lock().expect("no thread panics").push(due.elapsed());
            Ok(())
        })?;
        Ok(Pulls::new(took.into_inner().expect("no thread panics")))
    }

    fn pull_image(&self, connection: &mut Connection, number: u64) -> io::Result<()> {
        let repo = self.image_repo(number);
        let path = format!("/v2/{repo}/manifests/t{}-{number}", self.seed);
        let response = connection.call("GET", &path, &format!("Accept: {MANIFEST}\r\n"), b"", &[200])?;
        let manifest = String::from_utf8_lossy(&response.body);
        for part in manifest.split("\"digest\":\"").skip(1) {
            let digest = part.split('"').next().unwrap_or_default();
            connection.call("GET", &format!("/v2/{repo}/blobs/{digest}"), "", b"", &[200])?;
        }
        Ok(())
    }
}
