//! `skinner solve`: the exact optimum of a finite environment.

use std::path::Path;

use anyhow::bail;
use serde_json::{Value as Json, json};
use skinner_core::mdp::{Mdp, Solution};
use skinner_envs::policy_map::{self, Drawn};
use toml::{Table, Value};

use crate::exact::TOLERANCE;
use crate::recipe::{decode_env, expand_env, read_table};
use crate::{SolveArgs, note, out};

/// States that are listed one by one where there is no map.
const MOST_LISTED: usize = 40;

pub(crate) fn solve(args: &SolveArgs) -> anyhow::Result<()> {
    let env = environment(args)?;
    let Some(model) = env.model()? else {
        bail!("{} has no table: its states cannot be listed, or not all of them", env.id());
    };
    let mdp = &model.mdp;
    for warning in mdp.warnings().into_iter().filter(|_| env.id() == "Table-v0") {
        note(&format!("warning: {warning}"));
    }
    let solution = mdp.value_iteration(args.gamma, TOLERANCE)?;
    let limit = env.max_episode_steps();
    let within = limit.map(|steps| {
        let stationary = mdp.at_start(&mdp.evaluate_within(&solution.policy, 1.0, steps));
        (steps, stationary, mdp.at_start(&mdp.best_within(1.0, steps)))
    });
    if args.json {
        let mut line = json!({
            "env": env.id(),
            "gamma": args.gamma,
            "value": mdp.at_start(&solution.values),
            "sweeps": solution.sweeps,
            "bellman_residual": solution.residual,
            "states": states(mdp, &solution),
        });
        if let Some((steps, stationary, best)) = within {
            line["max_episode_steps"] = json!(steps);
            line["optimal_return"] = json!(stationary);
            line["best_plan_return"] = json!(best);
        }
        return out(&line.to_string());
    }
    match &model.layout {
        Some(layout) => {
            let (values, policy) = (&solution.values, &solution.policy);
            let title = format!("{}, gamma {}", env.id(), args.gamma);
            out(policy_map::text(layout, &[Drawn { title: &title, values, policy }]).trim_end())?;
        }
        None => list(mdp, &solution)?,
    }
    out(&format!(
        "value at the start {:.6} (gamma {}; {} sweeps, Bellman residual {:.1e})",
        mdp.at_start(&solution.values),
        args.gamma,
        solution.sweeps,
        solution.residual
    ))?;
    if let Some((steps, stationary, best)) = within {
        out(&format!(
            "return within {steps} steps {stationary:.6}; by a plan that counts them {best:.6}"
        ))?;
    }
    Ok(())
}

fn environment(args: &SolveArgs) -> anyhow::Result<skinner_envs::EnvConfig> {
    let path = Path::new(&args.env);
    let is_file = path.extension().is_some_and(|e| e == "toml" || e == "json");
    let mut table = Table::new();
    if is_file {
        let env = [("id".into(), "Table-v0".into()), ("table".into(), read_table(path)?)];
        table.insert("env".into(), Value::Table(Table::from_iter(env)));
    } else {
        table.insert("env".into(), Value::String(args.env.clone()));
        expand_env(&mut table);
    }
    for assignment in &args.sets {
        skinner_run::recipe::apply_set(&mut table, &format!("env.{assignment}"))?;
    }
    decode_env(&mut table, &args.env)
}

fn states(mdp: &Mdp, solution: &Solution) -> Vec<Json> {
    let state = |state: usize| {
        json!({
            "state": mdp.state_name(state),
            "value": solution.values[state],
            "action": mdp.action_name(solution.policy[state]),
            "q_values": &solution.q_values[state * mdp.num_actions()..(state + 1) * mdp.num_actions()],
        })
    };
    (0..mdp.num_states()).map(state).collect()
}

fn list(mdp: &Mdp, solution: &Solution) -> anyhow::Result<()> {
    let shown = mdp.num_states().min(MOST_LISTED);
    let width = (0..shown).map(|state| mdp.state_name(state).chars().count()).max().unwrap_or(0);
    for state in (0..shown).filter(|&state| !mdp.is_end(state)) {
        let (name, action) = (mdp.state_name(state), mdp.action_name(solution.policy[state]));
        out(&format!("{name:width$}  {:>12.6}  {action}", solution.values[state]))?;
    }
    if shown < mdp.num_states() {
        out(&format!("… and {} more states; --json has them all", mdp.num_states() - shown))?;
    }
    Ok(())
}
