//! What is known exactly about a table, where the environment's dynamics are known.

use skinner_algos::TableLearner;
use skinner_core::mdp::Solution;
use skinner_core::{Metrics, scene::Scene};
use skinner_envs::catalog::Model;
use skinner_envs::policy_map::{self, Drawn};

use crate::recipe::Recipe;

/// Changes of values at which planning stops, relative to the largest value.
pub(crate) const TOLERANCE: f64 = 1e-12;
/// Returns closer than this, relative to their size, are equal.
const EQUAL: f64 = 1e-9;
/// Layouts with more grids than this are pictures only.
const MOST_PANELS_OF_TEXT: usize = 2;

/// Exact returns of policies in the recipe's environment, under its step limit and without discount.
pub(crate) struct Exact {
    model: Model,
    limit: Option<usize>,
    /// Optimal for the recipe's discount; none where values have no bound without the limit.
    optimum: Option<Solution>,
    optimal_return: f64,
    best_plan_return: f64,
    /// The last policy evaluated and its return: policies settle long before training ends.
    last: Option<(Vec<usize>, f64)>,
}

impl Exact {
    /// Of recipes that learn a table in an environment whose model is one.
    pub fn new(recipe: &Recipe) -> anyhow::Result<Option<Self>> {
        if recipe.run.algorithm.tabular_method().is_none() {
            return Ok(None);
        }
        let Some(model) = recipe.env.model()? else { return Ok(None) };
        let limit = recipe.env.max_episode_steps();
        let optimum = model.mdp.value_iteration(recipe.algorithm.gamma(), TOLERANCE).ok();
        let best_plan_return = match limit {
            Some(steps) => model.mdp.at_start(&model.mdp.best_within(1.0, steps)),
            None => model.mdp.at_start(&model.mdp.value_iteration(1.0, TOLERANCE)?.values),
        };
        let mut exact = Self {
            model,
            limit,
            optimum: None,
            optimal_return: best_plan_return,
            best_plan_return,
            last: None,
        };
        if let Some(optimum) = optimum {
            exact.optimal_return = exact.return_of(&optimum.policy)?;
            exact.optimum = Some(optimum);
        }
        Ok(Some(exact))
    }

    fn return_of(&self, policy: &[usize]) -> anyhow::Result<f64> {
        let mdp = &self.model.mdp;
        Ok(mdp.at_start(&match self.limit {
            Some(steps) => mdp.evaluate_within(policy, 1.0, steps),
            None => mdp.evaluate(policy, 1.0, TOLERANCE)?,
        }))
    }

    /// The return of the table's greedy policy.
    pub fn of_table(&mut self, table: &TableLearner) -> anyhow::Result<f64> {
        let policy = self.model.mdp.policy_on_states(table.greedy().actions());
        if let Some((last, value)) = &self.last
            && *last == policy
        {
            return Ok(*value);
        }
        let value = self.return_of(&policy)?;
        self.last = Some((policy, value));
        Ok(value)
    }

    /// Whether a return is the optimum's.
    pub fn is_optimal(&self, exact_return: f64) -> bool {
        exact_return >= self.optimal_return - EQUAL * self.optimal_return.abs().max(1.0)
    }

    /// All that is known at the end of training.
    pub fn metrics(&mut self, table: &TableLearner) -> anyhow::Result<Metrics> {
        let mut metrics = Metrics::new();
        metrics.set("exact_return", self.of_table(table)?);
        metrics.set("optimal_return", self.optimal_return);
        metrics.set("best_plan_return", self.best_plan_return);
        Ok(metrics)
    }

    /// The learned table beside the optimal one, where observations have a place.
    pub fn picture(&self, table: &TableLearner) -> Option<Scene> {
        let layout = self.model.layout.as_ref()?;
        Some(self.draw(table, |drawn| policy_map::picture(layout, drawn)))
    }

    /// The same as plain text, where it is small enough.
    pub fn text(&self, table: &TableLearner) -> Option<String> {
        let layout = self.model.layout.as_ref()?;
        let small = layout.panels.len() <= MOST_PANELS_OF_TEXT;
        small.then(|| self.draw(table, |drawn| policy_map::text(layout, drawn)))
    }

    fn draw<T>(&self, table: &TableLearner, draw: impl FnOnce(&[Drawn<'_>]) -> T) -> T {
        let greedy = table.greedy();
        let best = |row: &[f64]| row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let values: Vec<f64> = table.q_values().chunks(table.num_actions()).map(best).collect();
        let learned = Drawn { title: "learned", values: &values, policy: greedy.actions() };
        match &self.optimum {
            None => draw(&[learned]),
            Some(optimum) => {
                let (values, policy) = (&optimum.values, &optimum.policy);
                draw(&[learned, Drawn { title: "optimal", values, policy }])
            }
        }
    }
}
