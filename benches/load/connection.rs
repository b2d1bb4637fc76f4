//! A minimal HTTP/1.1 client whose cost is small compared with the server's.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A response with the parts that the load needs.
pub struct Response {
    pub status: u16,
    pub location: String,
    pub body: Vec<u8>,
}

/// A kept-alive connection that sends one request at a time.
pub struct Connection {
    /// The headers common to all requests.
    common: String,
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
    line: String,
}

impl Connection {
    /// Opens a connection. Each request carries `authorization` in its header unless it is empty.
    pub fn open(address: &str, authorization: &str) -> io::Result<Self> {
        let mut common = format!("Host: {address}\r\n");
        if !authorization.is_empty() {
            common.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            common,
            stream: BufReader::with_capacity(16 << 10, stream),
            out: Vec::new(),
            line: String::new(),
        })
    }

    fn write_head(&mut self, method: &str, path: &str, headers: &str) {
        self.out.clear();
        let common = &self.common;
        write!(self.out, "{method} {path} HTTP/1.1\r\n{common}{headers}").expect("writing to a vector");
    }

    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
        expected: &[u16],
    ) -> io::Result<Response> {
        self.write_head(method, path, headers);
        write!(self.out, "Content-Length: {}\r\n\r\n", body.len())?;
        self.out.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.out)?;
        self.read_response(method, path, expected)
    }

    pub fn start_stream(&mut self, path: &str) -> io::Result<()> {
        self.write_head("PATCH", path, "Transfer-Encoding: chunked\r\n\r\n");
        Ok(())
    }

    /// Sends a chunk. Short chunks are sent together with the head or the end of the stream.
    pub fn send_chunk(&mut self, data: &[u8]) -> io::Result<()> {
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

    pub fn end_stream(&mut self, expected: &[u16]) -> io::Result<Response> {
        self.out.extend_from_slice(b"0\r\n\r\n");
        self.stream.get_mut().write_all(&self.out)?;
        self.read_response("PATCH", "", expected)
    }

    fn next_line(&mut self) -> io::Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::Error::other("the server closed the connection"));
        }
        Ok(self.line.trim_end())
    }

    fn read_response(&mut self, method: &str, path: &str, expected: &[u16]) -> io::Result<Response> {
        let status = self.next_line()?.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status line"))?;
        let mut location = String::new();
        let mut length = 0;
        let mut chunked = false;
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
                path.unwrap_or(value).clone_into(&mut location);
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
        if !expected.contains(&status) {
            let body = String::from_utf8_lossy(&body);
            return Err(io::Error::other(format!("{method} {path}: {status} {body}")));
        }
        Ok(Response { status, location, body })
    }

    fn read_into(&mut self, body: &mut Vec<u8>, size: usize) -> io::Result<()> {
        let from = body.len();
        body.resize(from + size, 0);
        self.stream.read_exact(&mut body[from..])
    }
}
