//! `config.json`, with the defaults of `transformers`.

use serde_json::{Map, Value, json};

use super::{Family, ModelConfig, RopeScaling, config_error};
use crate::error::LmError;

impl ModelConfig {
    /// Reads the text of a `config.json`.
    ///
    /// Missing keys have the defaults of `transformers`. Both spellings of rotary scaling are read:
    /// `rope_theta` beside `rope_scaling`, and `rope_parameters`.
    ///
    /// # Errors
    /// When the text is no JSON object, names an architecture, activation or scaling that is not known here,
    /// or [`ModelConfig::validate`] fails.
    pub fn from_config_json(text: &str) -> Result<Self, LmError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| config_error(format!("config.json is no JSON: {error}")))?;
        let map = value.as_object().ok_or_else(|| {
            config_error("config.json holds no object, must be {\"model_type\": …}")
        })?;
        let fields = Fields { map };
        let family = fields.text("model_type")?.ok_or_else(|| {
            let known = Family::ALL.map(Family::as_str).join(", ");
            config_error(format!("config.json has no `model_type`; known are {known}"))
        })?;
        let config = match Family::from_name(family, "`model_type`")? {
            Family::Gpt2 => gpt2(&fields)?,
            family => llama(&fields, family)?,
        };
        config.validate()?;
        Ok(config)
    }

    /// The text of a `config.json` that `transformers` reads.
    pub fn to_config_json(&self, dtype: &str) -> String {
        let mut value = match self.family {
            Family::Gpt2 => self.gpt2_json(),
            _ => self.llama_json(),
        };
        let eos = match self.eos_token_ids[..] {
            [] => Value::Null,
            [id] => json!(id),
            ref ids => json!(ids),
        };
        for (key, field) in [
            ("model_type", json!(self.family.as_str())),
            ("vocab_size", json!(self.vocab_size)),
            ("bos_token_id", json!(self.bos_token_id)),
            ("eos_token_id", eos),
            ("pad_token_id", json!(self.pad_token_id)),
            ("tie_word_embeddings", json!(self.tie_word_embeddings)),
            ("torch_dtype", json!(dtype)),
        ] {
            value[key] = field;
        }
        format!("{value:#}\n")
    }

    fn llama_json(&self) -> Value {
        let architecture = match self.family {
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
            Family::Llama | Family::Gpt2 => "LlamaForCausalLM",
        };
        let rope_scaling = self.rope_scaling.map_or(Value::Null, |scaling| json!(scaling));
        json!({
            "architectures": [architecture],
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": decimal(self.norm_eps),
            "rope_theta": self.rope_theta,
            "rope_scaling": rope_scaling,
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
            "attention_dropout": 0.0,
        })
    }

    fn gpt2_json(&self) -> Value {
        json!({
            "architectures": ["GPT2LMHeadModel"],
            "n_embd": self.hidden_size,
            "n_inner": self.intermediate_size,
            "n_layer": self.num_hidden_layers,
            "n_head": self.num_attention_heads,
            "n_positions": self.max_position_embeddings,
            "layer_norm_epsilon": decimal(self.norm_eps),
            "activation_function": "gelu_new",
        })
    }
}

/// The shortest decimal that reads back as the same `f32`: 1e-5, not 9.99999974737875e-6.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn llama(fields: &Fields, family: Family) -> Result<ModelConfig, LmError> {
    let qwen = family != Family::Llama;
    fields.only("hidden_act", "silu", &["silu", "swish"])?;
    for key in ["attention_bias", "mlp_bias", "use_sliding_window"] {
        fields.unset(key)?;
    }
    let heads = fields.size("num_attention_heads", 32)?;
    let hidden_size = fields.size("hidden_size", 4096)?;
    let default_groups = if qwen { 32 } else { heads };
    let num_key_value_heads = match fields.map.get("num_key_value_heads") {
        Some(Value::Null) => heads,
        _ => fields.size("num_key_value_heads", default_groups)?,
    };
    let default_head_dim =
        if family == Family::Qwen3 { 128 } else { hidden_size.checked_div(heads).unwrap_or(0) };
    let (rope_theta, rope_scaling) = rope(fields)?;
    let vocab_size = fields.size("vocab_size", if qwen { 151_936 } else { 32_000 })?;
    let (bos, eos) = if qwen { (None, None) } else { (Some(1), Some(2)) };
    Ok(ModelConfig {
        family,
        vocab_size,
        hidden_size,
        intermediate_size: fields.size("intermediate_size", if qwen { 22_016 } else { 11_008 })?,
        num_hidden_layers: fields.size("num_hidden_layers", 32)?,
        num_attention_heads: heads,
        num_key_value_heads,
        head_dim: fields.size("head_dim", default_head_dim)?,
        max_position_embeddings: fields
            .size("max_position_embeddings", if qwen { 32_768 } else { 2048 })?,
        norm_eps: fields.number("rms_norm_eps", 1e-6)? as f32,
        rope_theta,
        rope_scaling,
        tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
        bos_token_id: fields.token("bos_token_id", bos, vocab_size)?,
        eos_token_ids: fields.tokens("eos_token_id", eos, vocab_size)?,
        pad_token_id: fields.token("pad_token_id", None, vocab_size)?,
    })
}

