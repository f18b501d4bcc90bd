"""Writes episodes.json and tables.json from Gymnasium 1.4.0 (pip install gymnasium==1.4.0)."""

import json
import pathlib
import struct

import gymnasium
import numpy as np

HERE = pathlib.Path(__file__).parent
STEPS = 250

# Ours: the id and options as Skinner's catalog has them; theirs: Gymnasium's keyword arguments.
EPISODES = [
    ({"id": "FrozenLake-v1"}, {}),
    ({"id": "FrozenLake-v1", "success_rate": 0.7, "reward_schedule": [2, -1, -0.5]},
     {"success_rate": 0.7, "reward_schedule": (2, -1, -0.5)}),
    ({"id": "FrozenLake-v1", "is_slippery": False}, {"is_slippery": False}),
    ({"id": "FrozenLake-v1", "map": ["SFS", "FHF", "SFG"]}, {"desc": ["SFS", "FHF", "SFG"]}),
    ({"id": "FrozenLake8x8-v1"}, {}),
    ({"id": "CliffWalking-v1"}, {}),
    ({"id": "CliffWalkingSlippery-v1"}, {}),
    ({"id": "Taxi-v4"}, {}),
    ({"id": "Taxi-v4", "is_rainy": True, "fickle_passenger": True},
     {"is_rainy": True, "fickle_passenger": True}),
    ({"id": "Blackjack-v1"}, {}),
    ({"id": "Blackjack-v1", "natural": True, "sab": False}, {"natural": True, "sab": False}),
]

TABLES = [entry for entry in EPISODES if not entry[0]["id"].startswith("Blackjack")]


def solve(env):
    """Optimal actions, so that episodes end."""
    values = np.zeros(env.observation_space.n)
    for _ in range(2000):
        q = [[sum(p * (reward + 0.99 * values[following] * (not terminated))
                  for p, following, reward, terminated in env.P[state][action])
              for action in range(env.action_space.n)] for state in range(len(values))]
        previous, values = values, np.max(q, axis=1)
        if np.abs(values - previous).max() < 1e-6:
            break
    return np.argmax(q, axis=1)


def episode(ours, theirs, seed):
    env = gymnasium.make(ours["id"], **theirs).unwrapped
    rng = np.random.default_rng(1000 + seed)
    plain = lambda obs: [int(x) for x in obs] if isinstance(obs, tuple) else int(obs)
    policy = solve(env) if hasattr(env, "P") else None
    first, _ = env.reset(seed=seed)
    steps = []
    for _ in range(STEPS):
        action = int(rng.integers(env.action_space.n))
        if policy is not None and rng.random() < 0.75:
            action = int(policy[env.s])
        obs, reward, terminated, _, _ = env.step(action)
        step = [action, plain(obs), float(reward), bool(terminated)]
        if terminated:
            step.append(plain(env.reset()[0]))
        steps.append(step)
    return {"config": ours, "seed": seed, "first": plain(first), "steps": steps}


def table(ours, theirs):
    """FNV-1a over every entry, little-endian: state, action, p, next state, reward, terminated."""
    env = gymnasium.make(ours["id"], **theirs).unwrapped
    packed = b""
    for state in range(env.observation_space.n):
        for action in range(env.action_space.n):
            for p, following, reward, terminated in env.P[state][action]:
                packed += struct.pack("<IIdIdB", state, action, p, following, reward, terminated)
    packed += struct.pack(f"<{env.observation_space.n}d", *env.initial_state_distrib)
    digest = 0xCBF29CE484222325
    for byte in packed:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return {"config": ours, "digest": f"{digest:016x}"}


def write(name, rows):
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / name).write_text(f"[\n{lines}\n]\n")


assert gymnasium.__version__ == "1.4.0", gymnasium.__version__
write("episodes.json", [episode(*entry, seed) for entry in EPISODES for seed in (0, 7)])
write("tables.json", [table(*entry) for entry in TABLES])
