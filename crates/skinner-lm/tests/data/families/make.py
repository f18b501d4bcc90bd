"""Writes tiny random models of each family with what transformers makes of them: `python make.py`, beside this file.

torch on a CPU, f32, eager attention, transformers 5.23. `expected.json` has, by model: token ids, log-probabilities of all but
the first, the logits after the last, the mean loss over all next tokens with the norm of its gradient, and 12 greedy tokens.
"""

import json
import shutil
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

HERE = Path(__file__).parent
SIZES = dict(
    vocab_size=40, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, bos_token_id=0, eos_token_id=1, pad_token_id=1,
)
LLAMA3 = dict(
    rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
MODELS = {
    "llama-untied": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=False)),
    "llama3": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=True, rope_parameters=LLAMA3)),
    "llama-linear": (
        LlamaForCausalLM,
        LlamaConfig(**SIZES, rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=2.0)),
    ),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=False)),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config(vocab_size=40, n_embd=24, n_layer=2, n_head=4, n_positions=128, bos_token_id=0, eos_token_id=1),
    ),
}

expected = {}
for number, (name, (kind, config)) in enumerate(MODELS.items()):
    torch.manual_seed(number)
    config._attn_implementation = "eager"
    model = kind(config).eval()
    with torch.no_grad():
        # As they are made, biases are zeros and norms ones: nothing would show that they are used.
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(2, 40, (1, 60))
    logits = model(ids).logits[0]
    log_probs = logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
    loss = -log_probs.mean()
    loss.backward()
    squares = sum(weight.grad.double().square().sum().item() for weight in model.parameters())
    greedy = ids
    with torch.no_grad():
        for _ in range(12):
            greedy = torch.cat([greedy, model(greedy).logits[:, -1:].argmax(-1)], 1)
    expected[name] = {
        "ids": ids[0].tolist(),
        "log_probs": log_probs.tolist(),
        "last_logits": logits[-1].tolist(),
        "loss": loss.item(),
        "grad_norm": squares**0.5,
        "greedy": greedy[0, 60:].tolist(),
    }
(HERE / "expected.json").write_text(json.dumps(expected) + "\n")
