//! `skinner list`.

use serde_json::json;
use skinner_algos::AlgorithmName;
use skinner_envs::catalog::ENVIRONMENTS;

use crate::recipe::{AnyRecipe, EMBEDDED};
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
        Listed::Algorithms => {
            let control = AlgorithmName::ALL.iter().map(|name| (name.as_str(), name.summary()));
            #[cfg(feature = "lm")]
            let control = control.chain(
                crate::lm_recipe::LmAlgorithm::ALL.iter().map(|a| (a.as_str(), a.summary())),
            );
            control.map(|(name, about)| (name.to_owned(), about.to_owned())).collect()
        }
        Listed::Recipes => EMBEDDED
            .iter()
            .map(|recipe| {
                Ok((
                    recipe.name.to_owned(),
                    AnyRecipe::load(recipe.name, &[], None)?.description().to_owned(),
                ))
            })
            .collect::<anyhow::Result<_>>()?,
        #[cfg(feature = "lm")]
        Listed::Models => skinner_lm::KNOWN_MODELS
            .iter()
            .map(|model| (model.name.to_owned(), format!("{} ({})", model.about, model.licence)))
            .collect(),
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
