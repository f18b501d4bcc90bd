use super::*;

const TEMPLATE: &str = "{% for m in messages %}\
                        <{{ m.role }}>{{ m.content }}<|endoftext|>\n{% endfor %}\
                        {% if add_generation_prompt %}<assistant>{% endif %}";

fn tokenizer() -> Tokenizer {
    let text = "<user>How many?<assistant>It is four. The sky is blue, is it not?\n";
    Tokenizer::train_bpe(std::iter::once(text), 300).unwrap()
}

fn template() -> ChatTemplate {
    ChatTemplate::new(TEMPLATE, None, Some("<|endoftext|>")).unwrap()
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn chat(messages: &[(&str, &str)]) -> Content {
    Content::Messages(messages.iter().map(|(role, text)| Message::new(*role, *text)).collect())
}

/// Runs `check` with a way to tokenise and the text of an example's targets, apart by `|`.
fn with(check: impl Fn(Tokenize<'_>, &dyn Fn(&Example) -> String)) {
    let (tokenizer, template) = (tokenizer(), template());
    let tokenize = Tokenize {
        tokenizer: &tokenizer,
        template: Some(&template),
        max_length: 100,
        truncation: Truncation::KeepStart,
        loss_on: LossOn::Auto,
    };
    check(tokenize, &|example: &Example| {
        assert_eq!(example.ids.len(), example.loss_mask.len());
        let mut out = String::new();
        for (i, id) in example.ids.iter().enumerate() {
            if example.loss_mask[i] {
                out += &tokenizer.decode(&[*id], false).unwrap();
            } else if !out.ends_with('|') && !out.is_empty() {
                out.push('|');
            }
        }
        out
    });
}

fn one(tokenize: &Tokenize<'_>, sample: Sample) -> Example {
    let (mut examples, counts) = tokenize.examples(&[sample]).unwrap();
    assert_eq!((counts.samples, counts.examples), (1, 1));
    assert_eq!(counts.tokens, examples[0].len());
    assert_eq!(counts.targets, examples[0].num_targets());
    examples.remove(0)
}

fn conversation() -> Sample {
    let Content::Messages(messages) = chat(&[
        ("user", "How many?"),
        ("assistant", "four"),
        ("user", "is it?"),
        ("assistant", "It is."),
    ]) else {
        unreachable!()
    };
    Sample::Messages { messages, tools: vec![] }
}

fn answer() -> Sample {
    Sample::PromptCompletion {
        prompt: chat(&[("user", "How many?")]),
        completion: chat(&[("assistant", "four")]),
    }
}

#[test]
fn targets_of_each_kind_with_the_end_among_them() {
    with(|tokenize, targets| {
        let eos = "<|endoftext|>";
        let sky =
            Sample::PromptCompletion { prompt: text("The sky is"), completion: text(" blue") };
        assert_eq!(targets(&one(&tokenize, sky.clone())), format!(" blue{eos}"));
        assert_eq!(targets(&one(&tokenize, answer())), format!("four{eos}"));
        let by_turns = format!("four{eos}|It is.{eos}");
        // The template's newline after the last end is not predicted.
        assert_eq!(targets(&one(&tokenize, conversation())).trim_end_matches('|'), by_turns);
        let last = Tokenize { loss_on: LossOn::Completion, ..tokenize.clone() };
        assert_eq!(targets(&one(&last, conversation())), format!("It is.{eos}"));
        let turns = Tokenize { loss_on: LossOn::Assistant, ..tokenize.clone() };
        assert_eq!(targets(&one(&turns, answer())).trim_end_matches('|'), format!("four{eos}"));
        let all = Tokenize { loss_on: LossOn::All, ..tokenize.clone() };
        assert!(targets(&one(&all, sky)).ends_with(&format!(" sky is blue{eos}")));
        assert!(targets(&one(&all, conversation())).contains(&format!("is it?{eos}\n<assistant>")));
        let plain = one(&tokenize, Sample::Text("The sky".to_owned()));
        assert_eq!(plain.num_targets(), plain.len() - 1);
        assert_eq!(plain.ids.last(), tokenize.tokenizer.eos().as_ref());
    });
}

#[test]
fn a_prompt_is_the_beginning_of_its_example() {
    with(|tokenize, _| {
        for (prompt, completion) in [
            (chat(&[("user", "How many?")]), chat(&[("assistant", "four")])),
            (text("The sky is"), text(" blue")),
            // A token of the whole text lies across the border.
            (text("The sk"), text("y is blue")),
        ] {
            let ids = tokenize.prompt(&prompt).unwrap();
            let example = one(&tokenize, Sample::PromptCompletion { prompt, completion });
            assert_eq!(example.ids[..example.prompt_len()], ids);
        }
        let short = Tokenize { max_length: 2, ..tokenize.clone() };
        assert_eq!(short.prompt(&text("The sky is")).unwrap().len(), 2);
    });
}

#[test]
fn pairs_and_judged_completions() {
    with(|tokenize, targets| {
        let pair = Sample::Preference {
            prompt: chat(&[("user", "How many?")]),
            chosen: chat(&[("assistant", "four")]),
            rejected: chat(&[("assistant", "not blue")]),
        };
        let (pairs, counts) = tokenize.pairs(std::slice::from_ref(&pair)).unwrap();
        assert_eq!((counts.samples, counts.examples), (1, 2));
        let PairExample { chosen, rejected } = &pairs[0];
        assert_eq!(targets(chosen), "four<|endoftext|>");
        assert_eq!(targets(rejected), "not blue<|endoftext|>");
        assert_eq!(chosen.prompt_len(), rejected.prompt_len());
        assert_eq!(one(&tokenize, pair.clone()), *chosen);
        let judged =
            Sample::Unpaired { prompt: text("is"), completion: text(" not"), label: false };
        let (judged, _) = tokenize.unpaired(&[pair, judged]).unwrap();
        assert_eq!(judged.iter().map(|j| j.label).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(targets(&judged[2].example), " not<|endoftext|>");
    });
}

#[test]
fn long_samples_are_cut_or_dropped_and_counted() {
    with(|tokenize, targets| {
        let long = tokenize.examples(&[answer()]).unwrap().0[0].len();
        let samples = [answer(), conversation()];
        let drop = Tokenize { max_length: long, truncation: Truncation::Drop, ..tokenize.clone() };
        let (examples, counts) = drop.examples(&samples).unwrap();
        assert_eq!((examples.len(), counts.dropped_long), (1, 1));
        let cut = Tokenize { max_length: 3, truncation: Truncation::KeepEnd, ..tokenize.clone() };
        let (examples, counts) = cut.examples(&samples).unwrap();
        assert_eq!((examples[0].len(), counts.truncated), (3, 2));
        assert!(targets(&examples[0]).starts_with("fo"));
        let none = Tokenize { max_length: 3, ..tokenize.clone() };
        let error = none.examples(&samples).unwrap_err().to_string();
        assert!(error.contains("none of 2 examples has a token to learn"), "{error}");
        assert!(error.contains("max_length = 3"), "{error}");
    });
}

#[test]
fn a_stream_ends_each_text() {
    with(|tokenize, _| {
        let samples = [Sample::Text("The sky".to_owned()), answer()];
        let stream = tokenize.stream(&samples).unwrap();
        let shown = tokenize.tokenizer.decode(&stream, false).unwrap();
        assert_eq!(
            shown,
            "The sky<|endoftext|><user>How many?<|endoftext|>\n<assistant>four<|endoftext|>"
        );
        assert!(tokenize.stream(&[]).is_err());
    });
    // A tokenizer of characters has no end.
    let tokenizer = Tokenizer::train_characters("To be", None, None).unwrap();
    let tokenize = Tokenize {
        tokenizer: &tokenizer,
        template: None,
        max_length: 9,
        truncation: Truncation::Drop,
        loss_on: LossOn::Auto,
    };
    assert_eq!(tokenize.stream(&[Sample::Text("To be".to_owned())]).unwrap().len(), 5);
}

#[test]
fn samples_that_do_not_fit_are_named() {
    with(|tokenize, _| {
        let plain = Sample::Text("a".to_owned());
        let check = |result: Result<(), LmError>, expect: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        let pairs = tokenize.pairs(std::slice::from_ref(&plain)).map(drop);
        check(pairs, "is of kind text, must be preference");
        let unpaired = tokenize.unpaired(&[answer()]).map(drop);
        check(unpaired, "is of kind prompt_completion, must be unpaired");
        let turns = Tokenize { loss_on: LossOn::Assistant, ..tokenize.clone() };
        check(turns.examples(&[plain]).map(drop), "is of kind text");
        let bare = Tokenize { template: None, ..tokenize.clone() };
        check(bare.examples(&[answer()]).map(drop), "no chat template");
        check(bare.prompt(&chat(&[("user", "a")])).map(drop), "no chat template");
    });
}
