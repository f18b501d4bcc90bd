//! Landlock's rules: what is bound may be read and executed, the private directory may be written.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::helper::said;
use super::protocol::Bind;
use super::root::{DEVICES, PROC};

/// The newest rules asked for; an older kernel enforces those that it knows, at least those on files.
const NEWEST: ABI = ABI::V6;

/// Restricts this thread for good.
pub(super) fn restrict(binds: &[Bind], directory: &Path, own_proc: bool) -> Result<(), String> {
    let status = rules(binds, directory, own_proc)
        .and_then(RulesetCreated::restrict_self)
        .map_err(said("restrict paths with Landlock"))?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err("Landlock does not enforce its rules".to_owned());
    }
    Ok(())
}

fn rules(binds: &[Bind], directory: &Path, own_proc: bool) -> Result<RulesetCreated, RulesetError> {
    let read = AccessFs::from_read(NEWEST);
    let node = AccessFs::ReadFile | AccessFs::WriteFile;
    let all: BitFlags<AccessFs> = AccessFs::from_all(NEWEST);
    let own = all & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let devices = DEVICES.map(|name| Path::new("/dev").join(name));
    let look = AccessFs::ReadFile | AccessFs::ReadDir;
    let proc = own_proc.then_some(PROC);
    ruleset()?
        .add_rules(path_beneath_rules(proc, look))?
        .add_rules(path_beneath_rules(readable(binds), read))?
        .add_rules(path_beneath_rules(devices, node))?
        .add_rules(path_beneath_rules([directory], own))
}

fn readable(binds: &[Bind]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for bind in binds {
        if let Bind::Same { at, .. } = bind {
            paths.push(at.clone());
        }
    }
    paths
}

fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()
}
