//! Parses the command line, hands over, returns the exit code.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A shim costs a run its memory for hours: it goes before any runtime, logger or parser exists.
    let mut args = std::env::args_os().skip(1);
    let (word, run_dir) = (args.next(), args.next().unwrap_or_default());
    if word.as_deref() == Some(OsStr::new("shim")) {
        return orch::process::shim::main(Path::new(&run_dir));
    }
    if word.as_deref() == Some(OsStr::new("far")) {
        return orch::process::far::main(Path::new(&run_dir));
    }
    if orch::process::init::is_first() {
        return orch::process::init::main();
    }
    orch::cli::main(orch::app::serve)
}
