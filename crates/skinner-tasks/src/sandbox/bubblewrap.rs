//! Bubblewrap, for machines where the kernel does not let every program make namespaces but lets `bwrap`, by a
//! security profile or because it is setuid. The helper then runs within it, and adds Landlock, seccomp and the limits.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::identity::NOBODY;
use super::protocol::Bind;
use super::root::{DEVICES, PROC};
use super::{Helper, SandboxConfig};

/// Where it is looked for.
const PLACES: [&str; 3] = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];
/// Where the helper's program is within.
const HELPER: &str = "/.helper";

/// The command that starts something within the namespaces of a sandbox.
#[derive(Clone, Debug)]
pub(super) struct Bubblewrap {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Bubblewrap {
    /// Where it is installed.
    pub fn new(config: &SandboxConfig, binds: &[Bind], private: &str) -> Option<Self> {
        let program = PLACES.iter().map(PathBuf::from).find(|path| path.exists())?;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&dyn AsRef<std::ffi::OsStr>]| {
            arguments.extend(words.iter().map(|word| word.as_ref().to_owned()));
        };
        let nobody = NOBODY.to_string();
        add(&[&"--unshare-all", &"--unshare-user", &"--uid", &nobody, &"--gid", &nobody]);
        add(&[&"--cap-drop", &"ALL", &"--new-session", &"--hostname", &"sandbox"]);
        for bind in binds {
            match bind {
                Bind::Same { at, from, .. } => add(&[&"--ro-bind", from, at]),
                Bind::Link { at, to } => add(&[&"--symlink", to, at]),
            }
        }
        for name in DEVICES {
            let device = Path::new("/dev").join(name);
            add(&[&"--dev-bind", &device, &device]);
        }
        let size = config.disk_bytes.to_string();
        add(&[&"--proc", &PROC, &"--size", &size, &"--perms", &"0700", &"--tmpfs", &private]);
        Some(Self { program, arguments })
    }

    /// What it says where it does not start the helper.
    pub fn complaint(&self, helper: &Helper) -> String {
        let output = self
            .command(helper)
            .and_then(|mut command| command.stdin(Stdio::null()).env_clear().output());
        match output {
            Ok(output) if !output.stderr.is_empty() => {
                String::from_utf8_lossy(&output.stderr).trim().to_owned()
            }
            Ok(output) => format!("bwrap does not start the helper ({})", output.status),
            Err(error) => format!("bwrap cannot be started: {error}"),
        }
    }

    /// The helper within.
    ///
    /// # Errors
    /// If the helper's program is not to be found.
    pub fn command(&self, helper: &Helper) -> io::Result<Command> {
        // The link of a process to its own program would lead to `bwrap`.
        let own = fs::canonicalize(&helper.program)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("--ro-bind").arg(own).arg(HELPER);
        command.args(["--remount-ro", "/", "--", HELPER]).args(&helper.arguments);
        if geteuid().is_root() {
            // Limits on processes do not hold for root, and root's files would be the program's own.
            command.uid(NOBODY).gid(NOBODY);
        }
        Ok(command)
    }
}
