"""Asks `skinner serve` what OpenAI's own client asks: `openai_client.py URL`, of a server started with `--name mine`."""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
messages = [{"role": "user", "content": "What is the sea?"}]
terms = {"model": "mine", "max_tokens": 12, "temperature": 0.8, "seed": 0}

assert [model.id for model in client.models.list()] == ["mine"]
assert client.models.retrieve("mine").object == "model"

# A conversation, whole and in parts, with log-probabilities and token ids.
extra = {"return_token_ids": True}
whole = client.chat.completions.create(messages=messages, logprobs=True, top_logprobs=2, extra_body=extra, **terms)
choice = whole.choices[0]
assert choice.finish_reason in ("stop", "length") and choice.message.role == "assistant"
assert len(choice.logprobs.content) == whole.usage.completion_tokens == len(choice.model_extra["token_ids"])
assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in choice.logprobs.content)
chunks = list(
    client.chat.completions.create(messages=messages, stream=True, stream_options={"include_usage": True}, **terms)
)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == choice.message.content
assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens and not chunks[-1].choices
again = client.chat.completions.create(messages=messages, **terms)
assert again.choices[0].message.content == choice.message.content
several = client.chat.completions.create(messages=messages, n=3, **terms)
assert [choice.index for choice in several.choices] == [0, 1, 2]
assert several.choices[0].message.content == choice.message.content

# Plain text, by texts and by tokens.
text = client.completions.create(prompt="The sea", logprobs=1, echo=True, **terms)
assert text.choices[0].text.startswith("The sea") and text.choices[0].logprobs.token_logprobs[0] is None
by_text = client.completions.create(prompt=["The sea", "Where"], extra_body=extra, **terms)
assert len(by_text.choices) == 2
ids = by_text.choices[0].model_extra["prompt_token_ids"]
by_ids = client.completions.create(prompt=ids, **terms)
assert by_ids.choices[0].text == by_text.choices[0].text
streamed = client.completions.create(prompt="The sea", stream=True, **terms)
assert "".join(chunk.choices[0].text for chunk in streamed) == by_ids.choices[0].text

# Mistakes are the client's own exceptions, with what is wrong.
for error, said, wrong in [
    (openai.NotFoundError, "there is no model", {"model": "other"}),
    (openai.BadRequestError, "temperature", {"temperature": -1.0}),
    (openai.BadRequestError, "n is 65", {"n": 65}),
    (openai.BadRequestError, "stream_options", {"extra_body": {"stream_options": {"include_usage": True}}}),
    (openai.BadRequestError, "context", {"max_tokens": 12, "messages": [{"role": "user", "content": "sea " * 500}]}),
]:
    try:
        client.chat.completions.create(**{"messages": messages, **terms, **wrong})
    except error as caught:
        assert said in str(caught), caught
    else:
        raise AssertionError(f"{wrong} was accepted")
print("ok")
