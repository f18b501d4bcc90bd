use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How a task is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// A short text such as `12*7=`, for models of characters.
    #[default]
    Plain,
    /// A message that asks for the answer alone.
    Chat,
    /// A message that asks for reasoning, and then the answer within `<answer>` and `</answer>`.
    Reason,
}

impl PromptStyle {
    /// The prompt. `form` says what an answer looks like, as "the number".
    pub(super) fn prompt(self, plain: &str, question: &str, form: &str) -> Value {
        let gap = if question.ends_with('\n') { "" } else { " " };
        let content = match self {
            Self::Plain => return Value::from(plain),
            Self::Chat => format!("{question}{gap}Answer with {form} only."),
            Self::Reason => format!(
                "{question}{gap}Think step by step, then give {form} within <answer> and </answer>."
            ),
        };
        json!([{ "role": "user", "content": content }])
    }

    /// What a teacher writes: the work, then the answer.
    pub(super) fn completion(self, worked: &str, answer: &str) -> String {
        match self {
            Self::Plain | Self::Chat => format!("{worked}{answer}"),
            Self::Reason => format!("{worked}<answer>{answer}</answer>"),
        }
    }

    /// The tag around answers, where there is one.
    pub(super) fn tag(self) -> Option<String> {
        (self == Self::Reason).then(|| "answer".to_owned())
    }
}
