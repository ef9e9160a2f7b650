//! Repositories over HTTP, by git's own `http-backend`. Who may: by basic authentication, the token as its password, or by
//! `Authorization: token`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::FakeGitea;
use crate::support::fake_http::{Answer, Content, Request};

/// Debian and others keep it here; `git --exec-path` names it anywhere.
static BACKEND: LazyLock<String> = LazyLock::new(|| {
    let path = Command::new("git").arg("--exec-path").output().unwrap().stdout;
    format!("{}/git-http-backend", String::from_utf8(path).unwrap().trim())
});

pub(super) fn answer(gitea: &FakeGitea, request: &Request) -> Answer {
    let Some((name, rest)) = request.path.trim_start_matches('/').split_once(".git/") else {
        return Answer::empty(404);
    };
    let asked = request.query.iter().find(|(n, _)| n == "service");
    let service = asked.map_or(rest, |(_, service)| service);
    let (account, room) = {
        let world = gitea.world();
        if !world.repositories.contains_key(name) {
            return Answer::empty(404);
        }
        let token = request.header("authorization").and_then(token_of);
        let account = token.and_then(|token| world.accounts.get(&token).cloned());
        (account, world.room.path().to_owned())
    };
    let Some(account) = account else {
        return Answer::empty(401).with("WWW-Authenticate", "Basic realm=\"Gitea\"");
    };
    if service == "git-receive-pack" && !account.writes {
        return Answer::empty(403);
    }
    let receives = rest == "git-receive-pack";
    let before = receives.then(|| gitea.world().heads(name));
    let mut child = Command::new(BACKEND.as_str())
        .env("GIT_PROJECT_ROOT", room)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.raw_query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env(
            "HTTP_CONTENT_ENCODING",
            request.header("content-encoding").unwrap_or_default(),
        )
        .env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
        .env("REMOTE_USER", &account.login)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, body) = (child.stdin.take().unwrap(), request.body.clone());
    std::thread::spawn(move || {
        // A backend that has heard enough hangs up.
        let _ = stdin.write_all(&body);
    });
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut answer = Answer::empty(200);
    loop {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name {
            "Status" => answer.status = value[..3].parse().unwrap(),
            _ => answer.headers.push((name.to_owned(), value.to_owned())),
        }
    }
    if let Some(before) = before {
        // Webhooks go out before the client has read the end.
        let mut whole = Vec::new();
        out.read_to_end(&mut whole).unwrap();
        child.wait().unwrap();
        gitea.world().pushed(name, &before, &account.login);
        answer.content = Content::Whole(whole);
    } else {
        answer.content = Content::Streamed(Box::new(Backend { child, out }));
    }
    answer
}

/// The rest of what a backend says; it is waited for at its end.
struct Backend {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Read for Backend {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.out.read(into)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.wait();
    }
}

pub(super) fn token_of(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "token" | "bearer" => Some(rest.to_owned()),
        "basic" => {
            let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            let (name, password) = pair.split_once(':')?;
            Some(if password.is_empty() { name } else { password }.to_owned())
        }
        _ => None,
    }
}
