//! Trackers, forges, receivers of notifications: closed sets, enums with the same inherent methods. A new one is a new file and a new
//! variant, and the compiler asks for it everywhere. Never decides when something is said or done.

mod exchange;
pub mod forge;
pub mod notify;
pub mod probe;
pub mod tracker;
