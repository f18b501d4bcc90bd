//! The caller's side: what the machine has, and how a program is started.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::bubblewrap::Bubblewrap;
use super::directory::PrivateDirectory;
use super::protocol::{Bind, Limits, Report, Request, Spec, send_request};
use super::running::{Pipes, Running};
use super::{
    Availability, BubblewrapUse, Helper, Mechanism, Outcome, Program, SandboxConfig, SandboxError,
};

/// Runs programs in sandboxes, each in a new one. It may be used by several threads at once.
#[derive(Clone, Debug)]
pub struct Sandbox {
    config: SandboxConfig,
    helper: Helper,
    using: Vec<Mechanism>,
    binds: Vec<Bind>,
    bubblewrap: Option<Bubblewrap>,
}

/// What may be read of every machine, where it is there.
const SYSTEM: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/localtime",
];

/// Where a program with a mount namespace starts and may write.
const PRIVATE: &str = "/tmp";

impl Sandbox {
    /// Asks the machine what it has, and refuses it if a mechanism lacks that the configuration does not accept.
    ///
    /// # Errors
    /// A wrong configuration, a helper that does not start, or a mechanism that is missing.
    pub fn new(config: SandboxConfig, helper: Helper) -> Result<Self, SandboxError> {
        config.validate()?;
        let binds = binds(&config.readable)?;
        let (found, bubblewrap) = choose(&config, &helper, &binds)?;
        let (there, lacking): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|found| found.problem.is_none());
        let refused = |lack: &Availability| !config.accept_without.contains(&lack.mechanism);
        let missing: Vec<_> = lacking.into_iter().filter(refused).collect();
        if !missing.is_empty() {
            return Err(SandboxError::Missing(missing));
        }
        let using = there.into_iter().map(|found| found.mechanism).collect();
        Ok(Self { config, helper, using, binds, bubblewrap })
    }

    /// Goes without a mechanism that the machine has: a weaker sandbox, in which tests see what the others do alone.
    /// What Bubblewrap brings stays.
    pub fn without(mut self, mechanism: Mechanism) -> Self {
        let stays = self.bubblewrap.is_some() && mechanism.is_of_bubblewrap();
        self.using.retain(|used| *used != mechanism || stays);
        self
    }

    /// The mechanisms in use.
    pub fn using(&self) -> &[Mechanism] {
        &self.using
    }

    /// The configuration.
    pub fn config(&self) -> &SandboxConfig {
        &self.config
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// If the sandbox cannot be set up. Whatever the program does is an [`Outcome`].
    pub fn run(&self, program: &Program) -> Result<Outcome, SandboxError> {
        self.launch(program, None)?.finish()
    }

    /// Starts a program with a channel: a socket on which the two exchange lines. The number of its descriptor is in
    /// the environment variable [`CHANNEL`](super::CHANNEL).
    ///
    /// # Errors
    /// If the helper cannot be started; that the sandbox cannot be set up is said by [`Running::finish`].
    pub fn start(&self, program: &Program) -> Result<Running, SandboxError> {
        let pair = UnixStream::pair().map_err(SandboxError::io("make a channel"))?;
        self.launch(program, Some(pair))
    }

    fn launch(
        &self,
        program: &Program,
        channel: Option<(UnixStream, UnixStream)>,
    ) -> Result<Running, SandboxError> {
        let (channel, theirs) = channel.unzip();
        let on_disk = !self.using.contains(&Mechanism::MountNamespace);
        let directory = on_disk.then(PrivateDirectory::new).transpose();
        let directory = directory.map_err(SandboxError::io("make a directory"))?;
        let private = directory.as_ref().map_or(Path::new(PRIVATE), |directory| &directory.0);
        let spec = self.spec(program, private.to_owned());
        let (read, mut pipes) = open_pipes().map_err(SandboxError::io("make pipes"))?;
        pipes.channel = channel;
        let (mut helper, control) = spawn(&self.helper, self.bubblewrap.as_ref())?;
        let mut descriptors: Vec<_> = read.iter().map(AsFd::as_fd).collect();
        descriptors.extend(theirs.as_ref().map(AsFd::as_fd));
        if send_request(&control, &Request::Run(Box::new(spec)), &descriptors).is_err() {
            drop(control);
            let status = helper.wait().map_err(SandboxError::io("wait for the helper"))?;
            return Err(silent(&self.helper, status));
        }
        let caps = (self.config.output_bytes, self.config.line_bytes);
        let command = self.helper.program.clone();
        Running::new(helper, command, control, pipes, program.stdin.clone(), caps, directory)
            .map(|running| running.within(self.config.wall()))
            .map_err(SandboxError::io("listen to the helper"))
    }

    fn spec(&self, program: &Program, directory: PathBuf) -> Spec {
        let config = &self.config;
        Spec {
            program: find(&program.program),
            arguments: program.arguments.clone(),
            environment: self.environment(&directory),
            files: program.files.clone(),
            using: self.using.clone(),
            wrapped: self.bubblewrap.is_some(),
            binds: self.binds.clone(),
            directory,
            limits: Limits {
                cpu_seconds: config.wall_seconds.ceil() as u64 + 1,
                memory_bytes: config.memory_bytes,
                processes: config.processes,
                file_bytes: config.file_bytes,
                disk_bytes: config.disk_bytes,
                open_files: config.open_files,
            },
        }
    }

    fn environment(&self, directory: &Path) -> BTreeMap<String, String> {
        let home = directory.display().to_string();
        let mut variables = BTreeMap::from([
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("HOME".to_owned(), home.clone()),
            ("TMPDIR".to_owned(), home),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]);
        variables.extend(self.config.environment.clone());
        variables
    }
}

