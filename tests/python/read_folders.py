"""Reads what `skinner train` wrote with Hugging Face's own libraries: `read_folders.py BASE MERGED SCORES`.

BASE is a model's folder; MERGED is the run of an adapter on it with `lora.merge`, so it has `model` and `adapter`; SCORES is the
JSON that `skinner score --model BASE --text TEXT` printed.
"""

import json
import sys
from pathlib import Path

import numpy
from safetensors.numpy import load_file
from tokenizers import Tokenizer

base, merged = Path(sys.argv[1]), Path(sys.argv[2])
scores = json.loads(sys.argv[3])

tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
assert tokenizer.encode(scores["text"]).ids == scores["ids"]
assert tokenizer.decode(scores["ids"]) == scores["text"]
named = json.loads((base / "tokenizer_config.json").read_text())
assert tokenizer.token_to_id(named["eos_token"]) is not None

config = json.loads((base / "config.json").read_text())
weights = load_file(base / "model.safetensors")
width = config["hidden_size"]
assert config["architectures"] == ["LlamaForCausalLM"]
assert weights["model.embed_tokens.weight"].shape == (config["vocab_size"], width)
assert weights["model.layers.0.mlp.down_proj.weight"].shape == (width, config["intermediate_size"])

# PEFT: W + alpha / rank · B A, below its prefix.
adapter = load_file(merged / "adapter/adapter_model.safetensors")
terms = json.loads((merged / "adapter/adapter_config.json").read_text())
assert terms["peft_type"] == "LORA" and terms["task_type"] == "CAUSAL_LM"
prefix = "base_model.model."
modules = {name.removesuffix(".lora_A.weight") for name in adapter if name.endswith(".lora_A.weight")}
assert modules and all(name.startswith(prefix) for name in modules)
assert {name.rsplit(".", 1)[1] for name in modules} == set(terms["target_modules"])
trained = load_file(merged / "model/model.safetensors")
changed = 0
for name, weight in weights.items():
    module = prefix + name.removesuffix(".weight")
    if module in modules:
        a, b = adapter[module + ".lora_A.weight"], adapter[module + ".lora_B.weight"]
        assert a.shape[0] == b.shape[1] == terms["r"]
        weight = weight + terms["lora_alpha"] / terms["r"] * (b @ a)
        changed += 1
    assert numpy.allclose(trained[name], weight, atol=1e-5), name
assert changed == len(modules)
print("ok")
