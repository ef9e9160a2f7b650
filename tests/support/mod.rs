//! The whole service in a temporary home: the real binary, real repositories, agents that are shell scripts.
//!
//! ```ignore
//! let repo = Repo::new();
//! let agent = Agent::new()
//!     .role("developer", "echo hello >src/hello.txt; commit 'say hello'")
//!     .role("reviewer", "verdict APPROVED");
//! let service = Setup::new()
//!     .set("max_concurrency", 4)
//!     .project(Project::new("shop", &repo).agent(&agent).then(THREE_STAGES))
//!     .start();
//! let id = service.add("Say hello");
//! service.wait_status(&id, "done");
//! ```
//!
//! Nothing waits for a fixed time: [`TestService::wait_task`] looks again whenever the service says that something
//! happened. Whatever a test started is ended when it is dropped, also by a panic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(dead_code, reason = "a test uses what it needs")]

mod agent;
mod api;
pub mod courier;
pub mod fake_gitea;
pub mod fake_http;
pub mod fake_plane;
mod fake_service;
mod postgres;
mod processes;
pub mod repo;
mod sender;
mod server;
mod service;
mod setup;
mod sshd;
mod wait;

pub use agent::Agent;
pub use api::{Answer, Api};
pub use fake_service::{Asked, FakeService, Reply};
pub use postgres::Postgres;
pub use processes::{children_of, is_shim, lives, processes_below};
pub use repo::{Repo, git, git_ok, snapshot};
pub use sender::{Post, SECRET, sign};
pub use server::{Server, Stop};
pub use service::TestService;
pub use setup::{ONE_STAGE, Project, Setup, THREE_STAGES};
pub use sshd::Sshd;
pub use wait::{PATIENCE, wait_until};