/// Says which mechanisms this machine has, by trying each.
///
/// # Errors
/// If the helper does not start or does not answer.
pub fn mechanisms(helper: &Helper) -> Result<Vec<Availability>, SandboxError> {
    probe(helper, None)
}

fn probe(helper: &Helper, within: Option<&Bubblewrap>) -> Result<Vec<Availability>, SandboxError> {
    let (mut process, mut control) = spawn(helper, within)?;
    let mut answer = String::new();
    let heard = send_request(&control, &Request::Probe, &[])
        .and_then(|()| control.read_to_string(&mut answer));
    drop(control);
    let failed = |source| SandboxError::Helper { program: helper.program.clone(), source };
    let status = process.wait().map_err(failed)?;
    match (heard, serde_json::from_str(&answer)) {
        (Ok(_), Ok(Report::Probed(found))) => Ok(found),
        _ => Err(silent(helper, status)),
    }
}

/// What there is by the sandbox's own means or, where that is not all or as the configuration says, by Bubblewrap.
fn choose(
    config: &SandboxConfig,
    helper: &Helper,
    binds: &[Bind],
) -> Result<(Vec<Availability>, Option<Bubblewrap>), SandboxError> {
    let always = config.bubblewrap == BubblewrapUse::Always;
    let own = if always { Vec::new() } else { mechanisms(helper)? };
    let lacks =
        |found: &Availability| found.problem.is_some() && found.mechanism.is_of_bubblewrap();
    if config.bubblewrap == BubblewrapUse::Never || !always && !own.iter().any(lacks) {
        return Ok((own, None));
    }
    let Some(wrap) = Bubblewrap::new(config, binds, PRIVATE) else {
        let missing = "bwrap is not installed".to_owned();
        return if always { Err(SandboxError::Bubblewrap(missing)) } else { Ok((own, None)) };
    };
    match probe(helper, Some(&wrap)) {
        Err(_) if always => Err(SandboxError::Bubblewrap(wrap.complaint(helper))),
        Err(_) => Ok((own, None)),
        Ok(mut found) => {
            for brought in found.iter_mut().filter(|found| found.mechanism.is_of_bubblewrap()) {
                brought.problem = None;
            }
            Ok((found, Some(wrap)))
        }
    }
}

fn silent(helper: &Helper, status: ExitStatus) -> SandboxError {
    SandboxError::HelperEnded { program: helper.program.clone(), status: status.to_string() }
}

