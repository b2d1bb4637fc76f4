//! Several ranges of a blob in one response: `multipart/byteranges` (RFC 9110, section 14.6).

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use crate::http::payload::Payload;
use crate::metadata::BlobRecord;
use crate::registry::{BlobError, Repository};
use crate::store::{ByteStream, Content, StoreError};

/// The requested ranges of a blob, and the headers that separate them.
pub(super) struct Multipart {
    ranges: Vec<Range<u64>>,
    size: u64,
    boundary: String,
}

impl Multipart {
    /// A response with these `ranges` of a blob that has `size` bytes.
    pub(super) fn new(ranges: Vec<Range<u64>>, size: u64) -> Self {
        // Random, so that no blob can contain it.
        Self { ranges, size, boundary: Uuid::new_v4().simple().to_string() }
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// The length of the body in bytes.
    pub(super) fn len(&self) -> u64 {
        let part = |(at, range): (usize, &Range<u64>)| self.head(at).len() as u64 + range.end - range.start;
        self.ranges.iter().enumerate().map(part).sum::<u64>() + self.end().len() as u64
    }

    /// The body. The first part is opened at once, so that a blob that is gone still leads to an error response. The
    /// other parts are opened one after the other as the client reads.
    pub(super) async fn payload(
        self,
        repository: &Repository,
        blob: &BlobRecord,
    ) -> Result<Payload, BlobError> {
        let len = self.len();
        let mut opened = match self.ranges.first() {
            Some(first) => Some(repository.read_blob(blob, first.clone()).await?),
            None => None,
        };
        let repository = repository.clone();
        let blob = blob.clone();
        let end = Bytes::from(self.end());
        let parts = stream::iter(0..self.ranges.len()).then(move |at| {
            let head = Bytes::from(self.head(at));
            let range = self.ranges[at].clone();
            let repository = repository.clone();
            let blob = blob.clone();
            let opened = opened.take();
            async move { part(head, opened, &repository, &blob, range).await }
        });
        let pieces = parts.flatten().chain(stream::iter([Ok(end)]));
        Ok(Payload::content(Content::Stream(Box::pin(pieces)), len))
    }

    /// The separator before the part `at`: the end of the preceding line, the boundary and the part's headers.
    fn head(&self, at: usize) -> String {
        let Self { ranges, size, boundary } = self;
        let line_end = if at == 0 { "" } else { "\r\n" };
        let first = ranges[at].start;
        let last = ranges[at].end - 1;
        format!(
            "{line_end}--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
        )
    }

    fn end(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }
}

/// One part with its headers. Opens the blob if that is not done yet. A failure aborts the response.
async fn part(
    head: Bytes,
    opened: Option<Content>,
    repository: &Repository,
    blob: &BlobRecord,
    range: Range<u64>,
) -> ByteStream {
    let content = match opened {
        Some(content) => Ok(content),
        None => repository.read_blob(blob, range).await,
    };
    match content {
        Ok(content) => Box::pin(stream::iter([Ok(head)]).chain(content.into_stream())),
        Err(error) => Box::pin(stream::iter([Err(StoreError::Io(std::io::Error::other(error)))])),
    }
}
