//! `orch outbox`: what could not be told yet, and sending it again.

use awc::http::Method;
use clap::{Args, Subcommand};

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::{plain, state};
use super::text;
use crate::engine::views::NoticeView;

const EXAMPLES: &str = "\
Examples:
  orch outbox               what is not delivered, and why
  orch outbox resend 17     send a notice again that was given up
  orch outbox resend --all  send all of them again";

/// What `outbox` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct OutboxArgs {
    #[command(subcommand)]
    command: Option<OutboxCommand>,
}

#[derive(Debug, Default, Subcommand)]
enum OutboxCommand {
    /// List what is not delivered: first what was given up, then what waits.
    #[default]
    List,
    /// Send again what was given up.
    Resend(Which),
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// The notice's number.
    id: Option<i64>,
    /// Every notice that was given up.
    #[arg(long)]
    all: bool,
}

const HEADER: [&str; 7] = ["NOTICE", "STATUS", "CHANNEL", "ATTEMPTS", "CAUSED", "TEXT", "WHY"];

pub(super) fn run(args: &OutboxArgs, global: &Global) -> Result<Exit, Failure> {
    match args.command.as_ref().unwrap_or(&OutboxCommand::default()) {
        OutboxCommand::List => list(global),
        OutboxCommand::Resend(which) => resend(which, global),
    }
}

fn list(global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let answer = converse(client.get("/api/v1/outbox"))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let notices: Vec<NoticeView> = answer.view()?;
    if notices.is_empty() {
        screen.line("Everything is delivered.")?;
        return Ok(Exit::Ok);
    }
    let now = text::now();
    let row = |n: &NoticeView| {
        vec![
            plain(n.id.to_string()),
            state(&n.status),
            plain(n.channel.as_str()),
            plain(n.attempts.to_string()),
            plain(text::ago(&n.created_at, now)),
            plain(n.text.as_str()),
            plain(n.error.as_deref().unwrap_or_default()),
        ]
    };
    screen.line(&screen.table(&HEADER, notices.iter().map(row).collect()))?;
    Ok(Exit::Ok)
}

fn resend(which: &Which, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let (sent, refused) = converse(async {
        let ids: Vec<i64> = match which.id {
            Some(id) => vec![id],
            None => {
                let listed: Vec<NoticeView> = client.get("/api/v1/outbox").await?.view()?;
                let dead = listed.iter().filter(|n| n.status == "dead");
                dead.map(|n| n.id).collect()
            }
        };
        let (mut sent, mut refused) = (Vec::new(), Vec::new());
        for id in ids {
            let path = format!("/api/v1/outbox/{id}/resend");
            match client.send(Method::POST, &path, None::<&()>).await {
                Ok(_) => sent.push(id),
                // One that cannot be sent must not keep the others.
                Err(Failure::Api {
                    status: 409, detail, ..
                }) if which.all => refused.push(detail),
                Err(e) => return Err(e),
            }
        }
        Ok((sent, refused))
    })?;
    let screen = global.screen();
    if global.json {
        screen.line(&serde_json::json!({ "resent": sent }).to_string())?;
    } else {
        screen.line(&match sent.len() {
            0 if refused.is_empty() => "Nothing was given up.".to_owned(),
            1 => "1 notice is sent again.".to_owned(),
            n => format!("{n} notices are sent again."),
        })?;
    }
    match refused.is_empty() {
        true => Ok(Exit::Ok),
        false => Err(Failure::Refused(refused.join("\n"))),
    }
}
