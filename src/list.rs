//! `skinner list`.

use serde_json::json;
use skinner_algos::AlgorithmName;
use skinner_envs::catalog::ENVIRONMENTS;

use crate::recipe::{EMBEDDED, Recipe};
use crate::{Listed, out};

pub(crate) fn list(what: Listed, as_json: bool) -> anyhow::Result<()> {
    let rows: Vec<(String, String)> = match what {
        Listed::Envs => ENVIRONMENTS
            .iter()
            .map(|env| {
                let solved =
                    env.reward_threshold.map_or(String::new(), |t| format!(" (solved at {t})"));
                (env.id.to_owned(), format!("{}{solved}", env.summary))
            })
            .collect(),
        Listed::Algorithms => AlgorithmName::ALL
            .iter()
            .map(|name| (name.as_str().to_owned(), name.summary().to_owned()))
            .collect(),
        Listed::Recipes => EMBEDDED
            .iter()
            .map(|recipe| {
                Ok((recipe.name.to_owned(), Recipe::load(recipe.name, &[], None)?.run.description))
            })
            .collect::<anyhow::Result<_>>()?,
    };
    if as_json {
        let rows: Vec<_> =
            rows.iter().map(|(name, about)| json!({"name": name, "about": about})).collect();
        return out(&serde_json::Value::Array(rows).to_string());
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, about) in rows {
        out(&format!("{name:width$}  {about}"))?;
    }
    Ok(())
}