/// The one variable that the helper itself may need, to start. The program does not get it.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// Starts the helper with a socket as its standard input.
fn spawn(
    helper: &Helper,
    within: Option<&Bubblewrap>,
) -> Result<(Child, UnixStream), SandboxError> {
    let failed = |source| SandboxError::Helper { program: helper.program.clone(), source };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let alone = || {
        let mut command = Command::new(&helper.program);
        command.args(&helper.arguments);
        Ok(command)
    };
    let command = within.map_or_else(alone, |bubblewrap| bubblewrap.command(helper));
    let process = command
        .map_err(failed)?
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == LIBRARIES))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    Ok((process, ours))
}

/// The program's ends, in the order of their numbers, and ours.
fn open_pipes() -> io::Result<([OwnedFd; 3], Pipes)> {
    let (stdin, to_stdin): (PipeReader, _) = io::pipe()?;
    let (from_stdout, stdout) = io::pipe()?;
    let (from_stderr, stderr) = io::pipe()?;
    let pipes = Pipes { stdin: to_stdin, stdout: from_stdout, stderr: from_stderr, channel: None };
    Ok(([stdin.into(), stdout.into(), stderr.into()], pipes))
}

/// A bare name is looked for where the system's programs are.
fn find(program: &Path) -> PathBuf {
    let bare = program.components().count() == 1 && !program.is_absolute();
    let places = ["/usr/local/bin", "/usr/bin", "/bin"];
    let found =
        places.iter().map(|place| Path::new(place).join(program)).find(|path| path.exists());
    found.filter(|_| bare).unwrap_or_else(|| program.to_owned())
}

/// What is bound where: links as links, with what they point to; nothing twice.
fn binds(readable: &[PathBuf]) -> Result<Vec<Bind>, SandboxError> {
    for path in readable {
        if !path.exists() {
            let value = path.display().to_string();
            return Err(SandboxError::Config { field: "readable", value, right: "there" });
        }
    }
    let system = SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists());
    let mut wanted: Vec<_> = system.chain(readable.iter().cloned()).collect();
    let (mut links, mut places) = (BTreeMap::new(), BTreeMap::new());
    while let Some(path) = wanted.pop() {
        let failed = |source| SandboxError::Io { action: "look at what may be read", source };
        let from = fs::canonicalize(&path).map_err(failed)?;
        if path.is_symlink() {
            links.insert(path.clone(), fs::read_link(&path).map_err(failed)?);
            wanted.push(from);
        } else {
            places.insert(path, from);
        }
    }
    Ok(without_repetition(&places, links))
}

fn without_repetition(
    places: &BTreeMap<PathBuf, PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
) -> Vec<Bind> {
    let above = |path: &Path, map: &BTreeMap<PathBuf, PathBuf>| {
        path.ancestors().skip(1).any(|above| map.contains_key(above))
    };
    // A place below a link is where the link leads.
    let real = |(at, from): (&PathBuf, &PathBuf)| {
        (if above(at, &links) { from } else { at }.clone(), from.clone())
    };
    let places: BTreeMap<_, _> = places.iter().map(real).collect();
    let mut binds = Vec::new();
    for (at, from) in places.iter().filter(|(at, _)| !above(at, &places)) {
        binds.push(Bind::Same { at: at.clone(), from: from.clone(), directory: from.is_dir() });
    }
    let links = links.into_iter().filter(|(at, _)| !above(at, &places));
    binds.extend(links.map(|(at, to)| Bind::Link { at, to }));
    binds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_bound_twice_or_below_a_link() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<PathBuf, PathBuf> {
            pairs.iter().map(|(at, from)| (at.into(), from.into())).collect()
        };
        let places =
            [("/usr", "/usr"), ("/usr/a", "/usr/a"), ("/lib/b", "/usr/lib/b"), ("/c/d", "/c/d")];
        let links = [("/lib", "usr/lib"), ("/usr/e", "f"), ("/c/l", "/e")];
        let found = without_repetition(&map(&places), map(&links));
        let same = |at: &str| Bind::Same {
            at: at.into(),
            from: at.into(),
            directory: Path::new(at).is_dir(),
        };
        let link = |at: &str, to: &str| Bind::Link { at: at.into(), to: to.into() };
        assert_eq!(
            found,
            [same("/c/d"), same("/usr"), link("/c/l", "/e"), link("/lib", "usr/lib")]
        );
    }
}
