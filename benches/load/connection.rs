//! Just enough HTTP/1.1 for a load that costs little beside the server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

pub struct Handler {
    pub status: u16,
    pub location: String,
    pub body: Vec<u8>,
}

/// A kept connection; requests on it one after the other.
pub struct Connection {
    /// What begins the headers of each request.
    common: String,
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
    line: String,
}

impl Connection {
    /// A connection on which each request carries this `Authorization`, if it is not empty.
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

    fn head(&mut self, method: &str, path: &str, headers: &str) {
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
        want: &[u16],
    ) -> io::Result<Handler> {
        self.head(method, path, headers);
        write!(self.out, "Content-Length: {}\r\n\r\n", body.len())?;
        self.out.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.out)?;
        self.answer(method, path, want)
    }

    pub fn start_stream(&mut self, path: &str) -> io::Result<()> {
        self.head("PATCH", path, "Transfer-Encoding: chunked\r\n\r\n");
        Ok(())
    }

    /// What is short goes out together with the head or the end of the stream.
    pub fn piece(&mut self, data: &[u8]) -> io::Result<()> {
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

    pub fn end_stream(&mut self, want: &[u16]) -> io::Result<Handler> {
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

    fn answer(&mut self, method: &str, path: &str, want: &[u16]) -> io::Result<Handler> {
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
        Ok(Handler { status, location, body })
    }

    fn read_into(&mut self, body: &mut Vec<u8>, size: usize) -> io::Result<()> {
        let from = body.len();
        body.resize(from + size, 0);
        self.stream.read_exact(&mut body[from..])
    }
}