fn gpt2(fields: &Fields) -> Result<ModelConfig, LmError> {
    fields.only("activation_function", "gelu_new", &["gelu_new", "gelu_pytorch_tanh"])?;
    for key in ["scale_attn_by_inverse_layer_idx", "add_cross_attention"] {
        fields.unset(key)?;
    }
    if !fields.flag("scale_attn_weights", true)? {
        return Err(config_error("`scale_attn_weights` is false, must be true"));
    }
    let hidden_size = fields.size("n_embd", 768)?;
    let heads = fields.size("n_head", 12)?;
    let vocab_size = fields.size("vocab_size", 50_257)?;
    Ok(ModelConfig {
        family: Family::Gpt2,
        vocab_size,
        hidden_size,
        intermediate_size: fields.size("n_inner", hidden_size.saturating_mul(4))?,
        num_hidden_layers: fields.size("n_layer", 12)?,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim: hidden_size.checked_div(heads).unwrap_or(0),
        max_position_embeddings: fields.size("n_positions", 1024)?,
        norm_eps: fields.number("layer_norm_epsilon", 1e-5)? as f32,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: fields.flag("tie_word_embeddings", true)?,
        bos_token_id: fields.token("bos_token_id", Some(50_256), vocab_size)?,
        eos_token_ids: fields.tokens("eos_token_id", Some(50_256), vocab_size)?,
        pad_token_id: fields.token("pad_token_id", None, vocab_size)?,
    })
}

/// Base and scaling: `rope_parameters` (from `transformers` 5 on), or `rope_theta` and `rope_scaling`.
fn rope(fields: &Fields) -> Result<(f64, Option<RopeScaling>), LmError> {
    let nested = |key: &'static str| match fields.map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(Fields { map })),
        Some(other) => Err(config_error(format!("`{key}` is {other}, must be an object"))),
    };
    let mut theta = fields.number("rope_theta", 10_000.0)?;
    let partial = |fields: &Fields| match fields.number("partial_rotary_factor", 1.0)? {
        1.0 => Ok(()),
        other => Err(config_error(format!("`partial_rotary_factor` is {other}, must be 1"))),
    };
    partial(fields)?;
    let Some(scaling) = nested("rope_parameters")?.or(nested("rope_scaling")?) else {
        return Ok((theta, None));
    };
    theta = scaling.number("rope_theta", theta)?;
    partial(&scaling)?;
    let kind = match scaling.text("rope_type")? {
        Some(kind) => kind,
        None => scaling.text("type")?.unwrap_or("default"),
    };
    let scaling = match kind {
        "default" => None,
        "linear" => Some(RopeScaling::Linear { factor: scaling.required("factor")? }),
        "llama3" => Some(RopeScaling::Llama3 {
            factor: scaling.required("factor")?,
            low_freq_factor: scaling.required("low_freq_factor")?,
            high_freq_factor: scaling.required("high_freq_factor")?,
            original_max_position_embeddings: scaling
                .size("original_max_position_embeddings", 0)?,
        }),
        other => {
            return Err(config_error(format!(
                "rope scaling's type is `{other}`, and known are default, linear and llama3"
            )));
        }
    };
    Ok((theta, scaling))
}

/// The keys of an object; `null` is as good as absent.
struct Fields<'a> {
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, LmError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(config_error(format!("`{key}` is {other}, must be a string"))),
        }
    }

    fn size(&self, key: &str, default: usize) -> Result<usize, LmError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value
            .as_u64()
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| config_error(format!("`{key}` is {value}, must be a whole number")))
    }

    fn number(&self, key: &str, default: f64) -> Result<f64, LmError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_f64().ok_or_else(|| config_error(format!("`{key}` is {value}, must be a number")))
    }

    fn required(&self, key: &str) -> Result<f64, LmError> {
        match self.get(key) {
            Some(_) => self.number(key, 0.0),
            None => Err(config_error(format!("rope scaling has no `{key}`, must have one"))),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, LmError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value
            .as_bool()
            .ok_or_else(|| config_error(format!("`{key}` is {value}, must be true or false")))
    }

    fn unset(&self, key: &str) -> Result<(), LmError> {
        if self.flag(key, false)? {
            return Err(config_error(format!(
                "`{key}` is true, must be false: it is not built here"
            )));
        }
        Ok(())
    }

    fn only(&self, key: &str, default: &str, known: &[&str]) -> Result<(), LmError> {
        let value = self.text(key)?.unwrap_or(default);
        if known.contains(&value) {
            return Ok(());
        }
        Err(config_error(format!("`{key}` is `{value}`, must be {}", known.join(" or "))))
    }

    /// A default outside a small vocabulary is no token; an id that is written down is kept and checked.
    fn token(
        &self,
        key: &str,
        default: Option<u32>,
        vocab_size: usize,
    ) -> Result<Option<u32>, LmError> {
        match self.get(key) {
            None if self.map.contains_key(key) => Ok(None),
            None => Ok(default.filter(|id| (*id as usize) < vocab_size)),
            Some(value) => token_id(key, value),
        }
    }

    fn tokens(
        &self,
        key: &str,
        default: Option<u32>,
        vocab_size: usize,
    ) -> Result<Vec<u32>, LmError> {
        let Some(Value::Array(values)) = self.get(key) else {
            return Ok(self.token(key, default, vocab_size)?.into_iter().collect());
        };
        let ids: Result<Vec<_>, _> = values.iter().map(|value| token_id(key, value)).collect();
        Ok(ids?.into_iter().flatten().collect())
    }
}

/// Some configurations write -1 for no token.
fn token_id(key: &str, value: &Value) -> Result<Option<u32>, LmError> {
    if value.as_i64() == Some(-1) {
        return Ok(None);
    }
    match value.as_u64().and_then(|id| u32::try_from(id).ok()) {
        Some(id) => Ok(Some(id)),
        None => Err(config_error(format!("`{key}` is {value}, must be a token id"))),
    }
}
