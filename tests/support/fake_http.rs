//! A server of a test's own: HTTP/1.1 with connections that stay open, a thread each, and trouble on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::courier::Dice;

/// What happens to a request instead of its answer, or with it.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// Answered so, and nothing is done.
    Status(u16),
    /// Not even begun: nothing happened.
    Dropped,
    /// Done, and the connection is gone before the answer.
    DroppedAfter,
    /// Done, and half of the answer comes.
    Half,
    /// Answered so late.
    Slow(Duration),
}

/// Requests of a hundred that go wrong, some of them after they were done; the same for the same seed.
pub struct Failing {
    percent: u64,
    dice: Dice,
    /// How many did.
    pub failed: usize,
}

impl Failing {
    pub fn new(percent: u64, seed: u64) -> Self {
        Self {
            percent,
            dice: Dice::new(seed),
            failed: 0,
        }
    }

    /// What goes wrong with the next one.
    pub fn next(&mut self) -> Option<Trouble> {
        if self.dice.below(100) >= self.percent {
            return None;
        }
        self.failed += 1;
        Some(match self.dice.below(4) {
            0 => Trouble::Status(502),
            1 => Trouble::Dropped,
            2 => Trouble::DroppedAfter,
            _ => Trouble::Half,
        })
    }
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// As it was sent, without the query.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub raw_query: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What is sent after the head.
pub enum Content {
    Whole(Vec<u8>),
    /// As it comes.
    Streamed(Box<dyn Read + Send>),
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub content: Content,
}

impl Answer {
    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            content: Content::Whole(body.to_string().into_bytes()),
        }
    }

    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content: Content::Whole(Vec::new()),
        }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Who answers.
pub trait Site: Clone + Send + 'static {
    /// What goes wrong with this request.
    fn trouble(&self, request: &Request) -> Option<Trouble>;

    fn answer(&self, request: &Request) -> Answer;

    /// What was asked and how it was answered; none: the connection ended without an answer.
    fn saw(&self, request: Request, status: Option<u16>);

    /// A status that is answered instead of doing anything.
    fn failure(&self, status: u16) -> Answer {
        Answer::json(status, &json!({ "error": "trouble" }))
    }
}

pub fn serve<S: Site>(listener: TcpListener, site: S) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let site = site.clone();
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(request) = read(&mut reader, &stream) {
                    if !one(&site, &stream, request) {
                        let _ = stream.shutdown(Shutdown::Both);
                        return;
                    }
                }
            });
        }
    });
}

/// False: the connection ends.
fn one(site: &impl Site, stream: &TcpStream, request: Request) -> bool {
    let trouble = site.trouble(&request);
    if let Some(Trouble::Slow(by)) = trouble {
        std::thread::sleep(by);
    }
    let answer = match trouble {
        Some(Trouble::Dropped) => None,
        Some(Trouble::Status(status)) => Some(site.failure(status)),
        None | Some(Trouble::Slow(_) | Trouble::DroppedAfter | Trouble::Half) => Some(site.answer(&request)),
    };
    let told = !matches!(trouble, Some(Trouble::DroppedAfter));
    let answer = answer.filter(|_| told);
    site.saw(request, answer.as_ref().map(|a| a.status));
    let Some(answer) = answer else {
        return false;
    };
    write(stream, answer, matches!(trouble, Some(Trouble::Half))).unwrap_or(false)
}

/// None: the client has left.
fn read(reader: &mut BufReader<TcpStream>, mut stream: &TcpStream) -> Option<Request> {
    let line = line(reader)?;
    let mut words = line.split_whitespace();
    let mut request = Request {
        method: words.next()?.to_owned(),
        ..Request::default()
    };
    let target = words.next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    path.clone_into(&mut request.path);
    query.clone_into(&mut request.raw_query);
    request.query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(n, v)| (n.to_owned(), decoded(&v.replace('+', " "))))
        .collect();
    loop {
        let line = self::line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push(header);
    }
    if request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let length = usize::from_str_radix(self::line(reader)?.trim(), 16).ok()?;
            let before = request.body.len();
            request.body.resize(before + length, 0);
            reader.read_exact(&mut request.body[before..]).ok()?;
            self::line(reader)?;
            if length == 0 {
                break;
            }
        }
    } else {
        let length = request.header("content-length").map_or(0, |n| n.parse().unwrap());
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
    }
    Some(request)
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    Some(line.trim_end().to_owned())
}

/// `%2F` and the like.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex
            .and_then(|h| u8::from_str_radix(h, 16).ok())
            .filter(|_| *first == b'%')
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// True: the connection stays.
fn write(mut stream: &TcpStream, answer: Answer, half: bool) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = match answer.content {
        Content::Whole(body) => body,
        Content::Streamed(mut from) if !half => {
            head += "Transfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes())?;
            let mut piece = vec![0; 64 << 10];
            loop {
                let n = from.read(&mut piece)?;
                stream.write_all(format!("{n:x}\r\n").as_bytes())?;
                stream.write_all(&piece[..n])?;
                stream.write_all(b"\r\n")?;
                if n == 0 {
                    return Ok(true);
                }
            }
        }
        Content::Streamed(mut from) => {
            let mut body = Vec::new();
            from.read_to_end(&mut body)?;
            body
        }
    };
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    let sent = if half { &body[..body.len() / 2] } else { &body };
    stream.write_all(head.as_bytes())?;
    stream.write_all(sent)?;
    if half {
        // What was sent has to arrive before the end does.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(10)));
    }
    Ok(!half)
}
