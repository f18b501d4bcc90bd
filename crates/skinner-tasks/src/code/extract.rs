//! The program in a completion.

use super::Block;

/// The chosen part. None: there is no fenced block.
pub(super) fn program(completion: &str, block: Block) -> Option<String> {
    let mut blocks = fenced(completion);
    match block {
        Block::Whole => Some(completion.to_owned()),
        Block::First if blocks.is_empty() => None,
        Block::First => Some(blocks.swap_remove(0)),
        Block::Last => blocks.pop(),
    }
}

/// The contents of fenced blocks. The last one may lack its end: the completion was cut there.
fn fenced(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.split_inclusive('\n') {
        let fence = fence(line);
        match (&mut open, fence) {
            (None, Some(mark)) => open = Some((mark, String::new())),
            (Some((mark, block)), Some(end)) if closes(line, end, mark) => {
                blocks.push(std::mem::take(block));
                open = None;
            }
            (Some((_, block)), _) => block.push_str(line),
            (None, None) => {}
        }
    }
    blocks.extend(open.map(|(_, block)| block));
    blocks
}

/// The run of backticks or tildes that a line begins with.
fn fence(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(mark).len();
    (length >= 3).then(|| &line[..length])
}

fn closes(line: &str, end: &str, mark: &str) -> bool {
    end.starts_with(mark) && line.trim().len() == end.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_their_fences() {
        let check = |text: &str, block, expect: Option<&str>| {
            assert_eq!(program(text, block).as_deref(), expect, "{text:?}");
        };
        let two = "so\n```python\na = 1\n```\nor\n```\nb = 2\n```\n";
        check(two, Block::Last, Some("b = 2\n"));
        check(two, Block::First, Some("a = 1\n"));
        check(two, Block::Whole, Some(two));
        check("no code", Block::Last, None);
        check("no code", Block::First, None);
        check("```py\ncut of", Block::Last, Some("cut of"));
        check("````\n```\nx\n```\n````\n", Block::Last, Some("```\nx\n```\n"));
        check("~~~\nx\n~~~", Block::Last, Some("x\n"));
        check(
            "```\ns = '''\n``` not an end\n'''\n```\n",
            Block::Last,
            Some("s = '''\n``` not an end\n'''\n"),
        );
    }
}
