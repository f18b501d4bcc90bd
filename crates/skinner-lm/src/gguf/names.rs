//! GGUF's tensor names and those of Hugging Face.

use crate::config::{Family, HEAD};

/// Hugging Face's name of a GGUF tensor; none when the decoder has no such weight.
pub(crate) fn hugging_face_name(family: Family, name: &str) -> Option<String> {
    let gpt2 = family == Family::Gpt2;
    let (module, part) = name.rsplit_once('.')?;
    let top = match module {
        "token_embd" if gpt2 => Some("transformer.wte"),
        "position_embd" if gpt2 => Some("transformer.wpe"),
        "output_norm" if gpt2 => Some("transformer.ln_f"),
        "token_embd" => Some("model.embed_tokens"),
        "output_norm" => Some("model.norm"),
        "output" if part == "weight" => return Some(HEAD.to_owned()),
        _ => None,
    };
    if let Some(top) = top {
        return Some(format!("{top}.{part}"));
    }
    let (layer, module) = module.strip_prefix("blk.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    if gpt2 {
        let module = match module {
            "attn_norm" => "ln_1",
            "attn_qkv" => "attn.c_attn",
            "attn_output" => "attn.c_proj",
            "ffn_norm" => "ln_2",
            "ffn_up" => "mlp.c_fc",
            "ffn_down" => "mlp.c_proj",
            _ => return None,
        };
        return Some(format!("transformer.h.{layer}.{module}.{part}"));
    }
    let module = match module {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{module}.{part}"))
}
