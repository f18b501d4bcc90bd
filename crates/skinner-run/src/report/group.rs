//! Runs that are the same but for their seed.

use toml::{Table, Value};

use super::RunReport;
use crate::recipe;

/// Runs of one recipe with several seeds.
pub(super) struct Group<'a> {
    /// What tells it from the other groups.
    pub label: String,
    /// Its runs in order of seed.
    pub runs: Vec<&'a RunReport>,
}

/// The runs by recipe, in the order in which they were given.
pub(super) fn groups(runs: &[RunReport]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| essence(group.recipe()) == essence(&run.recipe)) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { label: base_label(run), runs: vec![run] }),
        }
    }
    for group in &mut groups {
        group.runs.sort_by_key(|run| run.seed());
    }
    distinguish(&mut groups);
    groups
}

impl Group<'_> {
    /// The recipe of its first run.
    pub fn recipe(&self) -> &Table {
        &self.runs[0].recipe
    }

    /// Its seeds, for reading.
    pub fn seeds(&self) -> String {
        let seeds: Vec<String> = self
            .runs
            .iter()
            .map(|run| run.seed().map_or_else(|| "unknown".to_owned(), |seed| seed.to_string()))
            .collect();
        seeds.join(", ")
    }
}

impl RunReport {
    /// The seed, as `run.json` or the recipe has it.
    pub(super) fn seed(&self) -> Option<u64> {
        let in_recipe = || self.recipe.get("seed")?.as_integer().map(|seed| seed as u64);
        self.info.as_ref().map(|info| info.seed).or_else(in_recipe)
    }

    /// The directory, for reading.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// What makes a run what it is, but for its seed: all but that and words about it.
fn essence(recipe: &Table) -> Table {
    let mut recipe = recipe.clone();
    recipe.remove("seed");
    recipe.remove("description");
    recipe
}

/// What the runs of a group did, whatever their values.
pub(super) fn base_label(run: &RunReport) -> String {
    match &run.info {
        Some(info) if !info.algorithm.is_empty() => format!("{} on {}", info.algorithm, info.env),
        _ => run.name(),
    }
}

/// Adds to equal labels the values in which their recipes differ.
fn distinguish(groups: &mut [Group]) {
    let labels: Vec<String> = groups.iter().map(|group| group.label.clone()).collect();
    let flat: Vec<Vec<(String, Value)>> =
        groups.iter().map(|group| recipe::flatten(&essence(group.recipe()))).collect();
    for (index, group) in groups.iter_mut().enumerate() {
        let alike: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == labels[index]).collect();
        if alike.len() < 2 {
            continue;
        }
        let differing = |entry: &&(String, Value)| alike.iter().any(|&i| !flat[i].contains(entry));
        let words: Vec<String> = flat[index]
            .iter()
            .filter(differing)
            .take(3)
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        let words = if words.is_empty() { group.runs[0].name() } else { words.join(", ") };
        group.label = format!("{} ({words})", group.label);
    }
}
