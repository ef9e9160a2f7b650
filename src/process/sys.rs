//! The system calls that std does not offer, each behind a safe function. All `unsafe` of the crate is here.
//! Never decides anything.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::time::Duration;

use libc::c_int;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What the shim hears through its signal descriptor instead of dying of it.
const CAUGHT: [c_int; 13] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGXFSZ,
    libc::SIGXCPU,
];

fn checked(result: c_int) -> io::Result<c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Closes everything but stdin, stdout and stderr. To be called before this process opened anything itself.
pub fn close_inherited_files() {
    // SAFETY: no pointers; the caller runs first in `main`, so no open descriptor has an owner here.
    // A kernel without the call leaves them open, which std's close-on-exec makes harmless.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Leaves the session of whoever started us. A session leader already is where it should be.
pub fn new_session() {
    // SAFETY: no pointers; the only failure means that we lead a process group already.
    unsafe { libc::setsid() };
}

/// Orphans below this process become its children instead of init's.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Blocks what is in [`CAUGHT`] and returns the descriptor from which it is read.
pub fn catch_signals() -> io::Result<File> {
    // SAFETY: a zeroed sigset_t is memory that sigemptyset may initialise; the pointers live through the calls;
    // signalfd returns a fresh descriptor that nobody else owns.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in CAUGHT {
            // An ignored SIGCHLD survives exec and would make children vanish unseen.
            libc::signal(signal, libc::SIG_DFL);
            libc::sigaddset(&mut set, signal);
        }
        checked(libc::sigprocmask(libc::SIG_SETMASK, &set, ptr::null_mut()))?;
        let fd = checked(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(File::from(OwnedFd::from_raw_fd(fd)))
    }
}

/// `struct signalfd_siginfo`, see `signalfd(2)`.
const SIGNAL_BYTES: usize = 128;

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A process.
    Process,
    /// The system itself, such as a terminal on Ctrl-C.
    Kernel,
}

/// The next signal out of the descriptor of [`catch_signals`], if one is waiting.
pub fn take_signal(signals: &mut File) -> Option<(c_int, Sender)> {
    let mut raw = [0; SIGNAL_BYTES];
    if !signals.read(&mut raw).is_ok_and(|n| n == SIGNAL_BYTES) {
        return None;
    }
    // The number, an unused errno, and the code.
    let field = |n: usize| c_int::from_ne_bytes([raw[4 * n], raw[4 * n + 1], raw[4 * n + 2], raw[4 * n + 3]]);
    let sender = if field(2) == libc::SI_KERNEL {
        Sender::Kernel
    } else {
        Sender::Process
    };
    Some((field(0), sender))
}

/// Makes the child die with this process, and gives it back the signals that this process has blocked.
pub fn tie_to_this_process(command: &mut Command) {
    let parent = std::process::id();
    let prepare = move || {
        // SAFETY: runs between fork and exec: prctl, getppid, sigemptyset and sigprocmask are
        // async-signal-safe, and the set is initialised before it is used.
        unsafe {
            checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            let mut none: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut none);
            checked(libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut()))?;
        }
        Ok(())
    };
    // SAFETY: `prepare` neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What there was to collect.
pub enum Reaped {
    /// Children live, none has ended.
    Nothing,
    /// There are no children at all.
    NoChildren,
    /// This one ended, and is gone now.
    Child(i32, Ending),
}

/// Collects one ended child of this process, whichever.
pub fn reap_any() -> io::Result<Reaped> {
    // SAFETY: siginfo_t is plain data that waitid fills in; after it returned 0 with a pid, the fields
    // read here are those of a child's end.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
        if let Err(error) = checked(libc::waitid(libc::P_ALL, 0, &mut info, options)) {
            return match error.raw_os_error() {
                Some(libc::ECHILD) => Ok(Reaped::NoChildren),
                Some(libc::EINTR) => Ok(Reaped::Nothing),
                Some(_) | None => Err(error),
            };
        }
        let ending = if info.si_code == libc::CLD_EXITED {
            Ending::Code(info.si_status())
        } else {
            Ending::Signal(info.si_status())
        };
        Ok(match info.si_pid() {
            0 => Reaped::Nothing,
            pid => Reaped::Child(pid, ending),
        })
    }
}

