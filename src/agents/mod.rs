//! The agents: how one is started, what it is told, what its output says.
//! Never starts a process and never writes a file; whoever runs the agent does.

pub mod preset;
pub mod prices;
pub mod prompt;
pub mod quota;
pub mod usage;

pub use preset::{AgentChoice, AgentCommand, AgentError, Presets, PromptDelivery, PromptInput};
pub use prices::{Prices, PricesError};
pub use prompt::{PromptContext, PromptError};
pub use usage::{UsageFormat, UsageMeter};
