//! What a finished run of a language model leaves for other tools: the model, or an adapter.

use std::collections::BTreeMap;
use std::path::Path;

use skinner_lm::adapter::{self, LoraFile, LoraMatrices};
use skinner_lm::train::{Learner, ModelSource};
use skinner_lm::{Dtype, RUN_ADAPTER, RUN_MODEL, hf_folder};

use crate::lm_recipe::LmRecipe;

/// The model as a folder that Hugging Face's tools read, or its adapter as one that PEFT reads. An adapter is nothing
/// without its base: of one that is nowhere else, new or stretched, the two are written as one.
pub(crate) fn export(run_dir: &Path, recipe: &LmRecipe, learner: &Learner) -> anyhow::Result<()> {
    let base_is_elsewhere =
        matches!(recipe.model, ModelSource::Named(_)) && recipe.run.rope_scaling.is_none();
    let adapter = learner.adapter().map(|(config, ..)| config);
    if adapter.is_none_or(|config| config.merge || !base_is_elsewhere) {
        let weights = learner.merged();
        let tensors = learner.decoder().layout().tensors().iter();
        hf_folder::save_pretrained(
            &run_dir.join(RUN_MODEL),
            learner.decoder().config(),
            &learner.tokenizer,
            learner.template.as_ref(),
            tensors.map(|t| (t.name.clone(), t.shape.clone(), (&weights[t.range()]).into())),
            Dtype::F32,
        )?;
    }
    let Some(config) = adapter.filter(|_| base_is_elsewhere) else { return Ok(()) };
    let modules = adapter_matrices(learner);
    let file = LoraFile {
        rank: config.rank,
        alpha: config.alpha,
        dropout: config.dropout,
        target_modules: target_modules(config, &modules),
        base_model: recipe.model_name(),
        modules,
    };
    let folder = run_dir.join(RUN_ADAPTER);
    file.save(&folder, learner.decoder().config().family)?;
    Ok(learner.tokenizer.save(folder.join(adapter::TOKENIZER))?)
}

/// The adapter's matrices by module.
fn adapter_matrices(learner: &Learner) -> BTreeMap<String, LoraMatrices> {
    let mut modules = BTreeMap::new();
    let trained = learner.trained();
    for pair in trained.chunks(2) {
        let [(name, a_shape, a), (_, b_shape, b)] = pair else { continue };
        let Some(module) = name.strip_suffix(".lora_A.weight") else { continue };
        let matrices =
            LoraMatrices { inputs: a_shape[1], outputs: b_shape[0], a: a.to_vec(), b: b.to_vec() };
        modules.insert(module.to_owned(), matrices);
    }
    modules
}

/// The last parts of the modules' names, each once.
fn target_modules(
    config: &skinner_lm::decoder::LoraConfig,
    matrices: &BTreeMap<String, LoraMatrices>,
) -> Vec<String> {
    if !config.target_modules.iter().any(|target| target == "all-linear") {
        return config.target_modules.clone();
    }
    let last = |name: &String| name.rsplit('.').next().map(str::to_owned);
    let mut targets: Vec<String> = matrices.keys().filter_map(last).collect();
    targets.sort();
    targets.dedup();
    targets
}