/// Collects exactly this process if it ended and was our child; otherwise nothing happens.
pub fn reap_held(process: BorrowedFd<'_>) {
    // SAFETY: siginfo_t is plain data that waitid may fill in; the descriptor is open while borrowed.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        let id = process.as_raw_fd().unsigned_abs();
        libc::waitid(libc::P_PIDFD, id, &mut info, libc::WEXITED | libc::WNOHANG);
    }
}

/// The same by pid, for kernels without pidfd. The caller has seen that this very process is a zombie.
pub fn reap_zombie(pid: i32) {
    // SAFETY: siginfo_t is plain data that waitid may fill in.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        libc::waitid(
            libc::P_PID,
            pid.unsigned_abs(),
            &mut info,
            libc::WEXITED | libc::WNOHANG,
        );
    }
}

/// A descriptor that means this process and never a successor with the same pid.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the call returns a fresh descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0_u32);
        let fd = checked(c_int::try_from(fd).unwrap_or(-1))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Makes the end of a held process awaitable: that is when its descriptor becomes readable (`pidfd_open(2)`).
/// Panics outside a tokio runtime.
pub fn await_held(process: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and stays the same descriptor for as long as the AsyncFd owns it.
    let registered = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
    Ok(registered?)
}

/// Sends a signal to a held process.
pub fn signal_held(process: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open while borrowed; a null siginfo is allowed.
    let sent = unsafe {
        let info = ptr::null::<libc::siginfo_t>();
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            info,
            0_u32,
        )
    };
    checked(c_int::try_from(sent).unwrap_or(-1)).map(drop)
}

/// Sends a signal by pid; a negative pid means a process group.
pub fn signal_pid(pid: i32, signal: c_int) -> io::Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Reads of this descriptor return at once.
pub fn set_nonblocking(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers; the descriptor is open while borrowed.
    unsafe {
        let flags = checked(libc::fcntl(file.as_raw_fd(), libc::F_GETFL))?;
        checked(libc::fcntl(
            file.as_raw_fd(),
            libc::F_SETFL,
            flags | libc::O_NONBLOCK,
        ))
        .map(drop)
    }
}

/// Waits until something can be read or has ended, and says which. `None` in `files` is passed over.
pub fn wait_readable<const N: usize>(
    files: [Option<BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = files.map(|file| libc::pollfd {
        fd: file.map_or(-1, |f| f.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    });
    // Rounded up, so that a deadline has passed when we wake for it.
    let millis = timeout.map_or(-1, |t| {
        c_int::try_from(t.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: the array outlives the call and its length is passed with it.
    let woken = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, millis) };
    match checked(woken) {
        Ok(_) => Ok(polled.map(|p| p.revents != 0)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
        Err(error) => Err(error),
    }
}

/// Blocks of a file system, all of one size.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Taken.
    pub used: u64,
    /// Free for this user.
    pub free: u64,
}

/// How the file system stands that holds a path.
pub fn blocks(path: &CStr) -> io::Result<Blocks> {
    // SAFETY: statvfs is plain data that the call fills in; the path ends with a zero and outlives the call.
    let stat = unsafe {
        let mut stat: libc::statvfs = mem::zeroed();
        checked(libc::statvfs(path.as_ptr(), &mut stat))?;
        stat
    };
    Ok(Blocks {
        used: stat.f_blocks.saturating_sub(stat.f_bfree),
        free: stat.f_bavail,
    })
}

/// Since this machine was started, sleep included. Nobody sets this clock.
pub fn time_since_boot() -> Duration {
    // SAFETY: timespec is plain data that clock_gettime fills in; CLOCK_BOOTTIME always exists on Linux.
    let now = unsafe {
        let mut now: libc::timespec = mem::zeroed();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now);
        now
    };
    let (s, ns) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(s.unwrap_or(0), ns.unwrap_or(0))
}

/// What all collected children used together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Consumption {
    /// Peak resident memory of the largest one, bytes.
    pub peak_memory_bytes: u64,
    /// User and system time, microseconds.
    pub cpu_us: u64,
}

/// What the collected children of this process used, their own children included.
pub fn consumption_of_children() -> Consumption {
    // SAFETY: rusage is plain data that getrusage fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let micros = |t: libc::timeval| u64::try_from(t.tv_sec * 1_000_000 + t.tv_usec).unwrap_or(0);
    Consumption {
        peak_memory_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        cpu_us: micros(usage.ru_utime) + micros(usage.ru_stime),
    }
}
